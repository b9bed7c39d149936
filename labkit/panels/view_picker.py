"""Which picture of which tensor: two menus that offer what fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit import views
from labkit.panels import parts
from labkit.panels.edits import Edits
from labkit.recipe.recipe import Recipe


class ViewPicker:
    """A menu of views and one of tensors; the second only where a view shows a single tensor.

    Args:
        edits: of the panel: offering is nobody's choice.
        on_edit: of the panel.
        look: called with the view and the tensor that somebody chose.
    """

    def __init__(
        self,
        edits: Edits,
        on_edit: Callable[[Any, Callable[[Any], object]], None],
        look: Callable[[str, str], object],
    ) -> None:
        self._edits, self._look = edits, look
        self.view_selector = parts.menu("view", None, None)
        self.tensor_selector = parts.menu("tensor", None, None)
        for menu in (self.view_selector, self.tensor_selector):
            on_edit(menu, self._chosen)

    def offer(
        self, titles: Mapping[str, str], view: str, tensors: Sequence[Any], tensor: str
    ) -> None:
        """Offer these, with one of each chosen.

        Args:
            titles: of the views, by name.
            view, tensor: what is chosen.
            tensors: names, or pairs of words and a name.
        """
        with self._edits.filling():  # new options select their first for a moment
            options = [(title, name) for name, title in titles.items()]
            self.view_selector.options, self.view_selector.value = options, view
            self.tensor_selector.options, self.tensor_selector.value = tensors, tensor
        self._hide_tensors(view)

    def _chosen(self, _value: Any) -> None:
        view, tensor = self.view_selector.value, self.tensor_selector.value
        self._hide_tensors(view)
        self._look(view, tensor)

    def _hide_tensors(self, view: str) -> None:
        whole = view in views.VIEWS and not views.VIEWS[view].traits["per_tensor"]
        self.tensor_selector.layout.display = "none" if whole else ""


def fitting_views(recipe: Recipe) -> dict[str, str]:
    """Titles of the views that fit a recipe, by name; the loss has a picture of its own."""
    names = [name for name in views.views_for(recipe) if name != "loss"]
    return {name: views.VIEWS[name].traits["title"] for name in names}
