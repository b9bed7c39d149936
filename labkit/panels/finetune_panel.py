"""The panel that fine-tunes a detector: settings, curves while it runs, before and after."""

from __future__ import annotations

import asyncio
import html
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.core.table import Table
from labkit.figures import Spec
from labkit.panels.base import Panel
from labkit.panels.finetune_views import (
    before_after,
    curves,
    has_grid,
    on_grid,
    status,
    updates,
    used_words,
)
from labkit.panels.markup import write
from labkit.vision.finetuning.live_run import LiveRun
from labkit.vision.finetuning.spec import FineTune

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

    from labkit.training.findings import Finding
    from labkit.vision.finetuning.records import FineTuned

IMAGES = 3  # shown before and after
SETTLE_S = 5.0  # a page that has not asked for a figure by then does not show it


class FineTunePanel(Panel):
    """Fine-tune a detector: choose settings, start, watch, stop, compare.

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
        super().__init__(interactive=interactive, executor=executor)
        self.spec = spec or FineTune()
        self.images = images
        self.pictures = ("curves", "grid", "updates", *(f"image {k}" for k in range(images)))
        self.run: LiveRun | None = None
        self._starting = threading.Lock()
        self._samples: tuple[FineTuned, list[Spec]] | None = None
        self._open()

    def _headless(self) -> None:
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
            self.painter.join(60)  # until before and after are there, too
        return self.result

    async def finished(self) -> FineTuned:
        """`finish` for a cell: `await panel.finished()`.

        A kernel hands on what the page says (that it shows a figure, that Stop was pressed)
        between two cells, or while a cell awaits something; not while it computes.
        """
        if self.run is None:
            self._begin()
        await super().finished()
        if self.interactive:
            await self._settled()
        return self.result

    async def _settled(self) -> None:
        """Until the last frame is on the page; for seconds only where no page asks for it."""
        patience = time.monotonic() + SETTLE_S
        shown = [self.live["curves"], self.live["updates"], *self.samples_box.children]
        if has_grid(self.run):
            shown.append(self.live["grid"])
        while time.monotonic() < patience and not all(figure.attached for figure in shown):
            await asyncio.sleep(0.05)

    @property
    def failure(self) -> BaseException | None:
        """What ended the run, if it failed."""
        return None if self.run is None else self.run.error

    def _streaming(self) -> bool:
        return self.running

    def _begin(self) -> LiveRun:
        """Start, and show it on the page."""
        run = self.start()
        if self.interactive:
            self.alert("")
            self.samples_box.children = ()
            self.paint()
        return run

    # --- figures -----------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """Losses, precision and learning rate of the run, as a static figure."""
        import plotly.graph_objects as go

        return go.Figure(curves(self.run, self.spec))

    def updates_figure(self) -> go.Figure:
        """How far each layer is moved, as a static figure."""
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

    def static(self) -> list[Any]:
        """The settings that were used, and all figures."""
        grid = self.grid_figure()
        shown = [self.figure(), *([grid] if grid else []), self.updates_figure()]
        return [self.table(), *shown, *self.before_after()]

    def _specs(self) -> dict[str, Spec]:
        run = self.run
        if run is not None and not run.over:  # a step takes long: wait for it, not for a frame
            run.news.wait(0.5)
            run.news.clear()
        shown = {"curves": curves(run, self.spec), "updates": updates(run, self.spec)}
        return shown | ({"grid": on_grid(run)} if has_grid(run) else {})

    def _tell(self) -> None:
        run, running = self.run, self.running
        used, result = (run.used, run.result) if run else (None, None)
        found = run.finding if run else None
        if self.failure is not None:
            self._fail(self.failure)
        words = f"really used: {html.escape(used_words(used))}" if used else ""
        write(self.used_line, f"<div style='line-height:1.35'>{words}</div>" if words else "")
        self.findings_box.show([found] if found else [])
        self.live["grid"].layout.display = None if has_grid(run) else "none"
        self.buttons["Start"].disabled = running
        self.buttons["Stop"].disabled = not running or (run is not None and run.stopping)
        write(self.status, status(run, self.spec))
        if result is not None and not self.samples_box.children:
            self._show_samples(result)

    def _show_samples(self, result: FineTuned) -> None:
        """Predict now, on the painter's thread: the run is over."""
        try:
            specs = self._before_after()
        except LabError as error:  # the weights or the images are gone
            self._fail(error)
            return
        if self.run is None or self.run.result is not result:
            return  # another run has begun meanwhile
        shown = [self.live[f"image {k}"] for k in range(min(self.images, len(specs)))]
        for picture, spec in zip(shown, specs, strict=False):
            picture.show(spec)
        self.samples_box.children = tuple(shown)

    # --- controls ----------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels.findings_box import FindingsBox
        from labkit.panels.finetune_controls import FineTuneControls
        from labkit.panels.parts import Action

        self.controls = FineTuneControls(self.spec, self._change, edits=self.edits)
        self.buttons = self.make_buttons(
            Action("Start", "play", "fine-tune with these settings", self._start_new, "primary"),
            Action("Stop", "stop", "end the run; the best weights so far are kept", self.stop),
        )
        self.used_line, self.samples_box = widgets.HTML(), widgets.VBox()
        self.findings_box = FindingsBox(self.guard(self._mend))
        return [self.controls.widget]

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        (editor,) = controls
        return parts.beside(
            editor,
            [
                parts.row(*self.buttons.values()),
                self.status,
                self.used_line,
                self.message,
                self.findings_box,
                self.live["curves"],
                self.live["grid"],
                self.live["updates"],
                self.samples_box,
            ],
        )

    def _change(self, spec: FineTune) -> None:
        """The controls gave other settings: they are for the next run."""
        self.spec = spec
        if not self.running:
            self.paint()

    def _mend(self, finding: Finding) -> None:
        """The remedy of a finding was wanted."""
        self.spec = self.spec.replace(**finding.changes)
        self.controls.set(self.spec)
        self.findings_box.show([])

    def _start_new(self) -> None:
        if not self.running:
            self._begin()
