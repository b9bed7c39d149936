from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit import figures, views
from labkit.core.errors import LabError, RecipeError
from labkit.panels.live_figure import pack
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import TASKS
from labkit.training.trainer import fit
from labkit.views import VIEWS, draw, views_for

RECIPES = {
    name: Recipe(task=name, samples=80, steps=6, hidden=(6, 5), batch_size=16) for name in TASKS
}
RECIPES["cnn"] = Recipe(task="digits", samples=80, network="cnn", hidden=(3, 4), steps=4)


@pytest.fixture(scope="module")
def run():
    histories = {}

    def get(name):
        if name not in histories:
            histories[name] = fit(RECIPES[name])
        return histories[name], RECIPES[name]

    return get


@pytest.mark.parametrize("task", RECIPES)
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_draws_what_it_fits_and_refuses_the_rest(name, task, run):
    history, recipe = run(task)
    if name not in views_for(recipe):
        with pytest.raises(RecipeError, match="Choose from"):
            draw(name, history, recipe)
        return
    tensors = history.layout.names if VIEWS[name].traits["per_tensor"] else [None]
    for tensor in tensors:
        spec = draw(name, history, recipe, tensor)
        assert set(spec) == {"data", "layout"}
        pack(spec)
        shown = views.figure(name, history, recipe, tensor)
        assert isinstance(shown, go.Figure)
        assert shown.layout.title.text == VIEWS[name].traits["title"]


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_a_title_and_a_line_of_help(name):
    assert VIEWS[name].traits["title"]
    assert VIEWS[name].summary.endswith(".")


@pytest.mark.parametrize("task", RECIPES)
def test_every_task_begins_with_a_view_of_its_own(task):
    expected = (
        "fit" if task == "regression" else "digits" if task in ("digits", "cnn") else "boundary"
    )
    names = views_for(RECIPES[task])
    assert names[0] == expected
    assert len({"fit", "digits", "boundary"} & set(names)) == 1
    assert ("network" in names) == (task != "cnn")


def test_the_first_tensor_is_shown_unless_another_is_asked_for(run):
    history, recipe = run("moons")
    weights = history.weights()
    first = draw("heatmap", history, recipe)["data"][0]["z"]
    np.testing.assert_array_equal(first, weights["layer1.weight"])
    other = draw("heatmap", history, recipe, "output.weight")["data"][0]["z"]
    np.testing.assert_array_equal(other, weights["output.weight"])


def test_mistakes_are_answered_with_the_nearest_name(run):
    history, recipe = run("moons")
    with pytest.raises(RecipeError, match="'heatmap'"):
        draw("heatmaps", history, recipe)
    with pytest.raises(RecipeError, match=r"'layer1\.weight'"):
        draw("heatmap", history, recipe, "layer1.weights")


def test_a_view_is_one_entry(run):
    history, recipe = run("moons")

    @views.view("spread", title="Spread", fits=lambda recipe: recipe.task == "moons")
    def spread(history, recipe, tensor):
        """How wide the weights lie."""
        return figures.weight_lines.spec(history, tensor)

    try:
        assert "spread" in views_for(recipe)
        assert "spread" not in views_for(RECIPES["digits"])
        assert draw("spread", history, recipe)["data"]
    finally:
        VIEWS.unregister("spread")
    assert "spread" not in VIEWS


def test_step_axes_follow_the_recipe_in_force(run):
    history, recipe = run("moons")
    longer = recipe.replace(steps=50)
    for name in ("loss", "weights", "histogram", "gradients", "updates"):
        assert draw(name, history, longer)["layout"]["xaxis"]["range"] == [0, 50], name


# --- weights that stand still ------------------------------------------------------------


@pytest.mark.parametrize("name", views.tensor_views(4, compared=True))
def test_weights_of_any_origin_are_shown_as_those_of_a_run(name, run):
    """The same numbers, whether a run has them or nobody knows where they come from."""
    history, recipe = run("moons")
    now, before = (history.weights(step)["layer1.weight"] for step in (None, 0))
    spec = views.draw_tensor(name, now, before, tensor="layer1.weight")
    pack(spec)
    of_run = draw(name, history, recipe, "layer1.weight")
    if name in ("heatmap", "change"):
        np.testing.assert_array_equal(spec["data"][0]["z"], of_run["data"][0]["z"])
    assert [t["type"] for t in spec["data"]] == [t["type"] for t in of_run["data"]]


@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 4), (7,), (300,), (1, 1), (4, 3, 1, 1), (5, 1, 3, 3), (2,) * 5]
)
def test_tensors_of_any_shape_are_shown(shape):
    values = np.random.default_rng(0).normal(size=shape)
    for name in views.tensor_views(len(shape), compared=True):
        go.Figure(views.draw_tensor(name, values, values / 2, tensor="w"))


def test_views_that_do_not_fit_a_tensor_are_refused():
    with pytest.raises(RecipeError, match=r"view='loss' cannot show w .*choose from heatmap"):
        views.draw_tensor("loss", np.ones((2, 2)), tensor="w")
    with pytest.raises(RecipeError, match="compared with nothing"):
        views.draw_tensor("change", np.ones((2, 2)), tensor="w")
    with pytest.raises(RecipeError, match=r"view='network' cannot show w \(2"):
        views.draw_tensor("network", np.ones(2), tensor="w")


def test_a_view_says_nothing_of_before_where_there_is_none():
    assert "before" in views.tensor_views(2, compared=True)["distribution"]
    assert "before" not in views.tensor_views(2)["distribution"]


def test_a_change_is_what_training_added(run):
    history, recipe = run("moons")
    gap = (
        history.weights()["output.weight"].astype(np.float64) - history.weights(0)["output.weight"]
    )
    shown = draw("change", history, recipe, "output.weight")["data"][0]["z"]
    np.testing.assert_array_equal(shown, gap.astype(np.float32))


def test_side_by_side_shows_boundaries_or_classes():
    points = Recipe(task="moons", samples=100, label_noise=0.25, steps=20, device="cpu")
    flat = fit(points).flat()
    shown = views.side_by_side(
        {"one": (points, flat), "two": (points.replace(label_noise=0.0), flat)}
    )
    assert isinstance(shown, go.Figure)
    assert [trace.type for trace in shown.data].count("heatmap") == 2
    assert {note.text.split("<br>")[0] for note in shown.layout.annotations} == {"one", "two"}
    digits = Recipe(task="digits", samples=100, steps=3, device="cpu")
    shown = views.side_by_side({"digits": (digits, fit(digits).flat())})
    assert [trace.type for trace in shown.data] == ["bar"]
    assert len(shown.data[0].x) == 10


def test_nothing_side_by_side_is_refused():
    with pytest.raises(LabError, match="give at least one run"):
        views.side_by_side({})
