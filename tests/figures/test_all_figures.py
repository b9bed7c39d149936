"""What holds for every figure of a run, whatever the run."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit import figures
from labkit.panels.live_figure import pack
from tests.figures.runs import BIG, CNN, HISTORIES, MLP, history

PER_TENSOR = (
    figures.weight_lines,
    figures.weight_histogram,
    figures.weight_heatmap,
    figures.weight_distribution,
)
PER_RUN = (figures.loss_curves, figures.gradient_flow, figures.update_ratio)
CASES = [
    *((figure, True) for figure in PER_TENSOR),
    *((figure, False) for figure in PER_RUN),
]
RUNS = {name: make() for name, make in HISTORIES.items()}


def build(figure, per_tensor, run):
    return (
        [figure.spec(run, name) for name in run.layout.names] if per_tensor else [figure.spec(run)]
    )


def specs():
    return pytest.mark.parametrize(
        ("figure", "per_tensor"), CASES, ids=lambda c: getattr(c, "__name__", "")
    )


@specs()
@pytest.mark.parametrize("name", RUNS)
def test_every_run_gives_a_valid_figure_with_finite_ranges(figure, per_tensor, name):
    for spec in build(figure, per_tensor, RUNS[name]):
        go.Figure(spec)  # raises on an unknown or ill-typed attribute
        pack(spec)  # what the live painter does
        for key, axis in spec["layout"].items():
            if key.startswith(("xaxis", "yaxis")):
                low, high = axis["range"]
                assert np.isfinite([low, high]).all(), key
                assert low != high, key
                assert axis["automargin"] is False


@specs()
@pytest.mark.parametrize("name", RUNS)
def test_no_trace_is_longer_than_the_painter_can_take(figure, per_tensor, name):
    for spec in build(figure, per_tensor, RUNS[name]):
        for trace in spec["data"]:
            if trace["type"] == "scatter":
                assert len(trace["x"]) == len(trace["y"]) <= 300


@specs()
def test_axes_have_titles_and_steps_have_a_unit(figure, per_tensor):
    for spec in build(figure, per_tensor, RUNS["ordinary"]):
        titles = [v["title"]["text"] for k, v in spec["layout"].items() if k[1:5] == "axis"]
        assert titles
        if figure not in (figures.weight_heatmap, figures.weight_distribution):
            assert any("weight updates" in title for title in titles)
            assert all(titles)


NUMBERS = ("x", "y", "z", "customdata")


def still(value):
    """A spec without the numbers of its traces, which the fast path may change."""
    if isinstance(value, dict):
        return {k: still(v) for k, v in value.items() if k not in NUMBERS}
    if isinstance(value, list | tuple):
        return [still(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


@specs()
def test_layout_and_traces_do_not_change_while_numbers_do(figure, per_tensor):
    """Two histories of one run, one step apart: the live painter's fast path needs this."""
    fixed = history(last=200, planned=1000)
    later = history(last=201, planned=1000)
    if per_tensor:
        pairs = [(figure.spec(fixed, n), figure.spec(later, n)) for n in MLP.names]
    else:
        pairs = [(figure.spec(fixed), figure.spec(later))]
    for before, after in pairs:
        assert still(before) == still(after)


@pytest.mark.parametrize("figure", PER_TENSOR, ids=lambda f: f.__name__)
def test_unknown_tensor_is_named(figure):
    with pytest.raises(KeyError, match="layer9"):
        figure.spec(RUNS["ordinary"], "layer9.weight")


def test_the_step_axis_is_the_recipes():
    run = history(last=100, planned=1000)
    for spec in (figures.loss_curves.spec(run), figures.weight_lines.spec(run, "layer1.bias")):
        assert spec["layout"]["xaxis"]["range"] == [0, 1000]
    assert figures.gradient_flow.spec(run, steps=400)["layout"]["xaxis"]["range"] == [0, 400]


def test_calling_gives_a_figure_and_spec_the_same_plain_dict():
    run = RUNS["ordinary"]
    shown, spec = figures.weight_heatmap(run, "layer1.weight"), None
    spec = figures.weight_heatmap.spec(run, "layer1.weight")
    assert isinstance(shown, go.Figure)
    assert type(spec) is dict
    np.testing.assert_array_equal(shown.data[0].z, spec["data"][0]["z"])


def test_figures_import_nothing_that_trains_computes_or_draws():
    code = "import sys, labkit.figures; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert "labkit.figures.weights" in loaded
    assert not loaded & {"torch", "plotly", "PIL"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("labkit.")}
    assert rooms <= {"figures", "core", "_version"}


def test_layouts_used_here_cover_bands_and_kernels():
    assert max(BIG.sizes) > 48 >= max(MLP.sizes)
    assert len(CNN.shapes[0]) == 4
