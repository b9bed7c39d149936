from __future__ import annotations

import plotly.graph_objects as go
import pytest

from labkit.figures.head_start import head_start, reached

FAST = ([1, 2, 3, 4], [0.4, 0.7, 0.8, 0.9])
SLOW = ([1, 2, 3, 4], [0.1, 0.2, 0.4, 0.6])


@pytest.mark.parametrize(
    ("curve", "value", "epoch"),
    [
        (FAST, 0.7, 2),
        (FAST, 0.71, 3),
        (FAST, 0.95, None),
        (([1, 2, 3], [0.5, 0.1, 0.6]), 0.5, 1),
        (([], []), 0.5, None),
        (([1, 2], [float("nan"), 0.5]), 0.5, 2),
    ],
)
def test_the_first_epoch_that_is_there(curve, value, epoch):
    assert reached(curve, value) == epoch


def test_the_words_say_how_many_epochs_are_spared():
    spec = head_start.spec(FAST, SLOW)
    (note,) = spec["layout"]["annotations"]
    assert note["text"] == "pre-trained reaches this after 2 of 4 epochs"
    across, down = spec["layout"]["shapes"]
    assert (across["x0"], across["x1"], across["y0"]) == (2, 4, 0.6)
    assert (down["x0"], down["y1"]) == (2, 0.6)


def test_a_run_that_never_comes_as_far_as_the_other_begins():
    (note,) = head_start.spec(FAST, ([1, 2], [0.0, 0.1]))["layout"]["annotations"]
    assert note["text"] == "from scratch does not reach the first value of pre-trained"


@pytest.mark.parametrize("curves", [(SLOW, FAST), (([], []), FAST), (FAST, ([], []))])
def test_without_a_head_start_it_claims_none(curves):
    shown = head_start(*curves)
    assert isinstance(shown, go.Figure)
    assert not shown.layout.annotations
