"""A batch's table, against what its files say when they are read one by one."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from labkit.batch import Folder, load
from labkit.batch.job import Job
from labkit.batch.results import Record, columns, frame, write
from labkit.core.errors import FileError
from tests.batch import synthetic

HOSTILE = '<script>alert(1)</script> "quoted", \u2028 =1+1 \n new line, ümlaut'


def record(parameters: dict, results: dict | None = None, **status: object) -> Record:
    told = {"id": "a", "notebook": "n", "state": "done", "seconds": 1.5, "attempt": 1}
    return Record({**told, "parameters": parameters, **status}, results or {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.batch(tmp_path_factory.mktemp("batch") / "runs", 400, points=10)


def read(folder: Path, name: str) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob(f"*/{name}")}


# --- what the files say ----------------------------------------------------------------


def test_the_table_says_what_the_files_say(folder: Path):
    table = load(folder).set_index("id")
    statuses, results = read(folder, "status.json"), read(folder, "results.json")
    assert list(table.index) == [run["id"] for run in asked(folder)]
    assert sorted(table.index) == sorted(statuses)
    assert {status["state"] for status in statuses.values()} == {"done", "failed", "timed out"}
    for run, row in table.iterrows():
        status = statuses[run]
        for name in ("notebook", "state", "seconds", "attempt"):
            assert row[name] == status[name]
        assert {name: row[name] for name in status["parameters"]} == status["parameters"]
        reason = (status["failure"] or {}).get("reason")
        assert row["failure"] == reason if reason else pd.isna(row["failure"])
        for name in ("val_accuracy", "val_loss", "diverged", "history"):
            if status["state"] != "done" or results[run][name] == "nan":
                assert pd.isna(row[name])
            else:
                assert row[name] == results[run][name]


def asked(folder: Path) -> list[dict]:
    return json.loads((folder / "batch.json").read_text())["runs"]


def test_columns_come_in_the_order_of_a_sentence_and_with_types(folder: Path):
    table = load(folder)
    assert list(table) == [
        "id",
        "notebook",
        "state",
        *("optimizer", "lr", "seed", "steps", "interactive"),
        *("val_accuracy", "val_loss", "diverged", "history"),
        "seconds",
        "attempt",
        "failure",
    ]
    kinds = {name: str(dtype) for name, dtype in table.dtypes.items()}
    assert kinds["lr"] == kinds["val_loss"] == kinds["seconds"] == "float64"
    assert kinds["seed"] == kinds["attempt"] == "int64"
    assert (kinds["interactive"], kinds["diverged"]) == ("bool", "boolean")
    assert table.groupby("optimizer").val_loss.min().notna().all()


def test_runs_that_have_not_begun_and_runs_that_were_replaced(tmp_path: Path):
    folder = synthetic.batch(tmp_path / "runs", 3, points=10)
    ids = list(load(folder).id)
    for file in (folder / ids[1]).iterdir():
        file.unlink()
    parameters = read(folder, "status.json")[ids[0]]["parameters"]
    Folder(folder).ask([Job("newer", "04_optimizers", synthetic.NOTEBOOK + b" ", parameters)])
    table = load(folder).set_index("id")
    assert list(table.index) == [ids[1], ids[2], "newer"]
    assert list(table.state) == ["queued", "done", "queued"]
    assert math.isnan(table.val_loss["newer"])
    assert math.isnan(table.seconds[ids[1]])
    assert table.lr["newer"] == synthetic.LRS[0]


def test_a_result_that_is_no_result(tmp_path: Path):
    """Whoever writes the file by hand may write anything; a run that failed has none."""
    folder = synthetic.batch(tmp_path / "runs", 4, points=10)
    runs = [folder / run for run in load(folder).id]
    (runs[0] / "results.json").write_text('{"val_loss": 1')
    (runs[1] / "results.json").write_text("[1, 2]")
    (runs[2] / "results.json").unlink()
    (runs[0] / "curves.json").write_text('"curves"')
    assert list(load(folder).val_loss.isna()) == [True, True, True, False]
    write(folder)


def test_what_is_no_batch(tmp_path: Path):
    for there in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileError, match="holds no batch"):
            load(there)


# --- columns ---------------------------------------------------------------------------


def test_names_that_are_used_twice():
    records = [record({"lr": 0.1, "seconds": 60, "id": 7}, {"lr": 0.2, "parameter.id": 1, "x": 3})]
    table = frame(columns(records))
    assert table.to_dict("records") == [
        {
            "id": "a",
            "notebook": "n",
            "state": "done",
            "lr": 0.1,
            "parameter.seconds": 60,
            "parameter.id": 7,
            "result.lr": 0.2,
            "result.parameter.id": 1,
            "x": 3,
            "seconds": 1.5,
            "attempt": 1,
            "failure": None,
        }
    ]


def test_values_of_all_kinds_in_a_table():
    results = [
        {"loss": 0.5, "text": "nan", "list": [1, [2]], "big": 2**70, "yes": True, "any": 1},
        {"loss": "inf", "text": "b", "list": {"a": None}, "big": 1, "yes": False, "any": "b"},
        {},
    ]
    table = frame(columns([record({"hidden": [8, 8]}, row) for row in results]))
    assert table.loss.tolist()[:2] == [0.5, math.inf]
    assert math.isnan(table.loss[2])
    assert table.text.tolist()[:2] == ["nan", "b"], "a text among texts is no number"
    assert table.list.tolist()[:2] == [[1, [2]], {"a": None}]
    assert table.hidden.tolist() == [[8, 8]] * 3
    assert table.big.tolist()[:2] == [2**70, 1]
    assert table.yes.tolist() == [True, False, pd.NA]
    assert table["any"].tolist()[:2] == [1, "b"]


# --- files -----------------------------------------------------------------------------


def test_csv_and_parquet_hold_the_table(folder: Path):
    assert write(folder) == ["results.csv", "results.parquet"]
    table = load(folder)
    csv = pd.read_csv(folder / "results.csv")
    csv["diverged"] = csv["diverged"].astype("boolean")
    pd.testing.assert_frame_equal(csv, table)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "results.parquet"), table)
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert left == [".labkit"], "something temporary is left"


def test_files_with_hostile_and_nested_values(tmp_path: Path):
    folder = synthetic.batch(tmp_path / "runs", 2, points=10)
    results = {HOSTILE: HOSTILE, "list": [1, {"a": [HOSTILE]}], "any": 1, "big": 2**70}
    runs = [folder / run for run in load(folder).id]
    (runs[0] / "results.json").write_text(json.dumps(results))
    (runs[1] / "results.json").write_text(json.dumps({"any": "text", "list": None}))
    write(folder)
    for table in (pd.read_csv(folder / "results.csv"), pd.read_parquet(folder / "results.parquet")):
        row = table.iloc[0]
        assert row[HOSTILE] == HOSTILE
        assert json.loads(row["list"]) == results["list"]
        assert int(row["big"]) == 2**70
        assert list(table["any"]) == ["1", "text"]
        assert pd.isna(table["list"][1])


def test_without_pyarrow_there_is_csv(folder: Path, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name)
    )
    assert write(folder) == ["results.csv"]


def test_a_folder_that_is_no_folder(folder: Path):
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(folder), "/labkit-results", recursive=True)
        url = "memory://labkit-results"
        pd.testing.assert_frame_equal(load(url), load(folder))
        assert write(url) == ["results.csv", "results.parquet"]
        assert memory.cat("/labkit-results/results.csv").startswith(b"id,notebook,state,optimizer")
    finally:
        memory.rm("/labkit-results", recursive=True)
