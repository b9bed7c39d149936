"""Bits under the reader's hand: a tensor snaps to its grid, and the detector answers."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal

from labkit.core.executors import ThreadExecutor
from labkit.panels.anatomy_panel import facts_line
from labkit.panels.latest import Latest, alert
from labkit.panels.quantize_views import QuantizeViews, Selection
from labkit.quantize.scheme import BITS, FORMATS, Bits, Scheme, checked_bits

if TYPE_CHECKING:
    import ipywidgets

    from labkit.vision.data import DataSet
    from labkit.vision.detections import Picture

Task = Literal["show", "curve", "layers"]


class QuantizePanel(QuantizeViews):
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
        layers: without a person, whether every layer is quantized by itself.
        interactive: whether somebody is there.
        executor: where everything slow runs, for tests.

    Attributes:
        choice: what is shown now.
        grid: of the tensor.
        metrics: of the rounded detector; `before` are those of the float one.
        found: the detections on the image; `found_before` likewise.
        sensitivity: layer by layer, as far as it was asked for.

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
        self.interactive = interactive
        self._latest: Latest[tuple[Selection, Task]] | None = None
        super().__init__(source, data, images, start, limit=limit, imgsz=imgsz)
        if interactive:
            self._latest = Latest(
                executor or ThreadExecutor("labkit-quantize"), self._work, self._say
            )
            self._build()
            return
        self._show(self.choice)
        if data is not None:
            self._draw_curve()
            if layers:
                self._rank_layers()

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if self.interactive:
            display(self.widget)
        else:
            said = "<br>".join(map(html.escape, self.words()))
            display(HTML(f"{facts_line(self.facts())}<p>{said}</p>"), *self.figures().values())

    def _overtaken(self) -> bool:
        """Whether something else has been asked for meanwhile."""
        return self._latest is not None and self._latest.overtaken

    def _work(self, asked: tuple[Selection, Task]) -> None:
        choice, task = asked
        self._say("")
        self._show(choice)
        if self._overtaken():
            return
        if task == "curve":
            self._draw_curve()
        elif task == "layers":
            self._rank_layers()

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        style, auto = {"description_width": "64px"}, widgets.Layout(width="auto")
        choice = self.choice
        same: dict[str, Any] = {"style": style, "layout": auto}

        def menu(name: str, options: Any, value: Any, tip: str) -> widgets.Dropdown:
            return widgets.Dropdown(
                description=name, options=options, value=value, tooltip=tip, **same
            )

        self.bits_slider = widgets.SelectionSlider(
            options=[(str(one), one) for one in (*BITS, *FORMATS)], value=choice.bits,
            description="bits", tooltip="bits of one weight, or a floating-point format", **same,
        )  # fmt: skip
        self.zero_selector = menu(
            "zero", ("symmetric", "affine"), choice.scheme.zero,
            "zero in the middle of the grid, or a zero point of its own",
        )  # fmt: skip
        self.per_selector = menu(
            "a grid per", ("channel", "tensor"), choice.scheme.per, "who shares a scale"
        )
        self.range_selector = menu(
            "range", ("min-max", "percentile", "mse", "entropy"), choice.scheme.ranges,
            "how far the grid reaches: clipping against rounding",
        )  # fmt: skip
        self.tensor_selector = menu(
            "tensor",
            [(f"{n}  {'x'.join(map(str, t.shape))}", n) for n, t in self.tensors.items()],
            choice.tensor,
            "whose grid is shown",
        )
        self.channel_slider = widgets.IntSlider(
            min=0, max=0, description="channel", tooltip="of those with grids of their own", **same
        )
        self.message, self.status, self.told = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._pictures = {"grid": LiveFigure()}
        self._controls = [
            self.bits_slider, self.zero_selector, self.per_selector, self.range_selector,
            self.tensor_selector, self.channel_slider,
        ]  # fmt: skip
        left = widgets.Layout(flex="1 1 280px", min_width="280px", max_width="340px")
        right = widgets.Layout(flex="8 1 340px", min_width="340px")
        wrap = widgets.Layout(flex_flow="row wrap")
        rows = [
            widgets.HBox(
                [
                    widgets.VBox([*self._controls, self.told, self.message], layout=left),
                    widgets.VBox([self._pictures["grid"]], layout=right),
                ],
                layout=wrap,
            )
        ]
        if self.data is not None:
            self._pictures |= {name: LiveFigure() for name in ("boxes", "curve", "layers")}
            self._pictures["layers"].layout.display = "none"  # until somebody asks
            mine = self._detector_controls(menu)
            shown = [self.status, *(self._pictures[n] for n in ("boxes", "curve", "layers"))]
            rows.append(
                widgets.HBox(
                    [widgets.VBox(mine, layout=left), widgets.VBox(shown, layout=right)],
                    layout=wrap,
                )
            )
        for one in self._controls:
            one.observe(self._moved, "value")
        self.widget: ipywidgets.Widget = widgets.VBox(rows)
        self._paint()
        if self.data is not None:
            self._ask("show")

    def _detector_controls(self, menu: Any) -> list[Any]:
        import ipywidgets as widgets

        auto = widgets.Layout(width="auto")
        self.image_selector = menu(
            "image", list(self.images), self.choice.image, "what the detector looks at"
        )
        self.head_box = widgets.Checkbox(
            value=self.choice.head, description="the head too", indent=False,
            tooltip="many recipes leave the last block in float", layout=auto,
        )  # fmt: skip
        self.activations_box = widgets.Checkbox(
            value=self.choice.activations, description="activations too, at 8 bits", indent=False,
            tooltip="what layers read, in ranges from training images", layout=auto,
        )  # fmt: skip
        self.buttons = {
            name: widgets.Button(description=name, icon=icon, tooltip=tip, layout=auto)
            for name, icon, tip in (
                ("Draw the curve", "line-chart", "measure mAP at several bits"),
                ("Which layer hurts most?", "search", "quantize one layer at a time"),
            )
        }
        for button, task in zip(self.buttons.values(), ("curve", "layers"), strict=True):
            button.on_click(lambda _, task=task: self._ask(task))
        self._controls += [self.image_selector, self.head_box, self.activations_box]
        return [
            self.image_selector,
            self.head_box,
            self.activations_box,
            widgets.HBox(list(self.buttons.values()), layout={"flex_flow": "row wrap"}),
        ]

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

    def _moved(self, _change: Any) -> None:
        self._ask("show")

    def _ask(self, task: Task) -> None:
        assert self._latest is not None
        self._latest.ask((self._chosen(), task))

    def _say(self, error: str) -> None:
        if self.interactive:
            self.message.value = alert(error)

    def _paint(self, doing: str = "") -> None:
        if not self.interactive:
            return
        from labkit.panels.live_figure import show_together

        self.channel_slider.max = max(0, len(self.grid.scale) - 1)
        self.channel_slider.disabled = not self.channel_slider.max
        specs = self.specs()
        show_together({self._pictures[name]: spec for name, spec in specs.items()})
        if "layers" in specs:
            self._pictures["layers"].layout.display = None
        self.told.value = facts_line(self.facts())
        self.status.value = html.escape(doing) or "<br>".join(map(html.escape, self.words()))
