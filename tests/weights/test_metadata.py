"""Metadata of weight files: JSON values, bounded, and nothing evaluated."""

from __future__ import annotations

import json
import math

import pytest

from labkit.weights import metadata
from labkit.weights.metadata import fields, plain, printable


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog"],
        ("cat", "dog"),
        {0: "cat", 1: "dog"},
        {"0": "cat", "1": "dog"},
        '["cat", "dog"]',  # JSON
        "{0: 'cat', 1: 'dog'}",  # a Python literal, as Ultralytics writes into ONNX
    ],
)
def test_class_names_in_every_form(names):
    assert fields({"names": names})["names"] == {0: "cat", 1: "dog"}


@pytest.mark.parametrize("names", [None, 3, "cat", {"cat": 0}, "__import__('os').getcwd()"])
def test_class_names_that_are_none(names):
    assert fields({"names": names})["names"] == {}


def test_known_fields_and_the_rest():
    found = fields({"task": "detect", "date": "2026", "architecture": 3, "stride": 32, "empty": []})
    assert found == {
        "task": "detect",
        "date": "2026",
        "names": {},
        "train_args": {},
        "about": {"stride": 32},
    }


@pytest.mark.parametrize("arguments", [{"epochs": 3}, '{"epochs": 3}', "{'epochs': 3}"])
def test_training_arguments_in_every_form(arguments):
    assert fields({"train_args": arguments})["train_args"] == {"epochs": 3}


def test_a_description_that_cannot_be_used_is_left_out_with_the_reason():
    found = fields({"yaml": {"backbone": "none"}})
    assert "yaml" not in found
    assert found["yaml_problem"]


@pytest.mark.parametrize(
    "value",
    [None, True, 3, -0.5, "text", [1, [2]], {"a": {"b": [None]}}],
)
def test_json_values_stay_as_json_has_them(value):
    assert plain(value) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**63, None),
        ((1, 2), [1, 2]),
        ({1: "one"}, {"1": "one"}),
        (object(), None),
        (b"bytes", None),
        ("x" * (metadata.TEXT + 1), "x" * metadata.TEXT),
    ],
)
def test_other_values_become_json_or_none(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_objects_are_resolved_once_more():
    assert plain([1j], resolve=lambda value: [value.real, value.imag]) == [[0.0, 1.0]]


def test_shared_lists_that_unfold_without_end_are_cut():
    nested: list = []
    for _ in range(60):
        nested = [nested] * 100
    assert len(json.dumps(plain(nested))) < 20 * metadata.ITEMS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ä", "plain ä"),
        ("\x1b[31mred\n", "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"),
        ("x" * 300, "x" * 199 + "…"),
        (3, "3"),
    ],
)
def test_one_line_for_a_terminal(text, expected):
    assert printable(text) == expected
