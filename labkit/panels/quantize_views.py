"""What few bits do to one tensor and to the whole detector: computed and drawn, no widgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError, unknown
from labkit.figures.base import Spec
from labkit.figures.bits_curve import bits_curve as curve_figure
from labkit.figures.detections import Photo, detections, photo
from labkit.figures.number_grid import number_grid
from labkit.figures.sensitivity import sensitivity as sensitivity_figure
from labkit.panels.break_panel import HEIGHT, SHOWN
from labkit.quantize.activations import Activations, calibrate
from labkit.quantize.fake import fake_quantized, folded
from labkit.quantize.grid import Grid, grid
from labkit.quantize.scheme import Bits, Scheme, bits_text
from labkit.quantize.sensitivity import Sensitivity, bits_curve, sensitivity
from labkit.vision.detections import Detections, predict, read_image
from labkit.vision.detector import Detector, open_detector
from labkit.vision.evaluation import Metrics, evaluate
from labkit.weights.load import load
from labkit.weights.perturb import is_weight

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go

    from labkit.vision.data import DataSet
    from labkit.vision.detections import Picture

CURVE: tuple[Bits, ...] = (2, 3, 4, 5, 6, 8)
KEPT_CURVES = 4
MAPPED = "mAP50-95"
Rounding = tuple[Bits, str]


class _Overtaken(Exception):  # noqa: N818
    """Something else has been requested meanwhile."""


@dataclass(frozen=True)
class Selection:
    """What is chosen: everything that the pictures depend on.

    Attributes:
        bits, scheme: of the grids; see `labkit.quantize.grid`.
        tensor: the one under the microscope.
        channel: of it, where each has a grid of its own.
        head: whether the detector's head is rounded as well.
        activations: whether what layers read is rounded to 8 bits as well.
        image: the one that is watched, by name.
    """

    bits: Bits
    scheme: Scheme
    tensor: str
    channel: int = 0
    head: bool = True
    activations: bool = False
    image: str = ""

    @property
    def recipe(self) -> str:
        """What is done to the detector, but for the bits."""
        head = "" if self.head else ", head in float"
        return f"{self.scheme}{head}{', activations 8 bits' if self.activations else ''}"


class QuantizeViews:
    """The pictures of one choice after the other; see `QuantizePanel`, which adds the widgets.

    Whoever watches overrides `_paint`, called whenever there is something new to see, and
    `_overtaken`, which ends what takes long.
    """

    def __init__(
        self,
        source: Any,
        data: DataSet | None,
        images: Mapping[str, Picture] | None,
        choice: Selection,
        *,
        limit: int,
        imgsz: int | None,
    ) -> None:
        weights = source.weights if isinstance(source, Detector) else load(source)
        self.tensors = {
            name: one
            for name, one in weights.tensors.items()
            if one.is_floating_point() and one.numel()
        }
        heavy = [name for name, one in self.tensors.items() if is_weight(name, one)]
        tensor = choice.tensor or next(iter([*heavy, *self.tensors]), "")
        if tensor not in self.tensors:
            raise LabError(unknown("tensor", tensor, self.tensors))
        self.choice = dataclasses.replace(choice, tensor=tensor)
        self.data, self.limit = data, limit
        self.sensitivity: Sensitivity | None = None
        self._curves: dict[str, dict[Bits, float]] = {}
        self._photos: dict[str, Photo] = {}
        if data is not None:
            detector = source if isinstance(source, Detector) else open_detector(weights)
            self._open_detector(detector, data, images, imgsz)
        elif images:
            raise LabError("images are looked at with a detector: give data as well.")
        self.grid = self._grid(self.choice)

    def _paint(self, doing: str = "") -> None:
        """Show what is known by now, and what is being done."""

    def _overtaken(self) -> bool:
        """Whether something else has been requested meanwhile."""
        return False

    def _open_detector(
        self,
        detector: Detector,
        data: DataSet,
        images: Mapping[str, Picture] | None,
        imgsz: int | None,
    ) -> None:
        """Measure the detector in float, with BatchNorm folded as it would be deployed."""
        self.imgsz = imgsz or detector.imgsz
        if images is None:
            images = {path.name: path for path in data.val[:3]}
        self.images: dict[str, np.ndarray] = {n: read_image(one) for n, one in images.items()}
        if not self.images:
            raise LabError('QuantizePanel needs an image to watch, such as {"mine": "photo.jpg"}.')
        self.choice = dataclasses.replace(self.choice, image=next(iter(self.images)))
        self._float = self._rounded = folded(detector)
        self._seen: Activations | None = None
        # What boxes and figures are of: they come after the choice. First of no rounding.
        self._measured: Rounding | None = None
        self._boxes_of: tuple[str, Rounding | None] = (self.choice.image, None)
        self.metrics = self.before = self._measure(self._float)
        self.found = self.found_before = self._find(self._float, self.choice.image)

    # --- what is computed --------------------------------------------------------------

    def _grid(self, choice: Selection) -> Grid:
        values, scheme = self.tensors[choice.tensor], choice.scheme
        if values.ndim < 2:  # a channel would be a single value
            scheme = dataclasses.replace(scheme, per="tensor")
        return grid(values, choice.bits, scheme)

    def _find(self, detector: Detector, image: str) -> Detections:
        (found,) = predict(detector, self.images[image], imgsz=self.imgsz, confidence=SHOWN)
        return found

    def _measure(self, detector: Detector) -> Metrics:
        assert self.data is not None
        return evaluate(detector, self.data, "val", self.limit, self.imgsz)

    def _ranges(self) -> Activations | None:
        """How far activations reach, looked at once, if they are to be rounded."""
        if not self.choice.activations or self.data is None:
            return None
        if self._seen is None:
            self._paint("looking at activations …")
            self._seen = calibrate(self._float, self.data, imgsz=self.imgsz)
        return self._seen

    def _show(self, choice: Selection) -> None:
        """The grid first, then boxes, then mAP: a dragged slider leaves no time for more."""
        self.grid, self.choice = self._grid(choice), choice
        recipe = (choice.bits, choice.recipe)
        if self.data is None or (
            (choice.image, recipe) == self._boxes_of == (choice.image, self._measured)
        ):
            self._paint()
            return
        self._paint("rounding …")
        if self._overtaken():
            return
        self._rounded = fake_quantized(
            self._float, choice.bits, choice.scheme, head=choice.head,
            activations=self._ranges(), fold=False,
        )  # fmt: skip
        if choice.image != self._boxes_of[0]:
            self.found_before = self._find(self._float, choice.image)
        self.found = self._find(self._rounded, choice.image)
        self._boxes_of = choice.image, recipe
        if recipe != self._measured:
            self._paint("measuring …")
            if self._overtaken():
                return
            self.metrics, self._measured = self._measure(self._rounded), recipe
            self._remember(choice.bits, self.metrics)
        self._paint()

    def _remember(self, bits: Bits, metrics: Metrics) -> None:
        points = self._curves.pop(self.choice.recipe, {})
        points[bits] = metrics.map
        self._curves[self.choice.recipe] = points  # the newest last
        for old in list(self._curves)[:-KEPT_CURVES]:
            del self._curves[old]

    def _draw_curve(self) -> None:
        assert self.data is not None
        choice = self.choice
        known = self._curves.get(choice.recipe, {})
        missing = [bits for bits in CURVE if bits not in known]
        for k, (_, bits, metrics) in enumerate(
            bits_curve(
                self._float, self.data, missing, (choice.scheme,), head=choice.head,
                activations=self._ranges(), limit=self.limit, imgsz=self.imgsz,
            ),
            1,
        ):  # fmt: skip
            self._remember(bits, metrics)
            self._paint(f"mAP against bits: {k} of {len(missing)} …")
            if self._overtaken():
                return
        self._paint()

    def _rank_layers(self) -> None:
        assert self.data is not None
        choice = self.choice
        self._paint("which layer hurts most: measuring all at once …")

        def show(result: Sensitivity) -> None:
            self.sensitivity = result
            done = len(result.layers)
            self._paint(f"which layer hurts most: {done} of {result.total} …")
            if self._overtaken():
                raise _Overtaken

        with suppress(_Overtaken):
            sensitivity(
                self._float, self.data, choice.bits, choice.scheme, activations=self._ranges(),
                limit=self.limit, imgsz=self.imgsz, on_progress=show,
            )  # fmt: skip
            self._paint()

    # --- figures -----------------------------------------------------------------------

    def specs(self) -> dict[str, Spec]:
        """What there is to see: grid, boxes, curve, layers."""
        choice, channel = self.choice, min(self.choice.channel, len(self.grid.scale) - 1)
        found = {"grid": number_grid.spec(self.grid, channel=channel, name=choice.tensor)}
        if self.data is None:
            return found
        image, recipe = self._boxes_of
        one = self._photos.get(image) or photo(self.images[image])
        self._photos[image] = one
        title = f"{bits_text(recipe[0])}, {recipe[1]}" if recipe else "not rounded yet"
        found["boxes"] = detections.spec(
            {"float32": (one, self.found_before), title: (one, self.found)}, height=HEIGHT
        )
        known = self._curves.get(choice.recipe, {}).get(choice.bits)
        found["curve"] = curve_figure.spec(
            {name: list(points.items()) for name, points in self._curves.items()},
            float32=self.before.map,
            bits=CURVE,
            now=None if known is None else (choice.bits, known),
            what=MAPPED,
        )
        if self.sensitivity is not None:
            found["layers"] = sensitivity_figure.spec(self.sensitivity)
        return found

    def figures(self) -> dict[str, go.Figure]:
        """The same as static figures, by name."""
        import plotly.graph_objects as go

        return {name: go.Figure(spec) for name, spec in self.specs().items()}

    def words(self) -> list[str]:
        """What the bits have done, one sentence each."""
        sentences = []
        if self.data is not None and self._measured is not None:
            bits, recipe = self._measured
            sentences = [
                f"Weights at {bits_text(bits)} ({recipe}): {MAPPED} {self.before.map:.3f} → "
                f"{self.metrics.map:.3f} on {self.metrics.images} images."
            ]
        return sentences + (self.sensitivity.words() if self.sensitivity else [])

    def facts(self) -> dict[str, object]:
        """What the grid of the tensor is and costs."""
        shape = "x".join(map(str, self.grid.tensor.shape)) or "scalar"
        return {"tensor": self.choice.tensor, "shape": shape, **self.grid.facts()}
