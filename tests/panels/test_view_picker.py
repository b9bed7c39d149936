from __future__ import annotations

import pytest

from labkit import views
from labkit.panels.edits import Edits
from labkit.panels.view_picker import ViewPicker, fitting_views
from labkit.recipe.recipe import Recipe


class Looks:
    """A picker whose choices are written down."""

    def __init__(self) -> None:
        self.edits, self.seen = Edits(), []
        self.picker = ViewPicker(
            self.edits, self.on_edit, lambda view, tensor: self.seen.append((view, tensor))
        )

    def on_edit(self, widget, handler) -> None:
        guarded = self.edits.guard(
            lambda change: handler(change["new"]), alert=lambda _: None, restore=lambda: None
        )
        widget.observe(guarded, "value")


@pytest.fixture
def looks() -> Looks:
    made = Looks()
    made.picker.offer({"heatmap": "A map", "boundary": "A line"}, "heatmap", ["a", "b"], "b")
    return made


def test_what_is_offered_is_chosen_by_nobody(looks):
    assert looks.seen == []
    assert looks.picker.view_selector.value == "heatmap"
    assert looks.picker.view_selector.label == "A map"
    assert looks.picker.tensor_selector.value == "b"


def test_a_choice_is_a_view_and_a_tensor(looks):
    looks.picker.tensor_selector.value = "a"
    looks.picker.view_selector.value = "boundary"
    assert looks.seen == [("heatmap", "a"), ("boundary", "a")]


def test_tensors_are_offered_where_a_view_shows_one(looks):
    menu = looks.picker.tensor_selector
    assert menu.layout.display == ""
    looks.picker.view_selector.value = "boundary"
    assert menu.layout.display == "none"
    looks.picker.view_selector.value = "heatmap"
    assert menu.layout.display == ""


@pytest.mark.parametrize("task", ["moons", "regression", "digits"])
def test_views_fit_the_recipe(task):
    recipe = Recipe(task=task)
    titles = fitting_views(recipe)
    assert ["loss", *titles] == ["loss", *(n for n in views.views_for(recipe) if n != "loss")]
    assert all(title == views.VIEWS[name].traits["title"] for name, title in titles.items())
