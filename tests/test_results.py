from __future__ import annotations

import json
import math
import subprocess
import sys
from enum import IntEnum
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import labkit
from labkit.core.errors import LabError
from labkit.core.files import RESULTS
from labkit.core.table import Table
from labkit.results import report


class Cells(HTMLParser):
    """The texts of a table's cells, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "run" / "results.json"
    monkeypatch.setenv(RESULTS, str(path))
    return path


# --- tables ----------------------------------------------------------------------------


def test_a_table_as_text():
    table = Table([{"name": "adam", "loss": 0.0123456}, {"name": "sgd", "ok": True}])
    assert repr(table).splitlines() == [
        "name  loss     ok",
        "adam  0.01235",
        "sgd            yes",
    ]
    assert len(table) == 2
    assert table.columns == ["name", "loss", "ok"]


def test_a_table_as_html():
    hostile = "<img src=x onerror=alert(1)> & 'quotes'"
    table = Table([{"<b>": hostile, "n": 3}, {"n": 1e-9, "no": False, "none": None}])
    page = table._repr_html_()
    assert "<img" not in page
    assert "<b>" not in page
    assert Cells(page).rows == [
        ["<b>", "n", "no", "none"],
        [hostile, "3", "", ""],
        ["", "1e-09", "no", "None"],
    ]


def test_an_empty_table():
    table = Table([])
    assert (len(table), repr(table)) == (0, "")
    assert Cells(table._repr_html_()).rows == [[]]


def test_a_table_keeps_its_rows():
    row = {"a": 1}
    table = Table(iter([row]))
    row["a"] = 2
    assert table.rows == [{"a": 1}]


# --- reports ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.25, 0.25),
        ("text", "text"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float32(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(1.5), 1.5),
        (np.float64("inf"), "inf"),
        (torch.tensor(2.5), 2.5),
        (torch.tensor(3), 3),
        (torch.tensor(True), True),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (np.arange(3), [0, 1, 2]),
        (np.array([1.5]), [1.5]),
        (torch.tensor([1.5]), [1.5]),
        (torch.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ((1, (2, 3)), [1, [2, 3]]),
        ([], []),
        ({"a": np.float32(0.5), 3: [math.nan]}, {"a": 0.5, "3": ["nan"]}),
        (IntEnum("Level", ["LOW"]).LOW, 1),
    ],
    ids=repr,
)
def test_numbers_of_all_kinds_become_json(value, plain, file):
    report(result=value)
    assert json.loads(file.read_text()) == {"result": plain}
    assert type(json.loads(file.read_text())["result"]) is type(plain)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"x": object()}, "x "),
        ({"x": {1, 2}}, "x "),
        ({"x": b"bytes"}, "x "),
        ({"x": Path("a")}, "x "),
        ({"x": 1j}, "x "),
        ({"x": np.array([1, 2j])}, r"x\[0\] "),
        ({"x": {"a": [0, len]}}, r"x\.a\[1\] "),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(values, named, file):
    with pytest.raises(LabError, match=f"^{named}cannot be reported: .* is not a JSON value"):
        report(good=1, **values)
    assert not file.exists(), "half a report was written"


def test_several_reports_are_one_and_later_ones_win(file):
    report(a=1, b=2)
    report(b=3, c=[4])
    assert json.loads(file.read_text()) == {"a": 1, "b": 3, "c": [4]}
    assert [path.name for path in file.parent.iterdir()] == ["results.json"], "something is left"


def test_a_report_shows_what_it_was_told(file):
    table = report(accuracy=0.98765, steps=300)
    assert repr(table).splitlines() == ["result    value", "accuracy  0.9877", "steps     300"]


def test_without_a_batch_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(RESULTS, raising=False)
    monkeypatch.chdir(tmp_path)
    assert report(loss=0.5).rows == [{"result": "loss", "value": 0.5}]
    assert list(tmp_path.iterdir()) == []


# --- histories -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> labkit.History:
    return labkit.fit(labkit.Recipe(task="moons", hidden=(4,), steps=400))


def test_a_history_is_a_few_words_and_its_curves(history, file):
    table = report(history=history, accuracy=0.9)
    last = history.summary()
    words = f"400 steps, loss {last['val_loss']:.4g}, accuracy {last['val_accuracy']:.4g}"
    assert table.rows[0] == {"result": "history", "value": words}
    assert json.loads(file.read_text()) == {"history": words, "accuracy": 0.9}
    curves = json.loads((file.parent / "curves.json").read_text())
    names = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    assert list(curves) == [f"history.{name}" for name in names]
    for name in names:
        steps, values = history.curve(name)
        curve = curves[f"history.{name}"]
        assert curve["x"][-1] == steps[-1] == 400
        assert curve["y"][-1] == pytest.approx(values[-1], rel=1e-5)
        assert len(curve["x"]) == len(curve["y"]) <= 200


def test_histories_of_a_race_and_of_a_list(history, file):
    report(race={"adam": history, "sgd": history}, kept=[history])
    report(history=history)
    results = json.loads(file.read_text())
    assert results["race"] == {"adam": results["history"], "sgd": results["history"]}
    assert results["kept"] == [results["history"]]
    curves = json.loads((file.parent / "curves.json").read_text())
    assert {name.rpartition(".")[0] for name in curves} == {
        "race.adam",
        "race.sgd",
        "kept[0]",
        "history",
    }
    assert sorted(path.name for path in file.parent.iterdir()) == ["curves.json", "results.json"]


def test_a_history_without_steps(file):
    empty = labkit.History(labkit.fit(labkit.Recipe(hidden=(), steps=1)).layout)
    assert report(history=empty).rows == [{"result": "history", "value": "0 steps"}]


def test_reporting_imports_little():
    code = (
        "import sys, labkit; labkit.report(loss=0.5, losses=[1, 2]);"
        "print([m for m in ('numpy', 'pandas', 'plotly', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
