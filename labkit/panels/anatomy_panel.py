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
from labkit.panels.base import Panel
from labkit.panels.markup import sentences, write
from labkit.weights import TensorInfo, Weights, anatomy, compare, load
from labkit.weights.names import layers

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

FILTERS = "filters"
WORDS = ("after", "before")
PLURALS = {"weight": "weights", "scale": "scales", "bias": "biases", "buffer": "buffers"}


class AnatomyPanel(Panel):
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

    pictures = ("overview", "tensor")

    def __init__(
        self,
        source: Any,
        before: Any = None,
        *,
        tensor: str | None = None,
        view: str = "distribution",
        interactive: bool = True,
    ) -> None:
        super().__init__(interactive=interactive)
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
        self._open()

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
        whole = f"{what}{learned:,} learned values, {file_size(size)} in tensors: {counted}."
        return [whole, *(self.changes.words() if self.changes is not None else [])]

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

    def _specs(self) -> dict[str, Spec]:
        return {"tensor": self._spec(self.view, self.tensor)}

    def static(self) -> list[Any]:
        """The sentences, all tensors by depth, and the one that is looked at."""
        from IPython.display import HTML

        return [HTML(sentences(self.words())), self.overview(), self.figure()]

    def _tell(self) -> None:
        write(self.status, facts_line(self.facts()))

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        from labkit.panels import parts
        from labkit.panels.view_picker import ViewPicker

        self.layer_selector = parts.menu("layer", layers(self.tensors), self._layer)
        self.on_edit(self.layer_selector, self._choose_layer)
        self._picker = ViewPicker(self.edits, self.on_edit, self._choose)
        self.tensor_selector = self._picker.tensor_selector
        self.view_selector = self._picker.view_selector
        self.live["overview"].show(self._overview())  # once: it does not change
        self.live["overview"].on_click(self.guard(self._click))
        return [parts.row(self.layer_selector, self.tensor_selector, self.view_selector)]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        import ipywidgets as widgets

        from labkit.panels import parts

        return parts.column(
            widgets.HTML(sentences(self.words())),
            self.live["overview"],
            *controls,
            self.message,
            self.status,
            self.live["tensor"],
        )

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
            self.fill()
            self.paint()

    @property
    def _layer(self) -> str:
        return self.tensors[self.tensor].place

    def _fill(self) -> None:
        """Make the selectors show what is looked at, and offer what fits."""
        mine = [info for info in self.tensors.values() if info.place == self._layer]
        self.layer_selector.value = self._layer
        self._picker.offer(
            self.fitting(), self.view, [(_option(info), info.name) for info in mine], self.tensor
        )

    def _choose_layer(self, layer: str) -> None:
        mine = [info for info in self.tensors.values() if info.place == layer]
        heavy = [info for info in mine if info.kind == "weight"]
        self.look((heavy or mine)[0].name)

    def _choose(self, view: str, tensor: str) -> None:
        self.look(tensor, view)

    def _click(self, point: dict[str, Any]) -> None:
        if point.get("customdata") in self.tensors:
            self.look(point["customdata"])


def _option(info: TensorInfo) -> str:
    """`cv1.conv.weight  32x16x1x1` of `model.2.cv1.conv.weight`."""
    shape = "x".join(map(str, info.shape)) or "scalar"
    return f"{info.name.removeprefix(f'{info.place}.')}  {shape}"


def facts_line(facts: Mapping[str, object]) -> str:
    """HTML of facts side by side, those that are empty left out."""
    line = " · ".join(
        f"{html.escape(name)} <b>{html.escape(show(value))}</b>"
        for name, value in facts.items()
        if value != ""
    )
    return f"<div style='line-height:1.4'>{line}</div>"
