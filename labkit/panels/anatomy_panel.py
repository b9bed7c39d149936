"""The anatomy of any weights: all tensors in one picture, each of them in the usual views."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import views
from labkit.core.errors import LabError, unknown
from labkit.core.formatting import file_size
from labkit.core.table import show
from labkit.figures import changes_by_depth, filter_images, tensors_by_depth
from labkit.figures.base import Spec
from labkit.weights import TensorInfo, Weights, anatomy, compare, load
from labkit.weights.names import layers

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

FILTERS = "filters"
WORDS = ("after", "before")
PLURALS = {"weight": "weights", "scale": "scales", "bias": "biases", "buffer": "buffers"}


class AnatomyPanel:
    """Choose a layer and look at its tensors: histogram, heat map, diagram, filters.

    Above stands every tensor by depth: a click on one of them chooses it. With `before`
    it is what changed since then that stands above, and the views compare.

    Args:
        source: a network, or whatever `labkit.weights.load` takes.
        before: other weights of the same architecture to compare with.
        tensor: the tensor to begin with; the first weight by default.
        view: the view to begin with (see `labkit.views.tensor_views`).
        interactive: whether somebody is there; otherwise plain figures are shown.

    Attributes:
        tensors: what there is, in order of depth.
        changes: how each of them changed, or None without `before`.
        tensor, view: what is shown.

    Raises:
        LabError: weights that cannot be loaded or compared, an unknown tensor or view.
    """

    def __init__(
        self,
        source: Any,
        before: Any = None,
        *,
        tensor: str | None = None,
        view: str = "distribution",
        interactive: bool = True,
    ) -> None:
        self.weights = load(source)
        self._before = None if before is None else load(before)
        network = source if isinstance(source, nn.Module) else self.weights
        held = self.weights.tensors  # a network may have buffers that it does not keep
        self.tensors = {info.name: info for info in anatomy(network) if info.name in held}
        self.changes = None if self._before is None else compare(self._before, self.weights)
        heavy = [info.name for info in self.tensors.values() if info.kind == "weight"]
        self.tensor = tensor or (heavy or list(self.tensors))[0]
        self.view = view
        self._check(self.tensor, self.view)
        self.interactive = interactive
        if interactive:
            self._build()

    # --- figures -----------------------------------------------------------------------

    def fitting(self, tensor: str | None = None) -> dict[str, str]:
        """The views that can show a tensor (the one that is shown): names and titles."""
        tensor = tensor or self.tensor
        shape = self.tensors[tensor].shape
        compared = self._values(self._before, tensor) is not None
        found = views.tensor_views(len(shape), compared=compared)
        if len(shape) == 4 and shape[1] == 3 and shape[2:] != (1, 1):
            found[FILTERS] = "Filters as pictures"
        return found

    def overview(self) -> go.Figure:
        """All tensors by depth: what they are, or what changed."""
        import plotly.graph_objects as go

        return go.Figure(self._overview())

    def figure(self, view: str | None = None, tensor: str | None = None) -> go.Figure:
        """A static figure of one tensor: what the panel shows, or another.

        Raises:
            LabError: an unknown tensor, or a view that cannot show it.
        """
        view, tensor = view or self.view, tensor or self.tensor
        self._check(tensor, view)
        return views.titled(self._spec(view, tensor), self.fitting(tensor)[view])

    def words(self) -> list[str]:
        """What the weights are, and what changed, one sentence each."""
        kinds = Counter(info.kind for info in self.tensors.values())
        learned = sum(info.count for info in self.tensors.values() if info.kind != "buffer")
        counted = ", ".join(f"{n} {PLURALS[kind] if n > 1 else kind}" for kind, n in kinds.items())
        size = sum(info.bytes for info in self.tensors.values())
        what = f"{self.weights.architecture}: " if self.weights.architecture else ""
        said = f"{what}{learned:,} learned values, {file_size(size)} in tensors: {counted}."
        return [said, *(self.changes.words() if self.changes is not None else [])]

    def facts(self) -> dict[str, object]:
        """What is known of the tensor that is shown, and how it changed."""
        changed = {change.name: change.row() for change in self.changes or ()}
        return {**self.tensors[self.tensor].facts(), **changed.get(self.tensor, {})}

    def _check(self, tensor: str, view: str) -> None:
        if tensor not in self.tensors:
            raise LabError(unknown("tensor", tensor, self.tensors))
        if view not in self.fitting(tensor):
            raise LabError(unknown("view", view, self.fitting(tensor)))

    def _overview(self) -> Spec:
        if self.changes is not None:
            return changes_by_depth.spec(self.changes)
        return tensors_by_depth.spec(list(self.tensors.values()))

    def _spec(self, view: str, tensor: str) -> Spec:
        values = self._values(self.weights, tensor)
        assert values is not None
        if view == FILTERS:
            return filter_images.spec(values, name=tensor)
        before = self._values(self._before, tensor)
        return views.draw_tensor(view, values, before, tensor=tensor, words=WORDS)

    def _values(self, weights: Weights | None, tensor: str) -> np.ndarray | None:
        """A tensor of one of the two; None where that has none of this shape."""
        found = None if weights is None else weights.tensors.get(tensor)
        if found is None or tuple(found.shape) != self.tensors[tensor].shape:
            return None
        values: np.ndarray = (found.float() if found.is_floating_point() else found).numpy()
        return values

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if self.interactive:
            display(self.widget)
        else:
            display(HTML(_said(self.words())), self.overview(), self.figure())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        style, auto = {"description_width": "auto"}, {"width": "auto"}
        self.layer_selector = widgets.Dropdown(
            description="layer", options=layers(self.tensors), style=style, layout=auto
        )
        self.tensor_selector = widgets.Dropdown(description="tensor", style=style, layout=auto)
        self.view_selector = widgets.Dropdown(description="view", style=style, layout=auto)
        self._filling = False
        self.layer_selector.observe(self._choose_layer, "value")
        self.tensor_selector.observe(self._choose_tensor, "value")
        self.view_selector.observe(self._choose_view, "value")
        self.status = widgets.HTML()
        self._map, self._picture = LiveFigure(self._overview()), LiveFigure()
        self._map.on_click(self._click)
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HTML(_said(self.words())),
                self._map,
                widgets.HBox(
                    [self.layer_selector, self.tensor_selector, self.view_selector],
                    layout=widgets.Layout(flex_flow="row wrap"),
                ),
                self.status,
                self._picture,
            ]
        )
        self.look(self.tensor)

    def look(self, tensor: str, view: str | None = None) -> None:
        """Show another tensor; in another view, if that can show it.

        Raises:
            LabError: no such tensor.
        """
        wanted = view or self.view
        fitting = self.fitting(tensor) if tensor in self.tensors else {wanted: ""}
        wanted = wanted if wanted in fitting else next(iter(fitting))
        self._check(tensor, wanted)
        self.tensor, self.view = tensor, wanted
        if self.interactive:
            self._fill(fitting)
            self.status.value = facts_line(self.facts())
            self._picture.show(self._spec(self.view, self.tensor))

    def _fill(self, fitting: dict[str, str]) -> None:
        """Make the selectors show what is looked at, and offer what fits."""
        self._filling = True  # new options select their first for a moment
        try:
            layer = self.tensors[self.tensor].place
            mine = [info for info in self.tensors.values() if info.place == layer]
            self.layer_selector.value = layer
            self.tensor_selector.options = [(_option(info), info.name) for info in mine]
            self.tensor_selector.value = self.tensor
            self.view_selector.options = [(title, name) for name, title in fitting.items()]
            self.view_selector.value = self.view
        finally:
            self._filling = False

    def _choose_layer(self, change: dict[str, Any]) -> None:
        if not self._filling:
            mine = [info for info in self.tensors.values() if info.place == change["new"]]
            heavy = [info for info in mine if info.kind == "weight"]
            self.look((heavy or mine)[0].name)

    def _choose_tensor(self, change: dict[str, Any]) -> None:
        if not self._filling:
            self.look(change["new"])

    def _choose_view(self, change: dict[str, Any]) -> None:
        if not self._filling:
            self.look(self.tensor, change["new"])

    def _click(self, point: dict[str, Any]) -> None:
        if point.get("customdata") in self.tensors:
            self.look(point["customdata"])


def _option(info: TensorInfo) -> str:
    """`cv1.conv.weight  32x16x1x1` of `model.2.cv1.conv.weight`."""
    shape = "x".join(map(str, info.shape)) or "scalar"
    return f"{info.name.removeprefix(f'{info.place}.')}  {shape}"


def facts_line(facts: Mapping[str, object]) -> str:
    """HTML of facts side by side, those that are empty left out."""
    told = " · ".join(
        f"{html.escape(name)} <b>{html.escape(show(value))}</b>"
        for name, value in facts.items()
        if value != ""
    )
    return f"<div style='line-height:1.4'>{told}</div>"


def _said(sentences: Sequence[str]) -> str:
    lines = "<br>".join(html.escape(sentence) for sentence in sentences)
    return f"<div style='line-height:1.4'>{lines}</div>"
