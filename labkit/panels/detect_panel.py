"""A detector on photographs: its boxes, and how sure it must be to show them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.core.executors import ThreadExecutor
from labkit.figures.base import Spec
from labkit.figures.detections import Photo, detections, photo
from labkit.panels.latest import Latest, alert

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


class DetectPanel:
    """An image and the boxes that one or several detectors find on it.

    The reader chooses an image or brings one, moves the confidence, and changes the size at
    which the network sees the image. With `interactive=False` the first image is shown as a
    plain figure.

    Args:
        detectors: one, or several by name, shown side by side.
        images: name -> path, bytes or array; the photographs that come with Ultralytics if
            none are given.
        imgsz: the side in pixels at which the network sees images; the detector's own if none.
        confidence: the lowest score that is shown at first, one of `CONFIDENCES`.
        interactive: whether somebody is there.
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
        self.interactive = interactive
        self._photo: tuple[str, Photo] | None = None
        self.found: dict[str, Detections] = {}
        self._look()
        if interactive:
            self._executor = executor or ThreadExecutor("labkit-detect")
            self._build()

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

    def spec(self) -> Spec:
        """The image with its boxes, once for each detector."""
        assert self._photo is not None
        name, one = self._photo
        return detections.spec(
            {(of if self._named else name): (one, found) for of, found in self.found.items()},
            confidence=self.confidence,
        )

    def figure(self) -> go.Figure:
        """The same as a static figure."""
        import plotly.graph_objects as go

        return go.Figure(self.spec())

    def words(self) -> str:
        """What was done, in a line."""
        height, width = self.images[self.image].shape[:2]
        seconds = sum(found.seconds for found in self.found.values()) / len(self.found)
        return (
            f"{self.image}, {width} × {height} pixels, seen at {self.imgsz} pixels · "
            f"{1e3 * seconds:.0f} ms"
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget if self.interactive else self.figure())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure

        self._latest = Latest(self._executor, self._work, self._say)
        self._offering = False
        style = {"description_width": "auto"}
        self.image_selector = widgets.Dropdown(
            options=list(self.images), value=self.image, description="image", style=style
        )
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
            style=style,
            layout=widgets.Layout(width="340px"),
        )
        self.size_selector = widgets.Dropdown(
            options=sorted({*SIZES, self.imgsz}),
            value=self.imgsz,
            description="pixels",
            tooltip="the side of the square in which the network sees the image",
            style=style,
            layout=widgets.Layout(width="120px"),
        )
        self.message, self.status = widgets.HTML(), widgets.HTML()
        self._picture = LiveFigure()
        self.image_selector.observe(self._choose, "value")
        self.size_selector.observe(self._choose, "value")
        self.confidence_slider.observe(self._move, "value")
        self.upload.observe(self._receive, "value")
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        self.widget: ipywidgets.Widget = widgets.VBox(
            [
                widgets.HBox(
                    [self.image_selector, self.upload, self.confidence_slider, self.size_selector],
                    layout=row,
                ),
                self.message,
                self.status,
                self._picture,
            ]
        )
        self._paint()

    def _receive(self, change: dict[str, Any]) -> None:
        """An image was uploaded."""
        from labkit.vision.detections import read_image

        files = [(file["name"], bytes(file["content"])) for file in change["new"]]
        if files:
            self.upload.value = ()  # it would stay in the widget's state, and in a saved notebook
        for name, content in files:
            try:
                self.images[name] = read_image(content)
            except LabError as error:
                self._say(f"{name}: {error}")
                return
            self._say("")
            self._offering = True  # new options select their first for a moment
            self.image_selector.options = list(self.images)
            self.image_selector.value = self.image
            self._offering = False
            self._photo = None  # an image of the same name may be another one
            if self.image_selector.value == name:
                self._ask()
            else:
                self.image_selector.value = name

    def _choose(self, _change: Any) -> None:
        if not self._offering:
            self._ask()

    def _ask(self) -> None:
        self._latest.ask((self.image_selector.value, self.size_selector.value))

    def _work(self, asked: tuple[str, int]) -> None:
        self.image, self.imgsz = asked
        self._look()
        self._paint()

    def _move(self, change: dict[str, Any]) -> None:
        self.confidence = change["new"]
        self._paint()

    def _say(self, error: str) -> None:
        self.message.value = alert(error)

    def _paint(self) -> None:
        from labkit.panels.live_figure import show_together

        show_together({self._picture: self.spec()})
        self.status.value = html.escape(self.words())
