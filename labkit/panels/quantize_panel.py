"""Choose bits: see a tensor on its grid, and what is left of the detector."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

from labkit.figures.base import Spec
from labkit.panels.anatomy_panel import facts_line
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.panels.quantize_views import QuantizeViews, Selection
from labkit.quantize.scheme import BITS, FORMATS, Bits, Scheme, checked_bits

if TYPE_CHECKING:
    import ipywidgets

    from labkit.panels.live_figure import LiveFigure
    from labkit.vision.data import DataSet
    from labkit.vision.detections import Picture

Task = Literal["show", "curve", "layers"]


class QuantizePanel(QuantizeViews, Panel):
    """Pick a tensor, move the bits, and see its histogram snap to the grid and the error appear.

    With labelled images the whole detector follows: its boxes on one image before and after,
    mAP against bits, and, on a button, which layer hurts most. With `interactive=False` all of
    them are plain figures.

    Args:
        source: a detector, or whatever `labkit.weights.load` takes; without `data` any file of
            weights.
        data: labelled images with the detector's classes, from `labkit.vision.open_data`.
        images: name -> path, bytes or array, to watch; the first of `data` if none.
        bits, scheme, tensor, head, activations: what is chosen at first; see `Selection`.
        limit: how many images are measured on.
        imgsz: the side in pixels at which the network sees images; the detector's own if none.
        layers: headless, whether every layer is quantized by itself.
        interactive: whether somebody is there to use it.
        executor: where everything slow runs, for tests.

    Attributes:
        choice: what is shown now.
        grid: of the tensor.
        metrics: of the rounded detector; `before` are those of the float one.
        found: the detections on the image; `found_before` likewise.
        sensitivity: layer by layer, as far as it has been measured.

    Raises:
        LabError: bits, a scheme or a tensor that do not exist, other classes, another task.
    """

    def __init__(
        self,
        source: Any = "starter",
        data: DataSet | None = None,
        images: Mapping[str, Picture] | None = None,
        *,
        bits: Bits = 4,
        scheme: Scheme | str = "symmetric channel",
        tensor: str | None = None,
        head: bool = True,
        activations: bool = False,
        limit: int = 20,
        imgsz: int | None = None,
        layers: bool = True,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        start = Selection(
            checked_bits(bits), Scheme.of(scheme), tensor or "", head=head, activations=activations
        )
        Panel.__init__(self, interactive=interactive, executor=executor)
        self._doing, self._layers = "", layers
        QuantizeViews.__init__(self, source, data, images, start, limit=limit, imgsz=imgsz)
        self.pictures = ("grid",) if data is None else ("grid", "boxes", "curve", "layers")
        self._open()
        if interactive and data is not None:
            self._ask("show")

    def _headless(self) -> None:
        self._show(self.choice)
        if self.data is not None:
            self._draw_curve()
            if self._layers:
                self._rank_layers()

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
        return self.specs()

    def static(self) -> list[Any]:
        """What the grid costs and what the bits have done, and all figures."""
        from IPython.display import HTML

        words = "<br>".join(map(html.escape, self.words()))
        return [HTML(f"{facts_line(self.facts())}<p>{words}</p>"), *self.figures().values()]

    def _frame(self) -> dict[LiveFigure, Spec]:
        frame = super()._frame()
        if (layers := self.live.get("layers")) in frame:
            layers.layout.display = None
        return frame

    def _tell(self) -> None:
        with self.edits.filling():
            self.channel_slider.max = max(0, len(self.grid.scale) - 1)
        self.channel_slider.disabled = not self.channel_slider.max
        write(self.facts_box, facts_line(self.facts()))
        words = html.escape(self._doing) or "<br>".join(map(html.escape, self.words()))
        write(self.status, words)

    def _paint(self, doing: str = "") -> None:
        self._doing = doing
        if self.interactive:
            self.paint()

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.parts import Action

        label, choice = "64px", self.choice
        same: dict[str, Any] = {
            "style": {"description_width": label}, "layout": widgets.Layout(width="auto"),
        }  # fmt: skip
        self.bits_slider = widgets.SelectionSlider(
            options=[(str(one), one) for one in (*BITS, *FORMATS)], value=choice.bits,
            description="bits", tooltip="bits of one weight, or a floating-point format", **same,
        )  # fmt: skip
        self.zero_selector = parts.menu(
            "zero", ("symmetric", "affine"), choice.scheme.zero,
            "zero in the middle of the grid, or a zero point of its own", label=label,
        )  # fmt: skip
        self.per_selector = parts.menu(
            "a grid per",
            ("channel", "tensor"),
            choice.scheme.per,
            "what shares a scale",
            label=label,
        )
        self.range_selector = parts.menu(
            "range", ("min-max", "percentile", "mse", "entropy"), choice.scheme.ranges,
            "how far the grid reaches: clipping against rounding", label=label,
        )  # fmt: skip
        self.tensor_selector = parts.menu(
            "tensor",
            [(f"{n}  {'x'.join(map(str, t.shape))}", n) for n, t in self.tensors.items()],
            choice.tensor, "whose grid is shown", label=label,
        )  # fmt: skip
        self.channel_slider = widgets.IntSlider(
            min=0, max=0, description="channel", tooltip="of those with grids of their own", **same
        )
        self.facts_box = widgets.HTML()
        self._of_grid = [
            self.bits_slider, self.zero_selector, self.per_selector, self.range_selector,
            self.tensor_selector, self.channel_slider,
        ]  # fmt: skip
        controls = list(self._of_grid)
        if self.data is not None:
            self.live["layers"].layout.display = "none"  # until it is measured
            self.image_selector = parts.menu(
                "image", list(self.images), choice.image, "what the detector looks at", label=label
            )
            self.head_box = widgets.Checkbox(
                value=choice.head, description="the head too", indent=False,
                tooltip="many recipes leave the last block in float", layout=same["layout"],
            )  # fmt: skip
            self.activations_box = widgets.Checkbox(
                value=choice.activations, description="activations too, at 8 bits", indent=False,
                tooltip="what layers read, in ranges from training images", layout=same["layout"],
            )  # fmt: skip
            controls += [self.image_selector, self.head_box, self.activations_box]
            self.buttons = self.make_buttons(
                Action(
                    "Draw the curve", "line-chart", "measure mAP at several bits",
                    lambda: self._ask("curve"),
                ),
                Action(
                    "Which layer hurts most?", "search", "quantize one layer at a time",
                    lambda: self._ask("layers"),
                ),
            )  # fmt: skip
        for widget in controls:
            self.on_edit(widget, lambda _value: self._ask("show"))
        return controls

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        of_grid = [*self._of_grid, self.facts_box, self.message]
        rows = [parts.beside(of_grid, [self.live["grid"]])]
        if self.data is not None:
            of_detector = [*controls[len(self._of_grid) :], parts.row(*self.buttons.values())]
            pictures = [self.live[name] for name in ("boxes", "curve", "layers")]
            rows.append(parts.beside(of_detector, [self.status, *pictures]))
        return parts.column(*rows)

    def _chosen(self) -> Selection:
        """What the controls say."""
        scheme = dataclasses.replace(
            self.choice.scheme,
            zero=self.zero_selector.value,
            per=self.per_selector.value,
            ranges=self.range_selector.value,
        )
        choice = Selection(
            self.bits_slider.value, scheme, self.tensor_selector.value, self.channel_slider.value
        )
        if self.data is None:
            return choice
        return dataclasses.replace(
            choice,
            head=self.head_box.value,
            activations=self.activations_box.value,
            image=self.image_selector.value,
        )

    def _ask(self, task: Task) -> None:
        self.job.request((self._chosen(), task))

    def _overtaken(self) -> bool:
        """Whether something else has been requested meanwhile."""
        return self.job.overtaken

    def _work(self, request: tuple[Selection, Task]) -> None:
        choice, task = request
        self._show(choice)
        if self._overtaken():
            return
        if task == "curve":
            self._draw_curve()
        elif task == "layers":
            self._rank_layers()
