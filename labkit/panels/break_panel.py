"""Damage a detector's weights, see its detections get worse, and undo the damage."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import torch

from labkit.core.errors import LabError
from labkit.core.parameters import Parameter
from labkit.figures.base import Spec
from labkit.figures.damage import damage_curve
from labkit.figures.detections import Photo, detections, photo
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.vision.detections import Detections, predict, read_image
from labkit.vision.evaluation import Metrics, evaluate
from labkit.vision.perturbation import amounts, damageable, kind_of, private, unharmed
from labkit.weights.perturb import DAMAGES, Damage, Perturbation

if TYPE_CHECKING:
    import numpy as np

    from labkit.vision.data import DataSet
    from labkit.vision.detections import Picture
    from labkit.vision.detector import Detector

SHOWN = 0.25  # the confidence of boxes that are drawn
KEPT_CURVES = 4
HEIGHT = 390  # pixels of two images side by side, beside the controls
ALL = "all layers"


class BreakPanel(Panel):
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
        interactive: whether somebody is there to use it.
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

    pictures = ("boxes", "curve")

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
        super().__init__(interactive=interactive, executor=executor)
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
        self.seconds = 0.0
        self._doing = ""
        self._photos: dict[str, Photo] = {}
        self._curves: dict[str, dict[float, float]] = {}
        self.before = self._measure()
        self.found_before = self._find()
        self.metrics, self.found = self.before, self.found_before
        self._apply(self.damage)
        self._perturbation.restore()
        self.restored = self.mended()
        self._perturbation.apply(self.damage)
        self._open()

    def _headless(self) -> None:
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

    # --- pictures ----------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
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
        return {
            "boxes": detections.spec(
                {"whole weights": (one, self.found_before), str(self.damage): (one, self.found)},
                height=HEIGHT,
            ),
            "curve": damage_curve.spec(
                curves,
                undamaged=self.before.map50,
                unit=f"{self.damage.kind}: {knob.help}",
                span=(knob.low, knob.high),
                now=(self.damage.amount, self.metrics.map50),
            ),
        }

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

    def _tell(self) -> None:
        took = f" · {self.seconds:.1f} s" if self.seconds else ""
        write(self.status, html.escape(self._doing or f"{self.words()}{took}"))

    def _show(self, doing: str = "") -> None:
        """Paint, and say what is being done now."""
        self._doing = doing
        self.paint()

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.entry_arguments import EntryArguments
        from labkit.panels.fields import control

        layers: list[tuple[str, tuple[str, ...]]] = [(ALL, ())]
        layers += [
            (f"{layer} · {kind_of(self.detector, layer)}", (layer,))
            for layer in damageable(self.detector)
        ]
        chosen = self.damage.layers
        if chosen not in [value for _, value in layers]:
            layers.append((", ".join(chosen), chosen))
        label = "64px"
        self.image_selector = parts.menu("image", list(self.images), self.image, label=label)
        self.kind_selector = parts.menu("damage", list(DAMAGES), self.damage.kind, label=label)
        self.layer_selector = parts.menu("layer", layers, chosen, label=label)
        self.formula = widgets.HTML()
        self.amount_slider = widgets.FloatSlider(
            description="amount",
            readout_format=".2f",
            style={"description_width": label},
            layout=widgets.Layout(width="auto"),
        )

        def narrow(parameter: Parameter, value: Any) -> Any:
            field: Any = control(parameter, value)
            field.style = {"description_width": label}
            return field

        self.arguments = EntryArguments(self._observe_argument, make=narrow, without=("amount",))
        self.buttons = self.make_buttons(
            parts.Action("Undo", "undo", "restore every weight exactly", self._undo, "primary"),
            parts.Action(
                "New seed", "random", "the same damage with other random numbers", self._redraw
            ),
            parts.Action(
                "Draw the curve", "line-chart", "measure mAP50 at several amounts", self._trace
            ),
        )
        self.on_edit(self.image_selector, lambda _image: self._ask())
        self.on_edit(self.kind_selector, lambda kind: self._take(kind=kind))
        self.on_edit(self.layer_selector, lambda layers: self._take(layers=layers))
        self.on_edit(self.amount_slider, lambda amount: self._take(amount=amount))
        return [
            self.image_selector, self.kind_selector, self.formula, self.layer_selector,
            self.amount_slider, self.arguments, parts.row(*self.buttons.values()),
        ]  # fmt: skip

    def _observe_argument(self, widget: Any, name: str) -> None:
        self.on_edit(
            widget, lambda value: self._take(arguments={**self.damage.arguments, name: value})
        )

    def _fill(self) -> None:
        damage, entry = self.damage, DAMAGES[self.damage.kind]
        self.kind_selector.value, self.layer_selector.value = damage.kind, damage.layers
        knob, slider = entry.parameters()["amount"], self.amount_slider
        with slider.hold_trait_notifications():
            slider.min, slider.max, slider.step = knob.low, knob.high, knob.step or 0.01
            slider.value, slider.tooltip = damage.amount, knob.help
        self.formula.value = (
            "<div style='line-height:1.3;margin:2px 0 6px 72px'>"
            f"<b>{html.escape(entry.formula)}</b><br>{html.escape(entry.summary)}</div>"
        )
        self.arguments.show(entry, damage.arguments)

    def _undo(self) -> None:
        self._take(amount=unharmed(self.damage.kind), arguments={})

    def _redraw(self) -> None:
        self._take(seed=(self.damage.seed + 1) % 2**31)

    def _trace(self) -> None:
        self._ask(curve=True)

    def _take(self, **changes: Any) -> None:
        self.damage = self._with(**changes)
        self.fill()
        self._ask()

    def _ask(self, curve: bool = False) -> None:
        self.job.request((self.damage, self.image_selector.value, curve))

    def _work(self, request: tuple[Damage, str, bool]) -> None:
        damage, image, curve = request
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
        self._show("measuring …")
        if self.job.overtaken:
            return
        self.metrics = self._measure()
        self._remember(damage, self.metrics)
        self.seconds = time.perf_counter() - began
        self._show()

    def _draw_curve(self, damage: Damage) -> None:
        try:
            for amount in amounts(damage.kind):
                if self.job.overtaken:
                    return
                point = Damage(damage.kind, amount, damage.layers, damage.seed, damage.arguments)
                self._note(point)
                self._show(f"measuring {point} …")
        finally:
            self._perturbation.apply(damage)
        self._show()


def curve_name(damage: Damage) -> str:
    """What a curve over amounts is called: everything about the damage but its amount."""
    where = ", ".join(damage.layers) or ALL
    own = "".join(f", {name} {value}" for name, value in damage.arguments.items())
    seed = f", seed {damage.seed}" if damage.seed else ""
    return f"{damage.kind} in {where}{own}{seed}"


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    a, b = a.contiguous(), b.contiguous()
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
