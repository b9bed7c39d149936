from __future__ import annotations

import html
import re

import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError
from labkit.figures import theme
from labkit.panels import GradientPanel
from labkit.toys.gradients.backprop import MISTAKES, TinyNetwork


def words(text: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", text))


def wrong(spec) -> list[str]:
    (bars,) = spec["data"]
    colors = bars["marker"]["color"]
    return [x for x, color in zip(bars["x"], colors, strict=True) if color == theme.VERMILLION]


def test_nothing_is_wrong_at_first_and_a_mistake_is_found(shown):
    panel = GradientPanel(TinyNetwork.draw(0))
    assert panel.check.passed
    assert wrong(shown[panel.live["errors"]]) == []
    assert "nothing is wrong. Right" in words(panel.status.value)
    panel.mistakes.value = "activation_slope"
    assert not panel.check.passed
    assert wrong(shown[panel.live["errors"]]) == ["w", "b"]
    assert MISTAKES["activation_slope"] in words(panel.status.value)
    assert "Wrong in w, b" in words(panel.status.value)
    panel.mistakes.value = "none"
    assert wrong(shown[panel.live["errors"]]) == []


def test_an_epsilon_that_is_too_large_or_too_small_sees_mistakes_that_are_none(shown):
    panel = GradientPanel(TinyNetwork.draw(0))
    for eps in (1.0, 1e-12):
        panel.size.value = eps
        assert shown[panel.live["by eps"]]["layout"]["shapes"][0]["x0"] == eps
        assert not panel.check.passed
    panel.size.value = 1e-6
    assert panel.check.passed


def test_without_a_person_a_sentence_and_two_figures(monkeypatch):
    displayed: list = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = GradientPanel(mistake="sign", interactive=False)
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    assert [type(item) for item in displayed[1:]] == [go.Figure, go.Figure]
    assert "the minus sign is lost" in words(displayed[0].data)


def test_slips_are_explained():
    with pytest.raises(LabError, match="did you mean 'factor'"):
        GradientPanel(mistake="factr", interactive=False)
    with pytest.raises(LabError, match="eps=2"):
        GradientPanel(eps=2, interactive=False)
