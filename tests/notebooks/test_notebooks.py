"""Every notebook of the series, run without a person, judged by what it found.

Each case is one run with parameters of its own. Steps are fewer than a reader's, so that
the whole series takes a minute or so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from labkit.batch import Run, read_parameters, run_notebook
from labkit.errors import LabError
from labkit.recipe import Recipe
from labkit.training import fit

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FIGURE = "application/vnd.plotly.v1+json"

Results = dict[str, Any]


@dataclass
class Case:
    """One run: the notebook (by its first letters), parameters, figures, and what must hold."""

    notebook: str
    parameters: dict[str, Any]
    figures: int
    holds: Callable[[Results], None] = field(repr=False)

    def __str__(self) -> str:
        given = ",".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.notebook}-{given}" if given else self.notebook

    @property
    def path(self) -> Path:
        (path,) = [path for path in NOTEBOOKS if path.stem.startswith(self.notebook)]
        return path


# --- what must hold --------------------------------------------------------------------


def moons_are_learnt(results: Results) -> None:
    """The very run that the library makes from the recipe that the notebook describes."""
    assert results == fit(Recipe(task="moons", lr=0.003, steps=600, seed=0)).summary()
    assert results["val_accuracy"] > 0.8


def another_seed_is_another_run(results: Results) -> None:
    assert results == fit(Recipe(task="moons", lr=0.003, steps=600, seed=3)).summary()
    assert results != fit(Recipe(task="moons", lr=0.003, steps=600, seed=0)).summary()


def points(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The notebook's forty points, drawn again."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, 40)
    return x, 1.5 * x - 0.5 + rng.normal(0, noise, 40)


def descent_reaches_least_squares(results: Results) -> None:
    x, y = points(noise=0.2, seed=0)
    design = np.stack([x, np.ones_like(x)], axis=1)
    best, squares, *_ = np.linalg.lstsq(design, y)
    assert results["loss_best"] == pytest.approx(squares[0] / 40)
    assert results["loss_downhill"] == pytest.approx(squares[0] / 40, rel=1e-3)
    found = (results["weight_downhill"], results["bias_downhill"])
    assert found == pytest.approx(tuple(best), abs=2e-2)
    assert results["loss_by_hand"] == pytest.approx(np.mean(y**2)), "both knobs stand at 0"
    assert results["xor_accuracy"] > 0.85
    # Linear(2, 4) and Linear(4, 2); their biases, two scales and shifts of 4, running mean
    # and variance of 4 and a counter; for each learned number two of Adam's, and its steps.
    assert results["weights"] == 2 * 4 + 4 * 2
    assert results["not_weights"] == (4 + 2) + (4 + 4) + (4 + 4 + 1) + 2 * (16 + 6 + 8) + 6


def without_noise_the_line_is_found_exactly(results: Results) -> None:
    assert results["loss_best"] < 1e-20
    assert results["loss_by_hand"] < 1e-20, "the knobs stand on the line"
    assert results["loss_downhill"] < 1e-20, "and nothing pulls them away"
    assert results["weight_downhill"] == pytest.approx(1.5)
    assert results["bias_downhill"] == pytest.approx(-0.5)


def he_init_learns_digits(results: Results) -> None:
    assert results["digits_accuracy"] > 0.95
    assert results["digits_units_identical"] is False
    assert results["digits_weights_spread_to"] > results["digits_weights_spread_from"]
    # He et al. 2015: a std of sqrt(2 / fan_in), here of 64 pixels.
    assert results["digits_weights_spread_from"] == pytest.approx(np.sqrt(2 / 64), rel=0.05)
    assert results["finding"] is None


def equal_units_stay_identical(results: Results) -> None:
    assert results["digits_units_identical"] is True
    assert results["digits_accuracy"] < 0.6, "32 neurons do the work of one"
    assert results["finding"] is None


def a_wild_learning_rate_is_found_out(results: Results) -> None:
    assert re.match(r"Training ended at step \d+: the loss became", results["finding"])


DIGITS = {"lr": 0.01, "steps": 60, "digits_steps": 400}
WILD = {"optimizer": "sgd", "lr": 10.0, "activation": "leaky_relu", "digits_steps": 60}
ON_THE_LINE = {"noise": 0.0, "weight": 1.5, "bias": -0.5}
CASES = [
    Case("00", {"steps": 600}, 3, moons_are_learnt),
    Case("00", {"steps": 600, "seed": 3}, 3, another_seed_is_another_run),
    Case("01", {}, 6, descent_reaches_least_squares),
    Case("01", ON_THE_LINE, 6, without_noise_the_line_is_found_exactly),
    Case("06", DIGITS, 10, he_init_learns_digits),
    Case("06", {**DIGITS, "init": "all_equal"}, 10, equal_units_stay_identical),
    Case("06", {**WILD, "steps": 60}, 10, a_wild_learning_rate_is_found_out),
]


def test_every_notebook_has_two_cases_or_more():
    counts = {path.stem: [case.path for case in CASES].count(path) for path in NOTEBOOKS}
    assert min(counts.values()) >= 2, counts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_can_run_without_a_person(path):
    parameters = read_parameters(path)
    assert parameters["interactive"].default is True
    assert "seed" in parameters, "a run is repeated by its seed"


# --- one run each ----------------------------------------------------------------------


class Page(HTMLParser):
    """What the tests want to know of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts: list[str] = []
        self.figures = self.alerts = 0
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link":
            self.loaded.append(given.get("href", ""))
        self.figures += "plotly-graph-div" in (given.get("class") or "").split()

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts[-1] += data


def assert_whole(run: Run, figures: int) -> None:
    """Everything that a run leaves is there, valid, and fit to be sent to somebody."""
    assert run.error is None
    names = {path.name for path in run.folder.iterdir()}
    assert names == {run.notebook.name, run.page.name, "results.json"}
    assert json.loads((run.folder / "results.json").read_text()) == run.results

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
    assert [source for source in page.loaded if not source.startswith("data:")] == []


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
def test_a_slip_is_answered_before_anything_runs(notebook, given, parts, tmp_path):
    (path,) = [path for path in NOTEBOOKS if path.stem.startswith(notebook)]
    with pytest.raises(LabError) as refused:
        run_notebook(path, given, tmp_path)
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) == len(given), "one line for each slip"
    assert list(tmp_path.iterdir()) == []
