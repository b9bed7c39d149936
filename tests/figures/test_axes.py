from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import theme
from labkit.figures.axes import axis, events, horizon, log_axis, merge, nice_length, step_axis
from labkit.training.history import Mark
from tests.figures.runs import history

FAILED = {"kind": "diverged", "message": "m", "remedy": "r", "evidence": {"step": 40}}


@pytest.mark.parametrize("span", [(-1, 0), (-0.7, 0.3), (-30, 35), (-4, 2), (0, 0.31)])
def test_log_axes_have_a_few_ticks_inside(span):
    axis = log_axis("x", span)
    ticks = np.log10(axis["tickvals"])
    assert 2 <= len(ticks) <= 8
    assert (ticks >= span[0] - 1e-9).all()
    assert (ticks <= span[1] + 1e-9).all()


def test_the_horizon_grows_past_the_plan_and_shrinks_with_a_failure():
    assert horizon([history(last=10, planned=100)]) == 100
    assert horizon([history(last=120)], 100) >= 120
    failed = history(last=9, planned=1000)
    failed.finding = {"kind": "diverged", "message": "m", "remedy": "r", "evidence": {"step": 10}}
    assert 10 <= horizon([failed]) <= 20


def test_marks_of_a_dragged_slider_become_one():
    marks = [Mark(10, "lr 0.1 → 0.2"), Mark(12, "lr 0.2 → 0.4"), Mark(90, "steps 100 → 200")]
    assert merge(marks, 5) == [Mark(12, "lr 0.1 → 0.4"), Mark(90, "steps 100 → 200")]
    assert merge(marks, 1) == marks


def test_an_axis_has_a_title_and_limits_only_if_given():
    assert axis("loss (nats)")["title"]["text"] == "loss (nats)"
    assert "range" not in axis("loss")
    assert axis("loss", (0, 2), nticks=3) | {"range": [0, 2], "nticks": 3} == axis(
        "loss", (0, 2), nticks=3
    )
    assert step_axis(70)["range"] == [0, 70]


@pytest.mark.parametrize("span", [(-3, -2), (0, 2), (-9, 9)])
def test_labels_of_a_log_axis_are_its_ticks(span):
    made = log_axis("x", span)
    for value, text in zip(made["tickvals"], made["ticktext"], strict=True):
        factor, _, power = text.removesuffix("</sup>").partition("10<sup>")
        shown = float(factor.rstrip("·") or 1) * 10 ** int(power or 0)
        assert shown == pytest.approx(value)


@pytest.mark.parametrize("value", [1, 7, 99, 100, 101, 1234, 65_000])
def test_an_axis_grows_in_few_jumps(value):
    length = nice_length(value)
    assert value <= length <= 1.5 * value
    assert len({nice_length(v) for v in np.linspace(value, 2 * value, 200)}) <= 7


def drawn(run, end):
    layout = theme.layout("test")
    added = events([run], end, layout)
    go.Figure({"data": [], "layout": layout | added})
    return added


def test_marks_are_dotted_lines_and_a_failure_is_a_solid_one():
    run = history(last=40)
    run.marks = [Mark(10, "lr 0.1 → 0.2")]
    run.finding = FAILED
    added = drawn(run, 100)
    lines = {(s["x0"], s["line"]["dash"]) for s in added["shapes"]}
    assert lines == {(10, "dot"), (40, "solid")}
    texts = {note["text"]: note["hovertext"] for note in added["annotations"]}
    assert texts == {"✕ diverged at step 40": "m r", "lr 0.2": "step 10: lr 0.1 → 0.2"}


def test_labels_do_not_overlap_and_stay_on_the_axis():
    run = history(last=100)
    run.marks = [Mark(step, f"optimizer {step} → {step + 1}") for step in range(0, 101, 5)]
    added = drawn(run, 100)
    assert len(added["shapes"]) == 21
    spans = []
    for note in added["annotations"]:
        half = 0.0068 * len(note["text"]) * 100
        spans.append((note["x"] - half, note["x"] + half))
    spans.sort()
    assert 2 <= len(spans) < 21
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert spans[0][0] >= -1e-9
    assert spans[-1][1] <= 100 + 1e-9


def test_without_events_a_layout_stays_as_it_is():
    assert drawn(history(last=5), 100) == {"shapes": [], "annotations": []}
