"""The panel that fine-tunes a detector: settings, curves while it runs, before and after."""

from __future__ import annotations

import asyncio
import html
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.core.formatting import rough_duration
from labkit.core.table import Table
from labkit.figures import Spec
from labkit.figures.finetuning import fine_tuning_curves, layer_updates
from labkit.figures.qat import weights_on_grid
from labkit.vision.finetuning.live_run import LiveRun
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

    from labkit.training.findings import Finding
    from labkit.vision.finetuning.records import EpochRecord, FineTuned, StepRecord, Used

IMAGES = 3  # shown before and after
CONFIDENCE = 0.25
BESIDE = 250  # pixels: the height of three images in what the controls leave of the width
SETTLE_S = 5.0  # a page that has not asked for a figure by then does not show it


class FineTunePanel:
    """Fine-tuning under the reader's hand: settings, start, watch, stop, compare.

    Displayed in a notebook it is a widget; with `interactive=False` it runs to the end and
    shows plain figures, and no widget is made.

    Args:
        spec: what it starts from; the defaults if none.
        interactive: whether somebody is there to use it.
        images: how many validation images are shown before and after.
        executor: where it runs, for tests.

    Attributes:
        spec: the settings in force, for the next run.
        run: the run that is shown, or None.

    Raises:
        LabError: with `interactive=False`, what is wrong with the settings or the data.
    """

    def __init__(
        self,
        spec: FineTune | None = None,
        *,
        interactive: bool = True,
        images: int = IMAGES,
        executor: Executor | None = None,
    ) -> None:
        self.spec = spec or FineTune()
        self.interactive = interactive
        self.images = images
        self.run: LiveRun | None = None
        self._starting = threading.Lock()
        self._samples: tuple[FineTuned, list[Spec]] | None = None
        self._executor = executor or (
            ThreadExecutor("labkit-finetune") if interactive else SynchronousExecutor()
        )
        if interactive:
            self._build()
        else:
            self.finish()

    # --- running -----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a run is going on."""
        return self.run is not None and not self.run.over

    @property
    def result(self) -> FineTuned:
        """What the last run left.

        Raises:
            LabError: there is none yet, or it ended with an error.
        """
        if self.run is None:
            raise LabError("nothing has been fine-tuned yet: press Start")
        return self.run.outcome()

    def start(self) -> LiveRun:
        """Begin a new run with the settings in force; where one is running, it is that one."""
        with self._starting:  # a cell and a click may both ask for it
            if self.run is None or self.run.over:
                self.run = LiveRun(self.spec)
                self.run.start(self._executor)
            return self.run

    def stop(self) -> None:
        """End the run after the step it is at; the best weights so far are kept."""
        if self.run is not None:
            self.run.stop()

    def finish(self) -> FineTuned:
        """What the run left, once it is over; where nobody has pressed Start, this does.

        It blocks, and with it the page: in a notebook, await `finished()`. An interrupt
        (Ctrl-C) stops the run and is raised again.

        Raises:
            LabError: what is wrong with the settings or the data.
        """
        run = self.run or self._begin()
        try:
            run.done.wait()
        except KeyboardInterrupt:
            self.stop()
            raise
        if self.interactive:
            self._painter.join(60)  # until before and after are there, too
        return self.result

    async def finished(self) -> FineTuned:
        """`finish` for a cell: `await panel.finished()`.

        A kernel hands on what the page says (that it shows a figure, that Stop was pressed)
        between two cells, or while a cell awaits something; not while it computes.
        """
        run = self.run or self._begin()
        try:
            while not run.over:
                await asyncio.sleep(0.05)
            if self.interactive:
                await self._settled()
        except asyncio.CancelledError:  # how a kernel interrupts a cell that awaits
            self.stop()
            raise
        return self.result

    async def _settled(self) -> None:
        """Until the last frame is on the page; for seconds only where no page asks for it."""
        patience = time.monotonic() + SETTLE_S
        while self._painter.working or time.monotonic() < patience:
            shown = [self._curves, self._updates, *self.samples_box.children]
            if has_grid(self.run):
                shown.append(self._grid)
            if not self._painter.working and all(figure.attached for figure in shown):
                return
            await asyncio.sleep(0.05)

    # --- figures -----------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """Losses, precision and learning rate of the run, as a static figure."""
        import plotly.graph_objects as go

        return go.Figure(curves(self.run, self.spec))

    def updates_figure(self) -> go.Figure:
        """How much each layer was moved, as a static figure."""
        import plotly.graph_objects as go

        return go.Figure(updates(self.run, self.spec))

    def grid_figure(self) -> go.Figure | None:
        """Weights on their grid, as a static figure; None without quantization-aware training."""
        import plotly.graph_objects as go

        return go.Figure(on_grid(self.run)) if has_grid(self.run) else None

    def before_after(self) -> list[go.Figure]:
        """What is found on validation images before and after, each. Raises as `result`."""
        import plotly.graph_objects as go

        return [go.Figure(spec) for spec in self._before_after()]

    def table(self) -> Table:
        """The settings that were really used."""
        used = self.run.used if self.run else None
        return Table([{"really used": used_words(used)}] if used else [])

    def _before_after(self) -> list[Spec]:
        """Computed once for each run."""
        result = self.result
        if self._samples is None or self._samples[0] is not result:
            self._samples = result, before_after(result, self.images, self.interactive)
        return self._samples[1]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            grid = self.grid_figure()
            shown = [self.figure(), *([grid] if grid else []), self.updates_figure()]
            display(self.table(), *shown, *self.before_after())

    # --- widgets -----------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.findings_box import FindingsBox
        from labkit.panels.finetune_controls import FineTuneControls
        from labkit.panels.live_figure import LiveFigure
        from labkit.panels.painter import Painter

        self.controls = FineTuneControls(self.spec, self._change)
        self.buttons = {
            name: widgets.Button(
                description=name, icon=icon, tooltip=tip, layout=widgets.Layout(width="auto")
            )
            for name, icon, tip in (
                ("Start", "play", "fine-tune with these settings"),
                ("Stop", "stop", "end the run; the best weights so far are kept"),
            )
        }
        self.buttons["Start"].button_style = "primary"
        self.buttons["Start"].on_click(self._start_clicked)
        self.buttons["Stop"].on_click(self._stop_clicked)
        self.status, self.used_line, self.message = (widgets.HTML() for _ in range(3))
        self.findings_box = FindingsBox(self._mend)
        self._curves, self._grid, self._updates = LiveFigure(), LiveFigure(), LiveFigure()
        self._grid.layout.display = "none"  # until there is one
        self._pictures = [LiveFigure() for _ in range(self.images)]
        self.samples_box = widgets.VBox()
        self._painter = Painter(self._specs, self._tell, lambda: self.running, self._fail)
        right = widgets.VBox(
            [
                widgets.HBox(list(self.buttons.values())),
                self.status,
                self.used_line,
                self.message,
                self.findings_box,
                self._curves,
                self._grid,
                self._updates,
                self.samples_box,
            ],
            layout=widgets.Layout(flex="8 1 340px", min_width="340px"),
        )
        self.widget: ipywidgets.Widget = widgets.HBox(
            [self.controls.widget, right], layout=widgets.Layout(flex_flow="row wrap")
        )
        self._painter.paint()

    def _change(self, spec: FineTune) -> None:
        """The controls gave other settings: they are for the next run."""
        self.spec = spec
        if not self.running:
            self._painter.paint()

    def _mend(self, finding: Finding) -> None:
        """The remedy of a finding was asked for."""
        self.spec = self.spec.replace(**finding.changes)
        self.controls.set(self.spec)
        self.findings_box.show([])

    def _start_clicked(self, _button: Any) -> None:
        if not self.running:
            self._begin()

    def _begin(self) -> LiveRun:
        """Start, and show it where somebody looks."""
        run = self.start()
        if self.interactive:
            self.samples_box.children = ()
            if run.over:
                self._painter.paint()
            else:
                self._painter.start()
        return run

    def _stop_clicked(self, _button: Any) -> None:
        self.stop()

    def _specs(self) -> Mapping[Any, Any]:
        run = self.run
        if run is not None and not run.over:  # a step takes long: wait for it, not for a frame
            run.news.wait(0.5)
            run.news.clear()
        shown = {self._curves: curves(run, self.spec), self._updates: updates(run, self.spec)}
        if run is not None and has_grid(run):
            self._grid.layout.display = None
            shown[self._grid] = on_grid(run)
        elif run is not None:
            self._grid.layout.display = "none"
        return shown

    def _tell(self) -> None:
        run, running = self.run, self.running
        used, result = (run.used, run.result) if run else (None, None)
        words = problem(run.error) if run else ""
        found = run.finding if run else None
        _say(
            self.used_line, _CALM.format(f"really used: {_html(used_words(used))}") if used else ""
        )
        _say(self.message, _ALERT.format(_html(words)) if words else "")
        self.findings_box.show([found] if found else [])
        self.buttons["Start"].disabled = running
        self.buttons["Stop"].disabled = not running or (run is not None and run.stopping)
        _say(self.status, status(run, self.spec))
        if result is not None and not self.samples_box.children:
            self._show_samples(result)

    def _fail(self, error: BaseException) -> None:
        _say(self.message, _ALERT.format(_html(problem(error))))

    def _show_samples(self, result: FineTuned) -> None:
        """Predict now, on the painter's thread: the run is over."""
        try:
            specs = self._before_after()
        except LabError as error:  # the weights or the images are gone
            _say(self.message, _ALERT.format(_html(str(error))))
            return
        if self.run is None or self.run.result is not result:
            return  # another run has begun meanwhile
        shown = dict(zip(self._pictures, specs, strict=False))
        for picture, spec in shown.items():
            picture.show(spec)
        self.samples_box.children = tuple(shown)


_ALERT = "<div role='alert' style='color:var(--jp-error-color1,#b00);line-height:1.3'>{}</div>"
_CALM = "<div style='line-height:1.35'>{}</div>"


def _html(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _say(widget: Any, value: str) -> None:
    if widget.value != value:
        widget.value = value


def curves(run: LiveRun | None, spec: FineTune) -> Spec:
    """The records of a run so far as `fine_tuning_curves` takes them."""
    steps: Sequence[StepRecord] = list(run.steps) if run else []
    epochs: Sequence[EpochRecord] = list(run.epochs) if run else []
    names = list(steps[0].parts) if steps else ["box", "cls"]
    best = run.best if run else None
    return fine_tuning_curves.spec(
        np.array([record.step for record in steps]),
        {name: np.array([record.parts[name] for record in steps]) for name in names},
        np.array([record.lr for record in steps]),
        np.array([record.epoch for record in epochs]),
        {
            "mAP50": np.array([record.map50 for record in epochs]),
            "mAP50-95": np.array([record.map for record in epochs]),
        },
        steps_per_epoch=run.steps_per_epoch if run else 1,
        end=(run.spec if run else spec).epochs,
        best=best.epoch if best else None,
    )


def updates(run: LiveRun | None, spec: FineTune) -> Spec:
    """The updates of a run so far as `layer_updates` takes them."""
    records = [record for record in list(run.steps) if record.updates] if run else []
    layers = list(records[0].updates or {}) if records else []
    return layer_updates.spec(
        np.array([record.step for record in records]),
        layers,
        np.array([[record.updates[name] for name in layers] for record in records]),  # type: ignore[index]
        steps_per_epoch=run.steps_per_epoch if run else 1,
        end=(run.spec if run else spec).epochs,
    )


def has_grid(run: LiveRun | None) -> bool:
    """Whether a run has told where its weights are on a grid."""
    return run is not None and any(record.grid for record in list(run.steps))


def on_grid(run: LiveRun | None) -> Spec:
    """What a run has told of its grid so far as `weights_on_grid` takes it."""
    records = [record for record in list(run.steps) if record.grid] if run else []
    grids = [record.grid for record in records if record.grid]
    return weights_on_grid.spec(
        np.array([record.step for record in records]),
        [grid.counts for grid in grids],
        np.array([grid.distance for grid in grids]),
        np.array([grid.moved for grid in grids]),
        bits=grids[0].bits if grids else 8,
        layer=grids[0].layer if grids else "",
        end=records[-1].steps if records else None,
    )


def status(run: LiveRun | None, spec: FineTune) -> str:
    """The status line: state, epoch, step, loss, precision, time left."""
    if run is None:
        return f"<b>ready</b> · {spec.epochs} epochs of {html.escape(spec.data)}"
    parts = [f"<b>{run.state}</b>"]
    if run.state == "preparing":
        parts.append("drawing the data if it is not there yet, checking and decoding all of it")
    if run.steps:
        last = run.steps[-1]
        parts.append(f"epoch {last.epoch} of {run.spec.epochs}")
        parts.append(f"step {last.step:,} of {last.steps:,}")
        parts.append(f"loss {last.loss:.3g}")
    if run.epochs:
        now, best = run.epochs[-1], run.best
        text = f"mAP50 {now.map50:.3f}"
        if best is not None and best.epoch != now.epoch:
            text += f" (kept: {best.map50:.3f} of epoch {best.epoch})"
        parts.append(text)
    if run.state == "running" and math.isfinite(run.seconds_left):
        parts.append(f"about {rough_duration(run.seconds_left)} left")
    if run.result is not None:
        parts.append(f"weights in {html.escape(short(run.result.best))}")
    return " · ".join(parts)


def short(path: Path) -> str:
    """A path as people write it: from their home folder where it is there."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def used_words(used: Used) -> str:
    """One line: the settings read back from the trainer, and what differs from the controls."""
    parts = [
        used.optimizer,
        f"learning rate {used.lr:g} ({used.schedule})",
        f"weight decay {used.weight_decay:g}",
        f"{used.batch} of {used.images} images a step",
        f"{used.precision} on {used.device}",
    ]
    if used.frozen_parameters:
        whole = used.parameters + used.frozen_parameters
        parts.append(f"{used.frozen_parameters / whole:.0%} of the numbers frozen")
    return " · ".join(parts) + "".join(f". {note}" for note in used.notes).replace("..", ".")


def problem(error: BaseException | None) -> str:
    """What ended a run, for people."""
    if error is None:
        return ""
    return str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"


def before_after(result: FineTuned, count: int, beside: bool) -> list[Spec]:
    """Validation images as labelled, as the first weights see them, and as the best ones do.

    Args:
        result: the run.
        count: how many images.
        beside: whether they stand beside the controls, where there is less room.
    """
    from labkit.figures.detections import detections
    from labkit.vision.data import open_data
    from labkit.vision.detector import open_detector, random_like
    from labkit.vision.example_images import examples, side_by_side

    spec = result.spec
    start = open_detector(spec.weights)
    detectors = {
        "before": start if spec.pretrained else random_like(start, spec.seed),
        "after": open_detector(result.best),
    }
    rows = side_by_side(
        examples(open_data(spec.data), count),
        detectors,
        imgsz=spec.image_size,
        confidence=CONFIDENCE,
    )
    height = BESIDE if beside else None
    return [detections.spec(row, words=False, height=height) for row in rows]
