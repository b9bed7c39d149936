from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import sweep_map
from labkit.figures.sweep import best_cell
from labkit.panels.live_figure import pack

ROWS, COLUMNS = ["lsuv", "zeros"], [0.001, 0.01, 1.0]
VALUES = np.array([[0.5, 0.02, np.nan], [2.0, 1.0, np.inf]])


def named(spec, name: str) -> dict:
    return next(trace for trace in spec["data"] if trace["name"] == name)


def written(spec) -> dict[tuple[int, int], tuple[str, str]]:
    """What is printed in each cell, and in which colour."""
    return {
        (int(y), int(x)): (text, trace["textfont"]["color"])
        for trace in spec["data"]
        if trace.get("mode") == "text"
        for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True)
    }


def luminance(color: str) -> float:
    """WCAG 2.2, relative luminance of #rrggbb."""
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def painted(scale, shade: float) -> str:
    """The colour that plotly gives a number, by linear interpolation."""
    places = [place for place, _ in scale]
    parts = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for _, color in scale]
    mixed = [round(np.interp(shade, places, channel)) for channel in zip(*parts, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def test_low_losses_are_dark_and_high_accuracies_too():
    losses = named(sweep_map.spec(VALUES, ROWS, COLUMNS), "validation loss")["z"]
    assert losses[0, 1] == losses[np.isfinite(losses)].max() == 1
    assert losses[1, 0] == losses[np.isfinite(losses)].min() == 0
    accuracy = sweep_map.spec(VALUES / 4, ROWS, COLUMNS, metric="val_accuracy")
    shades = named(accuracy, "validation accuracy")["z"]
    assert (shades[1, 0], shades[0, 1]) == (1, 0)
    assert named(accuracy, "best")["y"][0] > 0.5


def test_what_diverged_is_crossed_and_says_so():
    spec = sweep_map.spec(VALUES, ROWS, COLUMNS, row_title="init")
    crosses = [t for t in spec["data"] if t["name"] == "diverged" and t["type"] == "scatter"]
    assert sorted(zip(crosses[0]["y"], crosses[0]["x"], strict=True)) == [(0, 2), (1, 2)]
    cells = next(t for t in spec["data"] if t["name"] == "diverged" and t["type"] == "heatmap")
    np.testing.assert_array_equal(np.isfinite(cells["z"]), ~np.isfinite(VALUES))
    assert cells["text"][0][2].startswith("init lsuv<br>learning rate 1<br>diverged")
    assert "diverged" not in cells["text"][0][0]
    whole = sweep_map.spec(np.ones((2, 3)), ROWS, COLUMNS)
    assert not named(whole, "diverged")["z"].any() or np.isnan(named(whole, "diverged")["z"]).all()


def test_every_cell_can_be_hovered_and_clicked_and_nothing_else():
    """A frame, cross or number over a cell must not take its click."""
    spec = sweep_map.spec(VALUES, ROWS, COLUMNS, chosen=(1, 0))
    cells = [trace for trace in spec["data"] if trace["type"] == "heatmap"]
    covered = sum(np.isfinite(trace["z"]).astype(int) for trace in cells)
    np.testing.assert_array_equal(covered, np.ones_like(VALUES))
    for trace in spec["data"]:
        assert (trace.get("hoverinfo") == "skip") == (trace["type"] == "scatter")


def test_frames_stand_around_the_best_and_the_chosen_cell():
    spec = sweep_map.spec(VALUES, ROWS, COLUMNS, chosen=(1, 2))
    for name, (row, column) in {"best": (0, 1), "shown below": (1, 2)}.items():
        trace = named(spec, name)
        assert (trace["x"].min() + trace["x"].max()) / 2 == column
        assert (trace["y"].min() + trace["y"].max()) / 2 == row
        assert np.ptp(trace["x"]) < 1
    assert not named(sweep_map.spec(VALUES, ROWS, COLUMNS), "shown below")["showlegend"]


def test_numbers_are_in_their_cells_and_can_be_read_on_them():
    spec = sweep_map.spec(VALUES, ROWS, COLUMNS)
    found = written(spec)
    assert {cell: text for cell, (text, _) in found.items()} == {
        (0, 0): "0.5",
        (0, 1): "0.02",
        (1, 0): "2",
        (1, 1): "1",
    }
    many = sweep_map.spec(np.linspace(0.01, 1, 12).reshape(1, 12), ["a"], list(range(12)))
    cells = many["data"][0]
    for (row, column), (_, ink) in written(many).items():
        page = luminance(painted(cells["colorscale"], cells["z"][row, column]))
        high, low = max(page, luminance(ink)), min(page, luminance(ink))
        assert (high + 0.05) / (low + 0.05) >= 3, (column, ink)
    large = sweep_map.spec(np.ones((30, 30)), range(30), range(30))
    assert written(large) == {}


def test_percentages_of_accuracies():
    spec = sweep_map.spec(np.array([[0.968]]), ["a"], [0.1], metric="val_accuracy")
    assert written(spec)[0, 0][0] == "97%"
    assert "96.8%" in spec["data"][0]["text"][0][0]


def test_one_run_that_all_but_exploded_leaves_colours_for_the_rest():
    values = np.array([[0.1, 0.2, 0.4, 0.8, 1.6, 1e9]])
    shades = named(sweep_map.spec(values, ["a"], range(6)), "validation loss")["z"]
    assert np.ptp(shades[0, :5]) > 0.5
    assert written(sweep_map.spec(values, ["a"], range(6)))[0, 5][0] == "1e+09"


@pytest.mark.parametrize(
    "values",
    [np.full((2, 3), np.nan), np.zeros((2, 3)), np.ones((1, 1)), np.full((2, 3), 1e300)],
    ids=["all diverged", "all zero", "one cell", "huge"],
)
@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_any_values_give_a_figure(values, metric):
    rows, columns = values.shape
    spec = sweep_map.spec(values, range(rows), range(columns), metric=metric)
    go.Figure(spec)
    pack(spec)
    if np.isnan(values).all():
        assert best_cell(values, metric) is None
        assert not named(spec, "best")["showlegend"]


def test_all_labels_that_fit_are_there_and_no_more():
    few = sweep_map.spec(np.ones((2, 9)), ROWS, list(np.geomspace(1e-4, 1, 9)))
    assert len(few["layout"]["xaxis"]["ticktext"]) == 9
    many = sweep_map.spec(np.ones((2, 60)), ROWS, list(np.geomspace(1e-4, 1, 60)))
    assert sum(map(len, many["layout"]["xaxis"]["ticktext"])) < 120
    assert few["layout"]["yaxis"]["ticktext"] == ROWS
    low, high = few["layout"]["yaxis"]["range"]
    assert low > high, "the first row is on top"
