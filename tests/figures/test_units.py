from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import unit_rows
from tests.figures.runs import BIG, CNN, MLP, history


def test_a_picture_is_the_matrix_at_its_step():
    run, other = history(last=50), history(last=50, weights=lambda step: np.full(MLP.total, step))
    spec = unit_rows.spec({"random": run, "equal": other}, "layer1.weight", [0, 20, 50])
    go.Figure(spec)
    assert len(spec["data"]) == 6
    for trace, step in zip(spec["data"][:3], (0, 20, 50), strict=True):
        np.testing.assert_allclose(trace["z"], run.weights(step)["layer1.weight"], rtol=1e-6)
    assert (spec["data"][5]["z"] == 50).all()


def test_a_line_of_pictures_has_one_colour_range_that_holds_all():
    run = history(last=50, weights=lambda step: np.linspace(-step, step, MLP.total))
    spec = unit_rows.spec({"growing": run}, "layer1.weight", [0, 25, 50])
    assert len({trace["zmax"] for trace in spec["data"]}) == 1
    assert all(np.abs(trace["z"]).max() <= trace["zmax"] for trace in spec["data"])


def test_words_say_whether_rows_are_equal():
    equal = history(last=10, weights=lambda step: np.full(MLP.total, 0.5))

    def apart(step):
        row = np.zeros(MLP.total)
        row[2] = 0.25  # one weight of the second unit
        return row

    spec = unit_rows.spec(
        {"equal": equal, "apart": history(last=10, weights=apart)}, "layer1.weight", [0, 10]
    )
    texts = [note["text"] for note in spec["layout"]["annotations"]]
    assert texts == [
        "<b>equal</b>, step 0: all rows equal",
        "step 10: all rows equal",
        "<b>apart</b>, step 0: rows differ by 0.25",
        "step 10: rows differ by 0.25",
    ]


def test_rounding_is_called_rounding():
    def nearly(step):
        row = np.ones(MLP.total)
        row[2] += 1e-4
        return row

    spec = unit_rows.spec({"run": history(last=2, weights=nearly)}, "layer1.weight", [0])
    (note,) = spec["layout"]["annotations"]
    assert note["text"] == "<b>run</b>, step 0: rows equal up to rounding"


@pytest.mark.parametrize(
    ("layout", "tensor", "shape"),
    [(CNN, "conv2.weight", (4, 54)), (BIG, "layer1.weight", (40, 30))],
)
def test_a_row_holds_all_that_leads_to_a_unit(layout, tensor, shape):
    spec = unit_rows.spec({"run": history(layout, 5)}, tensor, [0, 5])
    assert spec["data"][0]["z"].shape == shape


@pytest.mark.parametrize(("lines", "columns"), [(1, 1), (2, 3), (3, 6)])
def test_pictures_lie_within_the_page_and_do_not_overlap(lines, columns):
    run = history(last=10)
    names = {str(k): run for k in range(lines)}
    layout = unit_rows(names, "layer1.weight", list(range(columns))).layout
    across = [layout[f"xaxis{k + 1 if k else ''}"].domain for k in range(columns)]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(across))
    down = [layout[f"yaxis{k * columns + 1 if k else ''}"].domain for k in range(lines)]
    assert all(a[0] > b[1] for a, b in itertools.pairwise(down))


def test_an_unknown_tensor_is_named():
    with pytest.raises(KeyError, match="layer9"):
        unit_rows.spec({"run": history(last=5)}, "layer9.weight", [0])
