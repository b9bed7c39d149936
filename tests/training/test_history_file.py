from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from labkit.core.errors import FileError
from labkit.training import history_file
from labkit.training.history import History
from labkit.training.layout import Layout


@pytest.fixture
def parts():
    """Arrays and facts of an empty history, and such a file's header."""
    arrays = History(Layout(("w",), ((2, 3),))).arrays()
    facts = {"names": ["w"], "shapes": [[2, 3]], "about": {"ä": 1}, "marks": []}
    return arrays, {**facts, "finding": None, "stride": 4}


def test_what_was_written_is_read(tmp_path, parts):
    arrays, facts = parts
    path = history_file.write(tmp_path / "run", arrays, facts)
    assert path == tmp_path / "run.safetensors"
    found, read_facts = history_file.read(path)
    assert read_facts == facts
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_it_is_an_ordinary_safetensors_file_with_json_in_its_header(tmp_path, parts):
    path = history_file.write(tmp_path / "run", *parts)
    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["history"])["about"] == {"ä": 1}
        assert set(file.keys()) == set(parts[0])


@pytest.mark.parametrize("missing", ["scalars", "latest", "names", "stride"])
def test_a_file_without_one_of_its_parts_is_refused_by_its_name(tmp_path, parts, missing):
    arrays, facts = ({k: v for k, v in part.items() if k != missing} for part in parts)
    path = tmp_path / "run.safetensors"
    header = {"history": json.dumps({"format": history_file.FORMAT, **facts})}
    save_file(arrays, path, header)
    with pytest.raises(FileError, match=f"has no {missing}"):
        history_file.read(path)
