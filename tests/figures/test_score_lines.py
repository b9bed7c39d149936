from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import theme
from labkit.figures.score_lines import score_lines


def build(curves, now=None, ends=(0, 2)):
    data = score_lines(
        curves, before=("undamaged", 0.9), ends=iter(ends), now=now, at="%{x} bits", what="mAP50"
    )
    go.Figure(data)
    return data


def test_a_line_for_the_reference_one_per_curve_and_a_mark():
    reference, first, second, mark = build({"a": [(0, 0.9), (2, 0.1)], "b": [(1, 0.5)]}, (1, 0.4))
    assert (reference["name"], reference["x"], reference["y"]) == ("undamaged", [0, 2], [0.9, 0.9])
    assert reference["line"]["dash"] == "dot"
    assert (first["name"], first["x"]) == ("a", [0, 2])
    np.testing.assert_array_equal(first["y"], [0.9, 0.1])
    np.testing.assert_array_equal(second["y"], [0.5])
    assert (mark["x"], mark["y"], mark["showlegend"]) == ([1], [0.4], True)


def test_without_a_present_point_the_mark_stays_as_an_empty_trace():
    *_, mark = build({})
    assert (mark["name"], mark["x"], mark["showlegend"]) == ("now", [], False)


def test_places_may_be_names():
    _, line, mark = build({"a": [("8", 0.7), ("bf16", 0.8)]}, ("bf16", 0.8), ("8", "bf16"))
    assert (line["x"], mark["x"]) == (["8", "bf16"], ["bf16"])


@pytest.mark.parametrize("count", [1, len(theme.CATEGORIES), len(theme.CATEGORIES) + 2])
def test_colours_differ_until_there_are_no_more(count):
    _, *lines, _ = build({str(k): [(0, 0.5)] for k in range(count)})
    colors = [line["line"]["color"] for line in lines]
    assert len(set(colors)) == min(count, len(theme.CATEGORIES))


def test_hovers_name_the_place_and_the_score():
    _, line, mark = build({"a": [(4, 0.5)]})
    assert line["hovertemplate"] == "a<br>%{x} bits: mAP50 %{y:.3f}<extra></extra>"
    assert mark["hovertemplate"].startswith("now, %{x} bits: mAP50")
