"""A run's identity: the same work has the same name, other work another one."""

from __future__ import annotations

import json
import pickle

import pytest

from labkit.batch import job as job_module
from labkit.batch.job import Failure, Outcome, identify


def notebook(source: str = "x = 1", **more) -> bytes:
    cell = {"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}}
    return json.dumps({"cells": [cell], "metadata": {}, **more}).encode()


def test_a_name_is_readable_and_ends_with_a_hash():
    name = identify("04_optimizers", notebook(), {"lr": 0.1, "interactive": False, "hidden": [8]})
    readable, _, digest = name.rpartition("-")
    assert readable == "04_optimizers-lr=0.1-hidden=_8_"
    assert len(digest) == 10
    assert int(digest, 16) >= 0


def test_what_jupyterlab_rewrites_does_not_count():
    one = identify("a", notebook(), {"x": 1})
    assert identify("a", notebook(metadata={"kernelspec": {"name": "other"}}), {"x": 1}) == one
    assert identify("a", json.dumps(json.loads(notebook()), indent=4).encode(), {"x": 1}) == one


def test_what_decides_about_the_results_counts(monkeypatch):
    one = identify("a", notebook(), {"x": 1})
    others = {
        identify("a", notebook("x = 2"), {"x": 1}),
        identify("a", notebook(), {"x": 1.0}),
        identify("a", notebook(), {"x": "1"}),
        identify("a", notebook(), {}),
    }
    monkeypatch.setattr(job_module, "__version__", "99")
    others.add(identify("a", notebook(), {"x": 1}))
    assert len(others) == 5
    assert one not in others


@pytest.mark.parametrize("value", ["../../etc", "a/b\\c", "x" * 500, "ü → \n", ".hidden", ""])
def test_any_value_makes_a_name_that_is_fit_for_a_folder(value, tmp_path):
    name = identify("a", notebook(), {"title": value})
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(name) < 80


def test_an_outcome_travels_as_bytes():
    outcome = Outcome("failed", Failure("why", 3, "ValueError", ("a",)), True, "h", 1, 2.0, 3.0)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
