"""Optimizers on a map: choose a surface, click where to start, and watch them walk."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.core.executors import ThreadExecutor
from labkit.figures import surface_map, theme, walk_losses, walk_state
from labkit.figures.surface import walk_colors
from labkit.recipe.optimize import OPTIMIZERS
from labkit.toys.surfaces import SURFACES, Point, Surface, surface
from labkit.toys.trajectories import RATES, Walk, check, tune, walk

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

PICTURES = ("map", "losses", "state")
USUAL = ("sgd", "momentum", "adam")
LONGEST = 500  # steps, on the slider
SHOW_S = 6.0  # how long an animation takes
_STYLE = {"description_width": "104px"}


@dataclass(frozen=True)
class Setting:
    """What walks where: everything that the controls set."""

    surface: Surface
    lrs: tuple[tuple[str, float], ...]  # optimizers and their learning rates, in order
    arguments: Mapping[str, Mapping[str, Any]]  # of the optimizers, by name
    steps: int
    start: Point


class SurfacePanel:
    """Several optimizers walk over one toy surface, from one start.

    With `interactive=False` it walks to the end and shows static figures.

    Args:
        place: the name of a surface, or a `Surface`.
        optimizers: names in `OPTIMIZERS`.
        lr: one learning rate for all, or one for each by name; without, each gets the
            best that `surfaces.walks.tune` finds for it, which is what makes them comparable.
        steps: how many each may make.
        start: where; by default the surface's own start.
        optimizer_args: arguments of optimizers, by their name.
        look: whose memory to show; by default the last optimizer's.
        step: how far the pictures show the walks; by default to their ends.
        pictures: which to show, of "map", "losses" and "state".
        interactive: whether somebody is there to use it.
        executor: where walks are computed, for tests.
        **arguments: the surface's own, such as `condition=50`.

    Attributes:
        walks: by the optimizer's name.
        setting: what is walking now.

    Raises:
        LabError: an unknown name, a bad value, or an optimizer that cannot walk here.
    """

    def __init__(
        self,
        place: str | Surface = "ravine",
        *,
        optimizers: Sequence[str] = USUAL,
        lr: float | Mapping[str, float] | None = None,
        steps: int = 100,
        start: Point | None = None,
        optimizer_args: Mapping[str, Mapping[str, Any]] | None = None,
        look: str | None = None,
        step: int | None = None,
        pictures: Sequence[str] = PICTURES,
        interactive: bool = True,
        executor: Executor | None = None,
        **arguments: Any,
    ) -> None:
        ground = surface(place, **arguments)
        optimizers = tuple(dict.fromkeys(optimizers))
        if not optimizers:
            raise LabError("optimizers is empty: give at least one, such as ['sgd']")
        for name in optimizers:
            check(name)
        if unknown := [name for name in pictures if name not in PICTURES]:
            raise LabError(f"pictures={unknown} are not known: choose from {', '.join(PICTURES)}")
        self.pictures = tuple(pictures)
        self.interactive = interactive
        self.look = look or optimizers[-1]
        if self.look not in optimizers:
            raise LabError(f"look={look!r} does not walk here: choose from {', '.join(optimizers)}")
        self._step = step
        self._cache: dict[Any, Walk] = {}
        begin = ground.start if start is None else (float(start[0]), float(start[1]))
        own = {name: dict((optimizer_args or {}).get(name, {})) for name in optimizers}
        bare = Setting(ground, tuple((name, 1.0) for name in optimizers), own, steps, begin)
        if isinstance(lr, Mapping):
            rates: Mapping[str, float] = lr
            if missing := [name for name in optimizers if name not in rates]:
                raise LabError(f"lr has no learning rate for {', '.join(missing)}")
        else:
            rates = self._fair(bare, optimizers) if lr is None else dict.fromkeys(optimizers, lr)
        self._tuned_for = self._circumstances(bare) if lr is None else None
        self.setting = replace(bare, lrs=tuple((name, float(rates[name])) for name in optimizers))
        self.walks = self._compute(self.setting)
        self._walked = self.setting  # the last that could be
        if interactive:
            self._executor = executor or ThreadExecutor("labkit-walk")
            self._build()

    # --- what it computes ----------------------------------------------------------------

    @staticmethod
    def _circumstances(setting: Setting) -> tuple[Any, ...]:
        """What the best learning rate of an optimizer depends on."""
        return setting.surface, setting.steps, setting.start, setting.arguments

    @staticmethod
    def _fair(setting: Setting, names: Sequence[str]) -> dict[str, float]:
        """The learning rate that `tune` finds for each of some optimizers."""
        return {
            name: tune(
                setting.surface,
                name,
                steps=setting.steps,
                start=setting.start,
                optimizer_args=setting.arguments.get(name),
            )
            for name in names
        }

    def _compute(self, setting: Setting) -> dict[str, Walk]:
        """All walks of a setting; those that are known already are not walked again."""
        walks = {}
        for name, lr in setting.lrs:
            own = setting.arguments.get(name, {})
            key = (setting.surface, name, lr, tuple(own.items()), setting.steps, setting.start)
            if key not in self._cache:
                self._cache[key] = walk(
                    setting.surface,
                    name,
                    lr,
                    steps=setting.steps,
                    start=setting.start,
                    optimizer_args=own,
                )
            walks[name] = self._cache[key]
        while len(self._cache) > 64:
            del self._cache[next(iter(self._cache))]
        return walks

    def _specs(self) -> dict[str, Any]:
        """The spec of each picture."""
        walks, step = self.walks, self._step
        ground = next(iter(walks.values())).surface
        labelled = {f"{name}, lr {w.lr:g}": w for name, w in walks.items()}
        looked = walks.get(self.look) or next(iter(walks.values()))
        makers = {
            "map": lambda: surface_map.spec(
                *ground.grid(), labelled, minima=ground.minima, saddles=ground.saddles, step=step
            ),
            "losses": lambda: walk_losses.spec(labelled, step=step),
            "state": lambda: walk_state.spec(looked, step=step),
        }
        return {name: makers[name]() for name in self.pictures}

    def figures(self) -> list[go.Figure]:
        """Static figures of what is shown."""
        import plotly.graph_objects as go

        return [go.Figure(spec) for spec in self._specs().values()]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if self.interactive:
            display(self.widget)
        else:
            display(*self.figures())

    # --- widgets -------------------------------------------------------------------------

    def _build(self) -> None:
        import ipywidgets as widgets

        from labkit.panels.live_figure import LiveFigure
        from labkit.panels.painter import Painter

        self._lock = threading.Lock()
        self._job: tuple[Setting, tuple[str, ...]] | None = None
        self._working = self._filling = self._playing = False
        self._began = (0.0, 0)
        wide = widgets.Layout(width="auto")
        self.chooser = widgets.Dropdown(
            options=SURFACES.names(),
            value=self.setting.surface.name,
            description="surface",
            style=_STYLE,
            layout=wide,
        )
        self.chooser.observe(lambda change: self._choose(change["new"]), "value")
        self.about = widgets.HTML()
        self.arguments = widgets.VBox()
        self.steps = widgets.IntSlider(
            min(self.setting.steps, LONGEST),
            10,
            LONGEST,
            10,
            description="steps",
            tooltip="how many steps each may make",
            continuous_update=False,
            style=_STYLE,
            layout=wide,
        )
        self.steps.observe(lambda change: self._set(steps=change["new"]), "value")
        self.rows = widgets.VBox()
        self.add = widgets.Dropdown(
            options=[("add an optimizer …", "")],
            value="",
            layout=wide,
            description="",
        )
        self.add.observe(lambda change: self._add(change["new"]), "value")
        self.tune = widgets.Button(
            description="Fair learning rates",
            tooltip=f"give each the best of {len(RATES)} rates, from this start, in these steps",
            icon="balance-scale",
            layout=wide,
        )
        self.tune.on_click(lambda _button: self._tune())
        self.looker = widgets.Dropdown(
            options=[self.look],
            value=self.look,
            description="look inside",
            tooltip="whose memory the last picture shows",
            style=_STYLE,
            layout=wide,
        )
        self.looker.observe(lambda change: self._look(change["new"]), "value")
        self.inside = widgets.VBox()
        self.message = widgets.HTML()
        self.play = widgets.Button(
            description="Play",
            icon="play",
            button_style="primary",
            tooltip="walk step by step",
            layout=wide,
        )
        self.play.on_click(lambda _button: self._toggle())
        self.time = widgets.IntSlider(
            self.setting.steps,
            0,
            self.setting.steps,
            description="step",
            tooltip="how far the pictures show the walks",
            style={"description_width": "40px"},
            layout=widgets.Layout(flex="1 1 260px", width="auto", max_width="480px"),
        )
        self.time.observe(lambda change: self._scrub(change["new"]), "value")
        self.status = widgets.HTML()
        self._live = {name: LiveFigure() for name in self.pictures}
        if "map" in self._live:
            self._live["map"].on_click(self._clicked)
        half = widgets.Layout(flex="1 1 340px", min_width="300px")
        below = [
            widgets.VBox([self._live[name]], layout=half) for name in self.pictures if name != "map"
        ]
        pictures = [self._live["map"]] if "map" in self._live else []
        controls = widgets.VBox(
            [
                self.chooser,
                self.about,
                self.arguments,
                self.steps,
                widgets.HTML("<b>learning rates</b>"),
                self.rows,
                widgets.HBox([self.add, self.tune], layout={"flex_flow": "row wrap"}),
                self.looker,
                self.inside,
                self.message,
            ],
            layout=widgets.Layout(flex="1 1 300px", min_width="300px", max_width="370px"),
        )
        show = widgets.VBox(
            [
                widgets.HBox([self.play, self.time], layout={"flex_flow": "row wrap"}),
                self.status,
                *pictures,
            ],
            layout=widgets.Layout(flex="3 1 480px", min_width="320px"),
        )
        wrap = {"flex_flow": "row wrap"}
        self.widget: ipywidgets.Widget = widgets.VBox(
            [widgets.HBox([controls, show], layout=wrap), widgets.HBox(below, layout=wrap)]
        )
        self._painter = Painter(self._frame, self._tell, lambda: self._playing)
        self._fill()
        self._painter.paint()

    def _fill(self) -> None:
        """Make every control show the setting."""
        from labkit.panels.controls import control

        self._filling = True
        try:
            ground = self.setting.surface
            self.chooser.value = ground.name
            self.about.value = (
                f"<div style='line-height:1.35'>{html.escape(ground.entry.summary)}<br>"
                f"<code>{html.escape(ground.entry.formula)}</code></div>"
            )
            if getattr(self.arguments, "shows", None) != ground.name:
                made = {}
                for name, parameter in ground.entry.parameters().items():
                    value = ground.arguments.get(name, parameter.default)
                    made[name] = control(parameter, value)
                    made[name].observe(self._turn(name), "value")
                self.arguments.children = tuple(made.values())
                self.arguments.shows = ground.name
            self.time.max = self.setting.steps
            self._fill_rows()
            self._fill_inside()
            self._shown = (ground.name, self._names)
        finally:
            self._filling = False

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.setting.lrs)

    def _fill_rows(self) -> None:
        """A row for each optimizer: its colour, its learning rate, a button to remove it."""
        import ipywidgets as widgets

        from labkit.panels.controls import LogSlider

        names = self._names
        if getattr(self.rows, "shows", None) != names:
            self.rates: dict[str, Any] = {}
            rows = []
            colors = walk_colors(self.walks)
            for name, lr in self.setting.lrs:
                dot = widgets.HTML(
                    f"<span style='color:{colors.get(name, theme.INK)};font-size:18px' "
                    "aria-hidden='true'>●</span>"
                )
                self.rates[name] = LogSlider(
                    1e-4,
                    10.0,
                    lr,
                    description=name,
                    tooltip=f"learning rate of {name}",
                    continuous_update=True,
                    style={"description_width": "86px"},
                    layout=widgets.Layout(flex="1 1 auto", width="auto"),
                )
                self.rates[name].observe(self._rate(name), "value")
                remove = widgets.Button(
                    icon="times",
                    tooltip=f"take {name} off the map",
                    disabled=len(names) == 1,
                    layout=widgets.Layout(width="34px"),
                )
                remove.on_click(lambda _button, name=name: self._remove(name))
                rows.append(widgets.HBox([dot, self.rates[name], remove]))
            self.rows.children = tuple(rows)
            self.rows.shows = names
            rest = [name for name in OPTIMIZERS.names() if name not in names]
            self.add.options = [("add an optimizer …", ""), *((name, name) for name in rest)]
            self.add.value = ""
            if self.look not in names:
                self.look = names[-1]
            self.looker.options = names
            self.looker.value = self.look
        for name, lr in self.setting.lrs:
            self.rates[name].show(lr)

    def _fill_inside(self) -> None:
        """The arguments of the optimizer that is looked into."""
        from labkit.panels.controls import control

        if getattr(self.inside, "shows", None) == self.look:
            return
        own = self.setting.arguments.get(self.look, {})
        made = []
        for name, parameter in OPTIMIZERS[self.look].parameters().items():
            widget = control(parameter, own.get(name, parameter.default))
            widget.observe(self._argue(self.look, name), "value")
            made.append(widget)
        self.inside.children = tuple(made)
        self.inside.shows = self.look

    # --- what the controls do ------------------------------------------------------------

    def _set(self, **changes: Any) -> None:
        """Walk another setting, unless it is the controls that are being set."""
        if not self._filling:
            self._walk(replace(self.setting, **changes))

    def _choose(self, name: str) -> None:
        if not self._filling:
            ground = Surface(name)
            self._walk(replace(self.setting, surface=ground, start=ground.start), self._names)

    def _turn(self, name: str) -> Any:
        def turned(change: dict[str, Any]) -> None:
            ground = self.setting.surface
            self._set(surface=Surface(ground.name, {**ground.arguments, name: change["new"]}))

        return turned

    def _rate(self, name: str) -> Any:
        def moved(change: dict[str, Any]) -> None:
            if not self._filling:
                self._tuned_for = None
                lrs = {**dict(self.setting.lrs), name: float(change["new"])}
                self._set(lrs=tuple(lrs.items()))

        return moved

    def _argue(self, optimizer: str, name: str) -> Any:
        def turned(change: dict[str, Any]) -> None:
            own = {**self.setting.arguments.get(optimizer, {}), name: change["new"]}
            self._set(arguments={**self.setting.arguments, optimizer: own})

        return turned

    def _add(self, name: str) -> None:
        if self._filling or not name:
            return
        try:
            check(name)
        except LabError as error:
            self._say(str(error))
            self.add.value = ""
            return
        self._walk(replace(self.setting, lrs=(*self.setting.lrs, (name, 0.01))), (name,))

    def _remove(self, name: str) -> None:
        lrs = tuple((other, lr) for other, lr in self.setting.lrs if other != name)
        if lrs:
            self._set(lrs=lrs)

    def _tune(self) -> None:
        self._walk(self.setting, self._names)

    def _look(self, name: str) -> None:
        if not self._filling and name:
            self.look = name
            self._fill()
            self._painter.paint()

    def _clicked(self, point: dict[str, Any]) -> None:
        if point.get("x") is not None and point.get("y") is not None:
            self._set(start=(float(point["x"]), float(point["y"])))

    def _walk(self, setting: Setting, tuned: tuple[str, ...] = ()) -> None:
        """Walk a setting off this thread; of several that come fast, the last one counts.

        Args:
            setting: what to walk.
            tuned: the optimizers whose learning rates to find first.
        """
        self._stop()
        self.setting = setting
        with self._lock:
            self._job = (setting, tuned)
            if self._working:
                return
            self._working = True
        self._executor.submit(self._work)

    def _work(self) -> None:
        try:
            while True:
                with self._lock:
                    job, self._job = self._job, None
                    if job is None:
                        self._working = False
                        return
                self._do(*job)
        except BaseException:
            with self._lock:
                self._working = False
            raise

    def _do(self, setting: Setting, tuned: tuple[str, ...]) -> None:
        try:
            if tuned:
                self.status.value = _note("Looking for fair learning rates …")
                rates = dict(setting.lrs) | self._fair(setting, tuned)
                setting = replace(setting, lrs=tuple(rates.items()))
                if tuned == tuple(rates):
                    self._tuned_for = self._circumstances(setting)
            walks = self._compute(setting)
        except LabError as error:
            self.setting = self._walked
            self._say(str(error))
            self._fill()
            return
        if self._job is not None:
            return  # there is news already
        # A slider that somebody drags is not to be moved: fill only what is not theirs.
        moved = tuned or self._shown != (setting.surface.name, tuple(walks))
        self.setting = self._walked = setting
        self.walks, self._step = walks, None
        self._say("")
        if moved:
            self._fill()
        self.time.max = setting.steps
        self._painter.paint()

    def _say(self, message: str) -> None:
        self.message.value = (
            "<div role='alert' style='color:var(--jp-error-color1,#b00);line-height:1.3'>"
            f"{html.escape(message)}</div>"
            if message
            else ""
        )

    # --- time ----------------------------------------------------------------------------

    def _toggle(self) -> None:
        if self._playing:
            self._stop()
            return
        end = max(walk.steps for walk in self.walks.values())
        at = self._step if self._step is not None and self._step < end else 0
        self._began = (time.monotonic(), at)
        self._step, self._playing = at, True
        self._painter.start()

    def _stop(self) -> None:
        if self._playing:
            self._playing = False
            self._painter.join(2.0)

    def _scrub(self, step: int) -> None:
        """Somebody moved the slider (and not the animation, which sets what it shows)."""
        shown = self.time.max if self._step is None else self._step
        if step != shown:
            self._stop()
            self._step = step
            self._painter.paint()

    def _frame(self) -> dict[Any, Any]:
        """The pictures, with time moved on while it plays."""
        if self._playing:
            began, at = self._began
            end = max(walk.steps for walk in self.walks.values())
            self._step = at + int((time.monotonic() - began) * max(end / SHOW_S, 8.0))
            if self._step >= end:
                self._step, self._playing = end, False
        return {self._live[name]: spec for name, spec in self._specs().items()}

    def _tell(self) -> None:
        shown = self.setting.steps if self._step is None else min(self._step, self.time.max)
        if self.time.value != shown:
            self.time.value = shown
        self.play.description, self.play.icon = (
            ("Pause", "pause") if self._playing else ("Play", "play")
        )
        x, y = self.setting.start
        ends = " · ".join(
            f"<b>{html.escape(name)}</b> {html.escape(one.message)}"
            for name, one in self.walks.items()
        )
        rates = "The learning rates are yours."
        if len(self.walks) > 1:
            rates += " A comparison is fair only where each has its best."
        if self._tuned_for == self._circumstances(self.setting):
            rates = f"Each has the best of {len(RATES)} learning rates."
        elif self._tuned_for is not None:
            rates = "Learning rates were the best for other settings: press Fair learning rates."
        line = _note(
            f"{ends}<br>Start ({x:.2f}, {y:.2f}): <b>click on the map</b> to start elsewhere. "
            f"{rates}",
            plain=False,
        )
        if self.status.value != line:
            self.status.value = line


def _note(text: str, *, plain: bool = True) -> str:
    words = html.escape(text) if plain else text
    return f"<div role='status' style='line-height:1.35'>{words}</div>"
