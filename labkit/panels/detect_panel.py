"""A detector on photographs: its boxes, and how sure it must be to show them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.figures.base import Spec
from labkit.figures.detections import Photo, detections, photo
from labkit.panels.base import Panel
from labkit.panels.markup import write

if TYPE_CHECKING:
    import ipywidgets
    import numpy as np
    import plotly.graph_objects as go

    from labkit.vision.detections import Detections, Picture
    from labkit.vision.detector import Detector

# The lowest shows what a network believes that has learned nothing.
CONFIDENCES = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(round(0.05 * k, 2) for k in range(2, 20)),
)
SIZES = (160, 224, 320, 416, 512, 640)


class DetectPanel(Panel):
    """An image and the boxes that one or several detectors find on it.

    The user chooses an image or uploads one, moves the confidence, and changes the size at
    which the network sees the image. With `interactive=False` the first image is shown as a
    plain figure.

    Args:
        detectors: one, or several by name, shown side by side.
        images: name -> path, bytes or array; the photographs that come with Ultralytics if
            none are given.
        imgsz: the side in pixels at which the network sees images; the detector's own if none.
        confidence: the lowest score that is shown at first, one of `CONFIDENCES`.
        interactive: whether somebody is there to use it.
        executor: where detectors run, for tests.

    Attributes:
        found: for each detector, all that it finds on the image, sure or not.

    Raises:
        FileError: an image that cannot be read.
        LabError: no images, or a confidence or size out of range.
    """

    def __init__(
        self,
        detectors: Detector | Mapping[str, Detector],
        images: Mapping[str, Picture] | None = None,
        *,
        imgsz: int | None = None,
        confidence: float = 0.25,
        interactive: bool = True,
        executor: Executor | None = None,
    ) -> None:
        from labkit.vision.detections import photographs, read_image

        super().__init__(interactive=interactive, executor=executor)
        named = isinstance(detectors, Mapping)
        self.detectors: dict[str, Detector] = (
            dict(detectors) if isinstance(detectors, Mapping) else {"": detectors}
        )
        self._named = named
        self.images: dict[str, np.ndarray] = {
            name: read_image(image)
            for name, image in (photographs() if images is None else images).items()
        }
        if not self.images:
            raise LabError('DetectPanel needs an image, such as {"mine": "photo.jpg"}.')
        if not 0 <= confidence <= 1:
            raise LabError(f"confidence={confidence} is not a share: choose 0 to 1, such as 0.25.")
        self.image = next(iter(self.images))
        self.imgsz = imgsz or next(iter(self.detectors.values())).imgsz
        self.confidence = min(CONFIDENCES, key=lambda known: abs(known - confidence))
        self._photo: tuple[str, Photo] | None = None
        self.found: dict[str, Detections] = {}
        self._look()
        self._open()

    # --- what is found -----------------------------------------------------------------

    def _look(self) -> None:
        from labkit.vision.detections import predict

        name, image = self.image, self.images[self.image]
        if self._photo is None or self._photo[0] != name:
            self._photo = name, photo(image)
        self.found = {
            of: predict(detector, image, imgsz=self.imgsz, confidence=CONFIDENCES[0])[0]
            for of, detector in self.detectors.items()
        }

    def shown(self) -> dict[str, Detections]:
        """For each detector, what is at least as sure as the slider asks for."""
        return {of: found.above(self.confidence) for of, found in self.found.items()}

    def _specs(self) -> dict[str, Spec]:
        """The image with its boxes, once for each detector."""
        assert self._photo is not None
        name, one = self._photo
        shown = {(of if self._named else name): (one, found) for of, found in self.found.items()}
        return {"picture": detections.spec(shown, confidence=self.confidence)}

    def figure(self) -> go.Figure:
        """The same as a static figure."""
        (figure,) = self.figures()
        return figure

    def words(self) -> str:
        """What was done, in a line."""
        height, width = self.images[self.image].shape[:2]
        seconds = sum(found.seconds for found in self.found.values()) / len(self.found)
        return (
            f"{self.image}, {width} × {height} pixels, seen at {self.imgsz} pixels · "
            f"{1e3 * seconds:.0f} ms"
        )

    def _tell(self) -> None:
        write(self.status, html.escape(self.words()))

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts

        self.image_selector = parts.menu("image", list(self.images), self.image)
        self.upload = widgets.FileUpload(
            accept="image/*",
            multiple=False,
            description="Your own",
            tooltip="a photograph of yours; it stays on the machine where this kernel runs",
            layout=widgets.Layout(width="auto"),
        )
        self.confidence_slider = widgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in CONFIDENCES],
            value=self.confidence,
            description="confidence",
            tooltip="boxes with a lower score are not shown",
            style={"description_width": "auto"},
            layout=widgets.Layout(width="340px"),
        )
        self.size_selector = parts.menu(
            "pixels", sorted({*SIZES, self.imgsz}), self.imgsz,
            "the side of the square in which the network sees the image", width="120px",
        )  # fmt: skip
        self.on_edit(self.image_selector, lambda _image: self._ask())
        self.on_edit(self.size_selector, lambda _size: self._ask())
        self.on_edit(self.confidence_slider, self._move)
        self.on_edit(self.upload, self._receive)
        controls = [self.image_selector, self.upload, self.confidence_slider, self.size_selector]
        return [parts.row(*controls, align_items="center")]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        return parts.column(*controls, self.message, self.status, self.live["picture"])

    def _receive(self, files: Sequence[Mapping[str, Any]]) -> None:
        """An image was uploaded."""
        from labkit.vision.detections import read_image

        received = [(file["name"], bytes(file["content"])) for file in files]
        if received:
            self.upload.value = ()  # it would stay in the widget's state, and in a saved notebook
        for name, content in received:
            try:
                self.images[name] = read_image(content)
            except LabError as error:
                raise LabError(f"{name}: {error}") from None
            with self.edits.filling():  # new options select their first for a moment
                self.image_selector.options = list(self.images)
                self.image_selector.value = name
            self._photo = None  # an image of the same name may be another one
            self._ask()

    def _ask(self) -> None:
        self.job.request((self.image_selector.value, self.size_selector.value))

    def _work(self, request: tuple[str, int]) -> None:
        self.image, self.imgsz = request
        self._look()
        self.paint()

    def _move(self, confidence: float) -> None:
        self.confidence = confidence
        self.paint()
