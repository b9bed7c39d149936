"""Damage under the reader's hand: weights are broken, detections degrade, undo mends them."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import torch

from labkit.core.errors import LabError
from labkit.core.executors import ThreadExecutor
from labkit.figures.base import Spec
from labkit.figures.damage import damage_curve
from labkit.figures.detections import Photo, detections, photo
from labkit.panels.latest import Latest, alert
from labkit.vision.detections import Detections, predict, read_image
from labkit.vision.evaluation import Metrics, evaluate
from labkit.vision.perturbation import amounts, damageable, kind_of, private, unharmed
from labkit.weights.perturb import DAMAGES, Damage, Perturbation

if TYPE_CHECKING:
    import ipywidgets
    import numpy as np
    import plotly.graph_objects as go

    from labkit.vision.data import DataSet
    from labkit.vision.detections import Picture
    from labkit.vision.detector import Detector

SHOWN = 0.25  # the confidence of boxes that are drawn
KEPT_CURVES = 4
HEIGHT = 390  # pixels of two images side by side, beside the controls
ALL = "all layers"


class BreakPanel:
    """Choose a layer and a kind of damage, drag the amount, and watch what is still found.

    The upper picture shows the detections on one image, the lower one mAP50 on a few labelled
    images against the amount: a point for each amount that was tried. Undo restores every
    bit. With `interactive=False` both pictures are plain figures, of the damage that is given
    and of a whole curve.

    Args:
        detector: of task detect; the panel breaks a copy of its network.
        data: labelled images with the detector's classes, from `labkit.vision.open_data`.
        images: name -> path, bytes or array, to watch; the first of `data` if none.
        damage: what is done at first: its kind, layers, amount and seed.
        limit: how many images are measured on.
        imgsz: the side in pixels at which the network sees images; the detector's own if none.
        interactive: whether somebody is there.
        executor: where the network runs, for tests.

    Attributes:
        damage: what is done to the weights now.
        metrics: what is left: `evaluate`'s figures; `before` are those of whole weights.
        found: the detections on the image.
        restored: whether every bit came back when the first damage was undone.
        seconds: how long the last change took, until both pictures showed it.

    Raises:
        LabError: other classes, another task, or damage that does not fit the network.
    """

    def __init__(
        self,
        detector: Detector,
        data: DataSet,
        images: Mapping[str, Picture] | None = None,
        *,
        damage: Damage | None = None,
        limit: int = 20,
        imgsz: int | None = None,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        self.detector = private(detector)
        self._whole = {name: t.clone() for name, t in self.detector.tensors.items()}
        self._perturbation = Perturbation(self.detector.model)
        self.data, self.limit, self.imgsz = data, limit, imgsz or detector.imgsz
        if images is None:
            images = {path.name: path for path in data.val[:3]}
        self.images: dict[str, np.ndarray] = {
            name: read_image(image) for name, image in images.items()
        }
        if not self.images:
            raise LabError('BreakPanel needs an image to watch, such as {"mine": "photo.jpg"}.')
        self.image = next(iter(self.images))
        self.damage = damage or Damage("noise", unharmed("noise"))
        self.interactive = interactive
        self.seconds = 0.0
        self._photos: dict[str, Photo] = {}
        self._curves: dict[str, dict[float, float]] = {}
        self.before = self._measure()
        self.found_before = self._find()
        self.metrics, self.found = self.before, self.found_before
        self._apply(self.damage)
        self._perturbation.restore()
        self.restored = self.mended()
        self._perturbation.apply(self.damage)
        if interactive:
            self._executor = executor or ThreadExecutor("labkit-break")
            self._build()
        else:
            for amount in amounts(self.damage.kind):
                self._note(self._with(amount=amount))
            self._apply(self.damage)

    # --- what damage does --------------------------------------------------------------

    def _measure(self) -> Metrics:
        return evaluate(self.detector, self.data, "val", self.limit, self.imgsz)

    def _find(self) -> Detections:
        (found,) = predict(
            self.detector, self.images[self.image], imgsz=self.imgsz, confidence=SHOWN
        )
        return found

    def _with(self, **changes: Any) -> Damage:
        """The damage in force with changes; another kind begins with no harm done."""
        now = self.damage
        if changes.get("kind", now.kind) != now.kind:
            changes = {"amount": unharmed(changes["kind"]), "arguments": {}} | changes
        given = {name: getattr(now, name) for name in ("kind", "amount", "layers", "seed")}
        return Damage(**{**given, "arguments": dict(now.arguments), **changes})

    def _apply(self, damage: Damage) -> None:
        """Do it, and find and measure what is left."""
        self._perturbation.apply(damage)
        self.damage = damage
        self.found = self._find()
        self.metrics = self._measure()
        self._remember(damage, self.metrics)

    def _note(self, damage: Damage) -> None:
        """Measure one point of a curve."""
        self._perturbation.apply(damage)
        self._remember(damage, self._measure())

    def _remember(self, damage: Damage, metrics: Metrics) -> None:
        assert damage.amount is not None
        name = curve_name(damage)
        points = self._curves.pop(name, {unharmed(damage.kind): self.before.map50})
        points[damage.amount] = metrics.map50
        self._curves[name] = points  # the newest last
        for old in list(self._curves)[:-KEPT_CURVES]:
            del self._curves[old]

    def mended(self) -> bool:
        """Whether every tensor is, bit for bit, what it was."""
        now = self.detector.tensors
        return all(_same_bits(now[name], whole) for name, whole in self._whole.items())

    # --- figures -----------------------------------------------------------------------

    def specs(self) -> tuple[Spec, Spec]:
        """The image before and now with its boxes, and mAP50 against the amount of damage."""
        one = self._photos.setdefault(self.image, photo(self.images[self.image]))
        knob = DAMAGES[self.damage.kind].parameters()["amount"]
        assert knob.low is not None
        assert knob.high is not None
        assert self.damage.amount is not None
        curves = {
            name: list(points.items())
            for name, points in self._curves.items()
            if name.startswith(f"{self.damage.kind} ")
        }
        return (
            detections.spec(
                {"whole weights": (one, self.found_before), str(self.damage): (one, self.found)},
                height=HEIGHT,
            ),
            damage_curve.spec(
                curves,
                undamaged=self.before.map50,
                unit=f"{self.damage.kind}: {knob.help}",
                span=(knob.low, knob.high),
                now=(self.damage.amount, self.metrics.map50),
            ),
        )

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The same as static figures."""
        import plotly.graph_objects as go

        boxes, curve = self.specs()
        return go.Figure(boxes), go.Figure(curve)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.figures())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        self._latest = Latest(self._executor, self._work, self._say)
        self._filling = False
        style = {"description_width": "64px"}
        auto = widgets.Layout(width="auto")
        self.image_selector = widgets.Dropdown(
            options=list(self.images), value=self.image, description="image", style=style,
            layout=auto,
        )  # fmt: skip
        self.kind_selector = widgets.Dropdown(
            options=list(DAMAGES), value=self.damage.kind, description="damage", style=style,
            layout=auto,
        )  # fmt: skip
        layers: list[tuple[str, tuple[str, ...]]] = [(ALL, ())]
        layers += [
            (f"{layer} · {kind_of(self.detector, layer)}", (layer,))
            for layer in damageable(self.detector)
        ]
        chosen = self.damage.layers
        if chosen not in [value for _, value in layers]:
            layers.append((", ".join(chosen), chosen))
        self.layer_selector = widgets.Dropdown(
            options=layers, value=chosen, description="layer", style=style, layout=auto
        )
        self.formula = widgets.HTML()
        self.amount_slider = widgets.FloatSlider(
            description="amount", readout_format=".2f", style=style, layout=auto
        )
        self.arguments = widgets.VBox()
        self.buttons = {
            name: widgets.Button(description=name, icon=icon, tooltip=tip, layout=auto)
            for name, icon, tip in (
                ("Undo", "undo", "put back every weight, bit for bit"),
                ("Other dice", "random", "the same damage with other random numbers"),
                ("Draw the curve", "line-chart", "measure mAP50 at several amounts"),
            )
        }
        self.buttons["Undo"].button_style = "primary"
        for button, action in zip(
            self.buttons.values(), (self._undo, self._redraw, self._trace), strict=True
        ):
            button.on_click(action)
        self.message, self.status = widgets.HTML(), widgets.HTML()
        self._boxes, self._curve = LiveFigure(), LiveFigure()
        self._fill()
        self.image_selector.observe(lambda change: self._ask(self.damage), "value")
        self.kind_selector.observe(lambda change: self._take(kind=change["new"]), "value")
        self.layer_selector.observe(lambda change: self._take(layers=change["new"]), "value")
        self.amount_slider.observe(lambda change: self._take(amount=change["new"]), "value")
        left = widgets.VBox(
            [
                self.image_selector,
                self.kind_selector,
                self.formula,
                self.layer_selector,
                self.amount_slider,
                self.arguments,
                widgets.HBox(list(self.buttons.values()), layout={"flex_flow": "row wrap"}),
                self.message,
            ],
            layout=widgets.Layout(flex="1 1 280px", min_width="280px", max_width="340px"),
        )
        right = widgets.VBox(
            [self.status, self._boxes, self._curve],
            layout=widgets.Layout(flex="8 1 340px", min_width="340px"),
        )
        self.widget: ipywidgets.Widget = widgets.HBox(
            [left, right], layout=widgets.Layout(flex_flow="row wrap")
        )
        self._paint()

    def _fill(self) -> None:
        """Make the controls show the damage that is asked for."""
        from labkit.panels.controls import control

        self._filling = True
        try:
            damage, entry = self.damage, DAMAGES[self.damage.kind]
            self.kind_selector.value, self.layer_selector.value = damage.kind, damage.layers
            known = entry.parameters()
            knob, slider = known.pop("amount"), self.amount_slider
            with slider.hold_trait_notifications():
                slider.min, slider.max, slider.step = knob.low, knob.high, knob.step or 0.01
                slider.value, slider.tooltip = damage.amount, knob.help
            self.formula.value = (
                "<div style='line-height:1.3;margin:2px 0 6px 72px'>"
                f"<b>{html.escape(entry.formula)}</b><br>{html.escape(entry.summary)}</div>"
            )
            if getattr(self.arguments, "shows", None) != damage.kind:
                fields = []
                for name, parameter in known.items():
                    value = damage.arguments.get(name, parameter.default)
                    field: Any = control(parameter, value)
                    field.style = {"description_width": "64px"}
                    field.observe(self._argue(name), "value")
                    fields.append(field)
                self.arguments.children, self.arguments.shows = fields, damage.kind
        finally:
            self._filling = False

    def _argue(self, name: str) -> Any:
        def argued(change: dict[str, Any]) -> None:
            self._take(arguments={**self.damage.arguments, name: change["new"]})

        return argued

    def _undo(self, _button: Any) -> None:
        self._take(amount=unharmed(self.damage.kind), arguments={})
        self.arguments.shows = None
        self._fill()

    def _redraw(self, _button: Any) -> None:
        self._take(seed=(self.damage.seed + 1) % 2**31)

    def _trace(self, _button: Any) -> None:
        self._ask(self.damage, curve=True)

    def _take(self, **changes: Any) -> None:
        """Adopt changes of the damage, or say why not and put the controls back."""
        if self._filling:
            return
        try:
            damage = self._with(**changes)
        except LabError as error:
            self._say(str(error))
            self._fill()
            return
        self._say("")
        self.damage = damage
        self._fill()
        self._ask(damage)

    def _ask(self, damage: Damage, curve: bool = False) -> None:
        self._latest.ask((damage, self.image_selector.value, curve))

    @property
    def _overtaken(self) -> bool:
        """Whether something else has been asked for meanwhile."""
        return self._latest.overtaken

    def _work(self, asked: tuple[Damage, str, bool]) -> None:
        damage, image, curve = asked
        if curve:
            self._draw_curve(damage)
        else:
            self._change(damage, image)

    def _change(self, damage: Damage, image: str) -> None:
        """Boxes first: while a slider is dragged there is no time for more."""
        began = time.perf_counter()
        if image != self.image:
            self._perturbation.restore()
            self.image = image
            self.found_before = self._find()
        self._perturbation.apply(damage)
        self.found = self._find()
        if self._overtaken:
            self._paint("measuring …")
            return
        self._paint("measuring …")
        self.metrics = self._measure()
        self._remember(damage, self.metrics)
        self.seconds = time.perf_counter() - began
        self._paint()

    def _draw_curve(self, damage: Damage) -> None:
        try:
            for amount in amounts(damage.kind):
                if self._overtaken:
                    return
                point = Damage(damage.kind, amount, damage.layers, damage.seed, damage.arguments)
                self._note(point)
                self._paint(f"measuring {point} …")
        finally:
            self._perturbation.apply(damage)
        self._paint()

    def _say(self, error: str) -> None:
        self.message.value = alert(error)

    def words(self) -> str:
        """What the damage has done, in a line."""
        if not self._perturbation.damages or self.damage.amount == unharmed(self.damage.kind):
            count = len(self._whole)
            if not self.mended():
                return "the weights are not what they were"
            return (
                f"Whole: all {count} tensors are bit for bit what they were. "
                f"mAP50 {self.before.map50:.3f} on {self.before.images} images"
            )
        return (
            f"{self.damage}: mAP50 {self.before.map50:.3f} → {self.metrics.map50:.3f} on "
            f"{self.metrics.images} images"
        )

    def _paint(self, doing: str = "") -> None:
        from labkit.panels.live_figure import show_together

        boxes, curve = self.specs()
        show_together({self._boxes: boxes, self._curve: curve})
        took = f" · {self.seconds:.1f} s" if self.seconds else ""
        self.status.value = html.escape(doing or f"{self.words()}{took}")


def curve_name(damage: Damage) -> str:
    """What a curve over amounts is called: everything about the damage but its amount."""
    where = ", ".join(damage.layers) or ALL
    own = "".join(f", {name} {value}" for name, value in damage.arguments.items())
    dice = f", dice {damage.seed}" if damage.seed else ""
    return f"{damage.kind} in {where}{own}{dice}"


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    a, b = a.contiguous(), b.contiguous()
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
