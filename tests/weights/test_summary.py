"""What `labkit inspect` shows: counts against torch's own, and text that a terminal can take."""

from __future__ import annotations

import json

import pytest
import torch

from labkit.weights import load
from labkit.weights.file import Weights
from labkit.weights.summary import LARGEST, summary, tables
from tests.weights import goods


def held() -> Weights:
    network = goods.network()
    network.names, network.task = ["cat", "dog"], "classify"
    return load(network)


def test_counts_are_those_of_the_network():
    network = goods.network()
    facts = summary(load(network))
    state = network.state_dict()
    assert facts["tensors"] == len(state)
    assert facts["values"] == sum(t.numel() for t in state.values())
    assert facts["bytes"] == sum(t.nbytes for t in state.values())
    for key, whole in (("tensors", "tensors"), ("values", "values"), ("bytes", "bytes")):
        assert sum(row[key] for row in facts["kinds"]) == facts[whole]
    buffers = [row for row in facts["kinds"] if row["kind"] == "buffer"]
    assert sum(row["tensors"] for row in buffers) == len(list(network.buffers()))
    assert {row["dtype"] for row in buffers} == {"float32", "int64"}


def test_facts_are_json():
    facts = summary(held())
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["names"] == {"0": "cat", "1": "dog"}
    assert facts["path"] is None


@pytest.mark.parametrize("largest", [1, 3, 100])
def test_the_largest_come_first(largest):
    weights = held()
    rows = summary(weights, largest)["largest"]
    sizes = sorted((t.nbytes for t in weights.tensors.values()), reverse=True)
    assert [row["bytes"] for row in rows] == sizes[:largest]
    assert rows[0] == {
        "tensor": "0.weight",
        "shape": [4, 3, 3, 3],
        "dtype": "float32",
        "values": 108,
        "bytes": 432,
    }


def test_tables_for_a_reader():
    facts, kinds, largest = (table.rows for table in tables(held()))
    shown = {row["what"]: row["value"] for row in facts}
    assert shown["classes"] == "2: cat, dog"
    assert shown["task"] == "classify"
    assert "file" not in shown
    assert {row["kind"] for row in kinds} == {"weight", "bias", "scale", "buffer"}
    assert len(largest) == LARGEST
    assert largest[0]["shape"] == "4x3x3x3"
    total = sum(t.nbytes for t in held().tensors.values())
    assert largest[0]["share"] == f"{432 / total:.1%}"


def test_what_a_file_says_cannot_control_the_terminal():
    weights = Weights(
        {"\x1b[2Jw": torch.tensor(1.0)},
        "safetensors",
        sha256="",
        size=4,
        task="\x1b[31m",
        names={i: f"class {i}" for i in range(20)},
        about={"by": "a\nb"},
        yaml_problem="no rows",
    )
    facts, _, largest = (table.rows for table in tables(weights))
    for row in [*facts, *largest]:
        assert all(str(value).isprintable() for value in row.values()), row
    shown = {row["what"]: row["value"] for row in facts}
    assert shown["classes"].startswith("20: class 0, ")
    assert shown["classes"].endswith("class 11, …")
    assert shown["network"] == "its description cannot be used: no rows"
    assert largest[0]["shape"] == "scalar"
