"""What every panel does, once: a panel adds its own controls and its own pictures."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.figures.base import Spec
from labkit.panels.comms import handle_in_order
from labkit.panels.edits import Edits
from labkit.panels.job import Job
from labkit.panels.markup import alert, problem, write

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

    from labkit.panels.live_figure import LiveFigure
    from labkit.panels.parts import Action


class Panel(ABC):
    """Controls beside live pictures; with `interactive=False` the pictures alone, as they are.

    A panel calls `super().__init__` first and `_open()` last, and between them sets what its
    pictures are made from. It has to say

    * `_controls`: its widgets, tied to what they change by `on_edit` and `on_click`;
    * `_specs`: its pictures, by the names in `pictures`, from what is known now;

    and may say how its controls are filled (`_fill`), what takes long (`_work`, started by
    `self.job.request(...)`), its status line (`_tell`), another layout (`_layout`) and what
    stands there headless (`static`, `_headless`).

    Whatever a handler, the work or a picture raises is shown as an alert: a `LabError` in its
    own words, any other error by its name, and as `error`.

    Args:
        interactive: whether somebody is there to use it.
        executor: where what takes long runs, for tests.

    Attributes:
        widget: what is displayed (interactive only, like all that follow).
        message, status: the alert, and the line above the pictures.
        live: the pictures on the page, by name.
        job: what takes long.
        error: the last error that no `LabError` explains: `raise panel.error` shows where.
    """

    pictures: Sequence[str] = ("picture",)

    def __init__(self, *, interactive: bool = True, executor: Executor | None = None) -> None:
        self.interactive = interactive
        name = f"labkit-{type(self).__name__.removesuffix('Panel').lower()}"
        default = ThreadExecutor(name) if interactive else SynchronousExecutor()
        self._executor: Executor = executor or default
        self.edits = Edits()
        self.job: Job[Any] = Job(
            self._executor, self._work, failed=self._fail, changed=self._job_changed
        )
        self.error: BaseException | None = None

    # --- what a panel says ---------------------------------------------------------------

    @abstractmethod
    def _controls(self) -> Iterable[Any]:
        """Make the controls, tie them to what they change, and give them in order."""

    @abstractmethod
    def _specs(self) -> Mapping[str, Spec]:
        """The pictures as they are now, by name. Called from any thread."""

    def _fill(self) -> None:  # noqa: B027
        """Make the controls show what is in force. What changes here is nobody's edit."""

    def _tell(self) -> None:  # noqa: B027
        """Bring status line and buttons up to date, from any thread, without `edits.lock`."""

    def _work(self, request: Any) -> None:  # noqa: B027
        """Do what `job.request` was given, on the executor."""

    def _job_changed(self) -> None:  # noqa: B027
        """The work has begun, progressed or ended."""

    def _streaming(self) -> bool:
        """Whether pictures are to be painted over and over."""
        return False

    def _headless(self) -> None:  # noqa: B027
        """Do everything at once where nobody is there to ask for it."""

    def static(self) -> Sequence[Any]:
        """What is displayed headless."""
        return self.figures()

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        """Put controls and pictures in their places: beside each other unless said otherwise."""
        from labkit.panels import parts

        return parts.beside([*controls, self.message], [self.status, *self.live.values()])

    # --- what all do the same way ----------------------------------------------------------

    def _open(self) -> None:
        """Build the widgets; headless, do the work."""
        if not self.interactive:
            self._headless()
            return
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure
        from labkit.panels.painter import Painter

        self.message, self.status = widgets.HTML(), widgets.HTML()
        self.live: dict[str, LiveFigure] = {name: LiveFigure() for name in self.pictures}
        self.painter = Painter(self._frame, self._tell, self._streaming, self._fail)
        self.widget: ipywidgets.Widget = self._layout(list(self._controls()))
        handle_in_order(self.widget)
        self.fill()
        self.paint()

    def figures(self) -> Any:
        """The pictures as static figures, in order."""
        import plotly.graph_objects as go

        found: tuple[go.Figure, ...] = tuple(go.Figure(spec) for spec in self._specs().values())
        return found

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.static())

    def _frame(self) -> dict[LiveFigure, Spec]:
        return {self.live[name]: spec for name, spec in self._specs().items()}

    def paint(self) -> None:
        """Show what is known now, or leave it to the painter that is at work."""
        if self._streaming():
            self.painter.start()
        else:
            self.painter.paint()

    def fill(self) -> None:
        """Make the controls show what is in force."""
        with self.edits.lock, self.edits.filling():
            self._fill()

    def alert(self, words: str) -> None:
        """Show what went wrong; an empty text clears it."""
        write(self.message, alert(words))

    def guard(self, handler: Callable[..., object]) -> Callable[..., None]:
        """A callback for widgets and figures: one at a time, its errors shown, none lost."""
        return self.edits.guard(handler, alert=self._show_error, restore=self.fill)

    def on_edit(self, widget: Any, handler: Callable[[Any], object]) -> None:
        """Call `handler` with each value that somebody gives `widget`.

        Where it raises, the error is shown and the controls go back to what is in force.
        """
        handle_in_order(widget)
        widget.observe(self.guard(lambda change: handler(change["new"])), "value")

    def on_click(self, button: Any, handler: Callable[[], object]) -> None:
        """Call `handler` at each click."""
        handle_in_order(button)
        button.on_click(self.guard(lambda _button: handler()))

    def make_buttons(self, *actions: Action) -> dict[str, Any]:
        """A button for each action, by name."""
        from labkit.panels import parts

        buttons = {}
        for action in actions:
            button = parts.button(action.name, action.icon, action.tip, style=action.style)
            self.on_click(button, action.call)
            buttons[action.name] = button
        return buttons

    def _show_error(self, error: BaseException | None) -> None:
        """Show an error, or clear the alert."""
        if error is None:
            self.alert("")
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Show what went wrong, wherever it did."""
        self.error = error
        self.alert(problem(error))

    # --- for a cell that waits ---------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something runs, or is still to be painted."""
        painting = self.interactive and self.painter.working
        return self.job.running or self._streaming() or painting

    @property
    def failure(self) -> BaseException | None:
        """What the last run ended with; None where it went well."""
        return self.job.error

    def stop(self) -> None:
        """End what runs, as soon as it can."""
        self.job.stop()

    async def finished(self) -> Any:
        """Until nothing runs any more: `await panel.finished()`.

        A kernel hands on what the page says between two cells, or while a cell awaits
        something; not while it computes. An interrupt stops what runs.

        Raises:
            Exception: what the work ended with.
        """
        try:
            while self.busy:
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:  # how a kernel interrupts a cell that awaits
            self.stop()
            raise
        if self.failure is not None:
            raise self.failure
