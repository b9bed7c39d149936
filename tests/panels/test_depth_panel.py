from __future__ import annotations

import html
import re
import threading

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.analysis.propagation import describe, signals, stds
from labkit.core.executors import SynchronousExecutor
from labkit.panels import DepthPanel, depth_panel
from labkit.recipe.initialize import INITS
from labkit.recipe.recipe import Recipe
from tests.panels.together import edit_together

RELU = Recipe(task="digits", hidden=(16,) * 6, activation="relu", samples=100)


def panel(recipe: Recipe = RELU, **more) -> DepthPanel:
    return DepthPanel(recipe, executor=SynchronousExecutor(), **more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", widget.value))


def line(spec, name: str, dash=None) -> np.ndarray:
    (found,) = [
        trace
        for trace in spec["data"]
        if trace["name"] == name and trace.get("line", {}).get("dash") == dash
    ]
    return found["y"]


def assert_shows(one: DepthPanel, shown, recipe: Recipe) -> None:
    """What is on the page is what `signals` says of the recipe."""
    assert one.recipe == recipe
    flow = signals(recipe)
    np.testing.assert_allclose(line(shown[one.live["sizes"]], "activations"), stds(flow))
    np.testing.assert_allclose(line(shown[one.live["sizes"]], "gradients"), stds(flow, "gradient"))
    drawn = [trace["name"] for trace in shown[one.live["distribution"]]["data"]]
    assert drawn == [signal.layer for signal in flow[:-1]]
    for sentence in describe(flow):
        assert sentence in words(one.status)


def test_it_starts_with_what_it_is_given(shown):
    one = panel()
    assert_shows(one, shown, RELU)
    values = {name: field.value for name, field in one.fields.items()}
    assert values == {
        "init": "kaiming_normal",
        "activation": "relu",
        "task": "digits",
        "depth": 6,
        "width": 16,
        "init_args.mode": "fan_in",
        "init_args.factor": 1.0,
    }


@pytest.mark.parametrize(
    ("field", "value", "changes"),
    [
        ("init", "orthogonal", {"init": "orthogonal"}),
        ("activation", "sigmoid", {"activation": "sigmoid"}),
        ("task", "moons", {"task": "moons"}),
        ("depth", 3, {"hidden": (16,) * 3}),
        ("width", 40, {"hidden": (40,) * 6}),
        ("init_args.factor", 0.5, {"init_args": {"factor": 0.5}}),
        ("init_args.mode", "fan_out", {"init_args": {"mode": "fan_out"}}),
    ],
)
def test_every_control_changes_the_picture_at_once(field, value, changes, shown):
    one = panel()
    one.fields[field].value = value
    assert_shows(one, shown, RELU.replace(**changes))


@pytest.mark.parametrize("name", INITS)
def test_every_scheme_has_its_own_arguments_and_words(name, shown):
    one = panel(RELU.replace(hidden=(8, 8)))
    one.fields["init"].value = name
    own = {f"init_args.{key}" for key in INITS[name].parameters()}
    assert {key for key in one.fields if key.startswith("init_args.")} == own
    assert len(one.arguments.children) == len(own)
    assert INITS[name].formula in words(one.summary)
    assert one.recipe.init == name


def test_arguments_of_another_scheme_do_not_stay(shown):
    one = panel()
    one.fields["init_args.factor"].value = 2.0
    one.fields["init"].value = "normal"
    assert one.recipe.init_args == {}
    one.fields["init_args.std"].value = 0.25
    assert_shows(one, shown, RELU.replace(init="normal", init_args={"std": 0.25}))


def test_new_weights_are_the_next_seeds(shown):
    one = panel()
    before = line(shown[one.live["sizes"]], "activations")
    one.redraw.click()
    assert_shows(one, shown, RELU.replace(seed=1))
    assert (line(shown[one.live["sizes"]], "activations") != before).all()


def test_comparing_keeps_the_lines_of_then(shown):
    one = panel()
    then = stds(signals(RELU))
    one.keep.value = True
    one.fields["init_args.factor"].value = 2.0
    np.testing.assert_allclose(line(shown[one.live["sizes"]], "activations", "dot"), then)
    np.testing.assert_allclose(
        line(shown[one.live["sizes"]], "activations"), then * 2.0 ** np.arange(1, 7)
    )
    one.keep.value = False
    dashes = [trace.get("line", {}).get("dash") for trace in shown[one.live["sizes"]]["data"]]
    assert "dot" not in dashes


def test_a_reference_is_compared_with_from_the_start(shown):
    one = panel(reference=RELU.replace(init="lecun_normal"))
    wanted = stds(signals(RELU.replace(init="lecun_normal")))
    np.testing.assert_allclose(line(shown[one.live["sizes"]], "activations", "dot"), wanted)
    assert one.keep.value is True


def test_a_slip_is_explained_and_the_controls_go_back(shown, monkeypatch):
    one = panel()
    monkeypatch.setattr(one.fields["depth"], "max", 30)
    one.fields["depth"].value = 25
    assert "give up to 20 widths" in words(one.message)
    assert_shows(one, shown, RELU)
    assert one.fields["depth"].value == 6
    one.fields["depth"].value = 4
    assert words(one.message) == ""


def test_while_one_picture_is_computed_only_the_last_change_waits(shown, monkeypatch):
    """A dragged slider asks faster than a deep network answers."""
    one = DepthPanel(RELU)
    began, may_end = threading.Event(), threading.Event()
    asked: list[int] = []

    def slow(recipe):
        asked.append(len(recipe.hidden))
        began.set()
        assert may_end.wait(20)
        return signals(recipe)

    painted = threading.Event()
    paint = one.paint

    def last_paint():
        paint()
        if len(one.flow) == 9 + 1:
            painted.set()

    monkeypatch.setattr(depth_panel, "signals", slow)
    monkeypatch.setattr(one, "paint", last_paint)
    one.fields["depth"].value = 2
    assert began.wait(20)
    for depth in (3, 4, 5, 9):
        one.fields["depth"].value = depth
    may_end.set()
    assert painted.wait(20)
    assert asked == [2, 9]
    assert_shows(one, shown, RELU.replace(hidden=(16,) * 9))


def test_uneven_networks_become_even_and_convolutions_full_layers():
    cnn = Recipe(task="digits", network="cnn", hidden=(3, 5), samples=60)
    one = DepthPanel(cnn, interactive=False)
    assert (one.recipe.network, one.recipe.hidden) == ("mlp", (3, 3))
    assert DepthPanel(RELU.replace(hidden=()), interactive=False).recipe.hidden == (64,)


def test_without_a_person_it_shows_words_and_two_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = DepthPanel(RELU.replace(init_args={"factor": 0.5}), interactive=False)
    assert not hasattr(one, "widget")
    one._ipython_display_()
    said, *figures = displayed
    assert "shrink on their way forward" in said.data
    assert [type(figure) for figure in figures] == [go.Figure, go.Figure]


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel()
    one._ipython_display_()
    assert displayed == [one.widget]


def test_by_default_it_is_deep_and_looks_at_digits():
    one = DepthPanel(interactive=False)
    assert (one.recipe.task, one.recipe.hidden) == ("digits", (64,) * 10)


def test_sliders_leave_room_to_aim_but_hold_what_is_given(shown):
    """A factor may be 10, but what matters lies between a quarter and four."""
    assert panel().fields["init_args.factor"].max == 4
    far = panel(RELU.replace(init_args={"factor": 8.0}))
    assert (far.fields["init_args.factor"].max, far.fields["init_args.factor"].value) == (8, 8)
    far.fields["init"].value = "sparse"
    assert far.fields["init_args.sparsity"].max == 0.99


def test_of_two_edits_at_once_none_is_lost(shown, monkeypatch):
    one = panel()
    edit_together(
        monkeypatch,
        Recipe,
        "replace",
        lambda: setattr(one.fields["activation"], "value", "tanh"),
        lambda: setattr(one.fields["depth"], "value", 3),
    )
    assert_shows(one, shown, RELU.replace(activation="tanh", hidden=(16,) * 3))
    assert (one.fields["activation"].value, one.fields["depth"].value) == ("tanh", 3)
