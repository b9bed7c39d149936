"""Every notebook of the series, run headless, judged by what it found.

Each case is one run with parameters of its own. Steps are fewer than a reader's, so that
the whole series takes a minute or so.
"""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
import pytest

from labkit.batch import Run, read_parameters, run_notebook
from labkit.core.errors import LabError
from tests.notebooks.cases import CASES
from tests.notebooks.cases.case import NOTEBOOKS
from tests.page import Page

FIGURE = "application/vnd.plotly.v1+json"


def test_every_notebook_has_two_cases_or_more():
    counts = {path.stem: [case.path for case in CASES].count(path) for path in NOTEBOOKS}
    assert min(counts.values()) >= 2, counts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_can_run_headless(path):
    parameters = read_parameters(path)
    assert parameters["interactive"].default is True
    assert "seed" in parameters, "a run is repeated by its seed"


# --- one run each ----------------------------------------------------------------------


def assert_whole(run: Run, figures: int) -> None:
    """Everything that a run leaves is there, valid, and self-contained."""
    assert run.error is None
    names = {path.name for path in run.folder.iterdir()}
    always = {run.notebook.name, run.page.name, "results.json", "status.json", "log.txt"}
    assert names - {"curves.json"} == always
    assert json.loads((run.folder / "results.json").read_text()) == run.results
    for name, curve in curves(run).items():
        assert name.partition(".")[0] in run.results, "the curve of nothing"
        assert 0 < len(curve["x"]) == len(curve["y"]) <= 200

    notebook = nbformat.read(run.notebook, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    streams = [output.text for output in outputs if output.get("name") == "stderr"]
    assert streams == [], "a reader sees warnings"
    bundles = [output.data for output in outputs if "data" in output]
    assert sum(FIGURE in data for data in bundles) == figures
    assert not any("application/vnd.jupyter.widget-view+json" in data for data in bundles)

    page = Page(run.page.read_text(encoding="utf-8"))
    assert page.figures == figures
    assert len(re.findall(r"plotly\.js v\d", "".join(page.scripts))) == 1
    assert [source for source in page.sources if not source.startswith("data:")] == []


def curves(run: Run) -> dict[str, Any]:
    """The curves of the histories that were reported."""
    path = run.folder / "curves.json"
    return json.loads(path.read_text()) if path.exists() else {}


def shown(run: Run) -> dict[str, Any]:
    """The last table of an executed notebook, as its reader sees it."""
    cells = nbformat.read(run.notebook, as_version=4).cells
    lines = cells[-1].outputs[-1].data["text/plain"].splitlines()
    return dict(line.split(maxsplit=1) for line in lines[1:])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_notebook_finds_what_it_should(case, tmp_path):
    run = run_notebook(case.path, case.parameters, tmp_path)
    assert_whole(run, case.figures)
    case.holds(run.results)
    assert list(shown(run)) == list(run.results), "the reader sees another report"


@pytest.mark.parametrize(
    ("notebook", "given", "parts"),
    [
        (
            "06",
            {"int": "zeros"},
            ["'int' is not a parameter", "'init'", "Known: interactive, init"],
        ),
        ("06", {"init": "all_equals"}, ["init='all_equals'", "'all_equal'"]),
        ("06", {"hidden": "8,x"}, ["hidden='8,x'", "such as [8, 8]"]),
        ("06", {"lr": "fast"}, ["lr='fast'", "a number such as 0.0"]),
        (
            "06",
            {"lr": 100.0, "steps": "many", "batchsize": 8, "optimizer": "adamm"},
            ["'batch_size'", "steps='many'", "lr=100.0", "'adam'"],
        ),
        ("01", {"noise": -1.0}, ["noise=-1.0"]),
        ("00", {"seed": 1.5}, ["seed=1.5", "a whole number such as 0"]),
    ],
    ids=str,
)
def test_mistakes_are_reported_before_anything_runs(notebook, given, parts, tmp_path):
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(notebook)]
    with pytest.raises(LabError) as refused:
        run_notebook(path, given, tmp_path)
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) == len(given), "one line for each mistake"
    assert list(tmp_path.iterdir()) == []
