from __future__ import annotations

import plotly.graph_objects as go
import pytest

from labkit.figures.forgetting import forgetting_curves, forgetting_map

RUNS = {
    "everything": ([0, 1, 2], [0.9, 0.4, 0.1], [0.0, 0.5, 0.8]),
    "frozen": ([0, 1, 2], [0.9, 0.7, 0.6], [0.0, 0.4, 0.6]),
}


def test_old_classes_on_the_left_new_ones_on_the_right():
    traces = forgetting_curves.spec(RUNS)["data"]
    left = {trace["name"]: list(trace["y"]) for trace in traces if trace["xaxis"] == "x"}
    right = {trace["name"]: list(trace["y"]) for trace in traces if trace["xaxis"] == "x2"}
    assert left == {name: old for name, (_, old, _) in RUNS.items()}
    assert right == {name: new for name, (_, _, new) in RUNS.items()}
    colors = {(trace["name"], trace["line"]["color"]) for trace in traces}
    assert len(colors) == 2, "one colour for each run"


def test_a_path_from_the_first_epoch_to_the_last():
    path, _ = forgetting_map.spec(RUNS)["data"]
    assert list(path["x"]) == RUNS["everything"][2]
    assert list(path["y"]) == RUNS["everything"][1]
    assert path["marker"]["size"][-1] > path["marker"]["size"][0]


@pytest.mark.parametrize("build", [forgetting_curves, forgetting_map])
@pytest.mark.parametrize("runs", [{}, {"none": ([], [], [])}, RUNS])
def test_every_run_gives_a_valid_figure(build, runs):
    assert isinstance(build(runs), go.Figure)
