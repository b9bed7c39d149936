"""Optimizers on a map: choose a surface, click where to start, and watch them walk."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.figures import surface_map, theme, walk_losses, walk_state
from labkit.figures.base import Spec
from labkit.figures.surface import walk_colors
from labkit.panels.base import Panel
from labkit.panels.markup import write
from labkit.panels.surface_setting import Setting, Walks
from labkit.recipe.optimize import OPTIMIZERS
from labkit.toys.surfaces import SURFACES, Point, Surface, surface
from labkit.toys.trajectories import RATES, Walk, check

if TYPE_CHECKING:
    import ipywidgets

    from labkit.panels.live_figure import LiveFigure

PICTURES = ("map", "losses", "state")
USUAL = ("sgd", "momentum", "adam")
LONGEST = 500  # steps, on the slider
SHOW_S = 6.0  # how long an animation takes
NEW_LR = 0.01  # of an optimizer that is added, until the best is found
CHOOSE = ("add an optimizer …", "")


class SurfacePanel(Panel):
    """Several optimizers walk over one toy surface, from one start.

    With `interactive=False` it walks to the end and shows static figures.

    Args:
        place: the name of a surface, or a `Surface`.
        optimizers: names in `OPTIMIZERS`.
        lr: one learning rate for all, or one for each by name; without, each gets the
            best that `labkit.toys.trajectories.tune` finds for it: so they are comparable.
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
        super().__init__(interactive=interactive, executor=executor)
        ground = surface(place, **arguments)
        optimizers = tuple(dict.fromkeys(optimizers))
        if unknown := [name for name in pictures if name not in PICTURES]:
            raise LabError(f"pictures={unknown} are not known: choose from {', '.join(PICTURES)}")
        self.pictures = tuple(pictures)
        self.setting = Setting.of(
            ground,
            optimizers,
            lr,
            arguments=optimizer_args or {},
            steps=steps,
            start=ground.start if start is None else (float(start[0]), float(start[1])),
        )
        self.look = look or optimizers[-1]
        if self.look not in optimizers:
            raise LabError(f"look={look!r} does not walk here: choose from {', '.join(optimizers)}")
        self._step = step
        self._playing, self._began = False, (0.0, 0)
        self._to_tune: set[str] = set()  # optimizers whose best learning rate is wanted
        self._tuned_for = self.setting.circumstances if lr is None else None
        self._known = Walks()
        self.walks = self._known.of(self.setting)
        self._walked = self.setting  # the last that could be
        self._open()

    # --- pictures --------------------------------------------------------------------------

    def _specs(self) -> dict[str, Spec]:
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

    def _tell(self) -> None:
        shown = self.setting.steps if self._step is None else min(self._step, self.time.max)
        with self.edits.filling():
            self.time.value = shown
        self.play.description, self.play.icon = (
            ("Pause", "pause") if self._playing else ("Play", "play")
        )
        x, y = self.setting.start
        ends = " · ".join(
            f"<b>{html.escape(name)}</b> {html.escape(one.message)}"
            for name, one in self.walks.items()
        )
        write(
            self.status,
            _note(
                f"{ends}<br>Start ({x:.2f}, {y:.2f}): <b>click on the map</b> to start elsewhere. "
                f"{self._rates_words()}"
            ),
        )

    def _rates_words(self) -> str:
        """Whether the learning rates make a fair comparison."""
        if self._tuned_for == self.setting.circumstances:
            return f"Each has the best of {len(RATES)} learning rates."
        if self._tuned_for is not None:
            return "Learning rates were the best for other settings: press Fair learning rates."
        words = "The learning rates are yours."
        if len(self.walks) > 1:
            words += " A comparison is fair only where each has its best."
        return words

    # --- controls --------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        import ipywidgets as widgets

        from labkit.panels import parts
        from labkit.panels.entry_arguments import EntryArguments
        from labkit.panels.fields import STYLE
        from labkit.panels.rate_rows import RateRows

        wide = widgets.Layout(width="auto")
        self.chooser = parts.menu(
            "surface", SURFACES.names(), self.setting.surface.name, label="104px"
        )
        self.on_edit(self.chooser, self._choose)
        self.about = widgets.HTML()
        self.arguments = EntryArguments(
            lambda widget, name: self.on_edit(widget, lambda value: self._turn(name, value))
        )
        self.steps = widgets.IntSlider(
            min(self.setting.steps, LONGEST),
            10,
            LONGEST,
            10,
            description="steps",
            tooltip="how many steps each may make",
            continuous_update=False,
            style=STYLE,
            layout=wide,
        )
        self.on_edit(self.steps, lambda steps: self._set(steps=steps))
        self.rows = RateRows(
            lambda slider, name: self.on_edit(slider, lambda lr: self._rate(name, lr)),
            lambda button, name: self.on_click(button, lambda: self._remove(name)),
        )
        self.add = parts.menu("", [CHOOSE], "")
        self.on_edit(self.add, self._add)
        self.tune = parts.button(
            "Fair learning rates",
            "balance-scale",
            f"give each the best of {len(RATES)} rates, from this start, in these steps",
        )
        self.on_click(self.tune, lambda: self._walk(self.setting, self.setting.names))
        self.looker = parts.menu(
            "look inside",
            self.setting.names,
            self.look,
            "whose memory the last picture shows",
            label="104px",
        )
        self.on_edit(self.looker, self._look)
        self.inside = EntryArguments(self._observe_inside)
        self.play = parts.button("Play", "play", "walk step by step", style="primary")
        self.on_click(self.play, self._toggle)
        self.time = widgets.IntSlider(
            self.setting.steps,
            0,
            self.setting.steps,
            description="step",
            tooltip="how far the pictures show the walks",
            style={"description_width": "40px"},
            layout=widgets.Layout(flex="1 1 260px", width="auto", max_width="480px"),
        )
        self.on_edit(self.time, self._scrub)
        if "map" in self.live:
            self.live["map"].on_click(self.guard(self._clicked))
        return [
            self.chooser,
            self.about,
            self.arguments,
            self.steps,
            widgets.HTML("<b>learning rates</b>"),
            self.rows,
            parts.row(self.add, self.tune),
            self.looker,
            self.inside,
        ]

    @property
    def rates(self) -> dict[str, Any]:
        """The sliders of the learning rates, by the optimizer's name."""
        return self.rows.rates

    def _layout(self, controls: Sequence[Any]) -> ipywidgets.Widget:
        from labkit.panels import parts

        above = [parts.row(self.play, self.time), self.status]
        above += [self.live["map"]] if "map" in self.live else []
        below = [figure for name, figure in self.live.items() if name != "map"]
        return parts.column(
            parts.beside([*controls, self.message], above, width=300), parts.halves(*below)
        )

    def _fill(self) -> None:
        setting, ground = self.setting, self.setting.surface
        self.chooser.value = ground.name
        self.about.value = (
            f"<div style='line-height:1.35'>{html.escape(ground.entry.summary)}<br>"
            f"<code>{html.escape(ground.entry.formula)}</code></div>"
        )
        self.arguments.show(ground.entry, ground.arguments)
        self.steps.value = min(setting.steps, LONGEST)
        self.time.max = setting.steps
        colors = walk_colors(self.walks)
        self.rows.show(setting.lrs, {name: colors.get(name, theme.INK) for name in setting.names})
        rest = [name for name in OPTIMIZERS.names() if name not in setting.names]
        self.add.options = [CHOOSE, *((name, name) for name in rest)]
        self.add.value = ""
        if self.look not in setting.names:
            self.look = setting.names[-1]
        self.looker.options, self.looker.value = setting.names, self.look
        self.inside.show(OPTIMIZERS[self.look], setting.arguments.get(self.look, {}))
        self._shown = ground.name, setting.names

    # --- what the controls do --------------------------------------------------------------

    def _set(self, **changes: Any) -> None:
        self._walk(replace(self.setting, **changes))

    def _choose(self, name: str) -> None:
        ground = Surface(name)
        moved = replace(self.setting, surface=ground, start=ground.start)
        self._walk(moved, self.setting.names)

    def _turn(self, name: str, value: Any) -> None:
        ground = self.setting.surface
        self._set(surface=Surface(ground.name, {**ground.arguments, name: value}))

    def _rate(self, name: str, lr: float) -> None:
        self._tuned_for = None
        self._walk(self.setting.with_rates({name: lr}))

    def _observe_inside(self, widget: Any, name: str) -> None:
        optimizer = self.look  # somebody may look into another one later

        def argue(value: Any) -> None:
            own = {**self.setting.arguments.get(optimizer, {}), name: value}
            self._set(arguments={**self.setting.arguments, optimizer: own})

        self.on_edit(widget, argue)

    def _add(self, name: str) -> None:
        if name:
            check(name)
            self._walk(replace(self.setting, lrs=(*self.setting.lrs, (name, NEW_LR))), (name,))

    def _remove(self, name: str) -> None:
        lrs = tuple((other, lr) for other, lr in self.setting.lrs if other != name)
        if lrs:
            self._set(lrs=lrs)

    def _look(self, name: str) -> None:
        self.look = name
        self.fill()
        self.paint()

    def _clicked(self, point: dict[str, Any]) -> None:
        if point.get("x") is not None and point.get("y") is not None:
            self._set(start=(float(point["x"]), float(point["y"])))

    def _walk(self, setting: Setting, tune: Sequence[str] = ()) -> None:
        """Walk a setting, once the best learning rate is found for the optimizers in `tune`."""
        self._stop_playing()
        self.setting = setting
        self._to_tune |= set(tune)
        self.job.request(None)

    def _work(self, _request: None) -> None:
        with self.edits.lock:
            setting, tune = self.setting, self._to_tune & set(self.setting.names)
        try:
            if tune:
                write(self.status, _note("Looking for fair learning rates …"))
                setting = setting.tuned(list(tune))
            walks = self._known.of(setting)
        except Exception:
            with self.edits.lock:
                if not self.job.overtaken:
                    self.setting = self._walked
                    self._to_tune.clear()
                    self.fill()
            raise
        with self.edits.lock:  # no edit comes between: it would start from the old setting
            if not self.job.overtaken:
                self._adopt(setting, walks, tune)

    def _adopt(self, setting: Setting, walks: dict[str, Walk], tuned: set[str]) -> None:
        # A slider that somebody drags must not be moved: fill only what is not theirs.
        moved = tuned or self._shown != (setting.surface.name, tuple(walks))
        self.setting = self._walked = setting
        self.walks, self._step = walks, None
        self._to_tune.clear()
        if tuned == set(setting.names):
            self._tuned_for = setting.circumstances
        self.alert("")
        if moved:
            self.fill()
        with self.edits.filling():
            self.time.max = setting.steps
        self.paint()

    # --- time ------------------------------------------------------------------------------

    def _streaming(self) -> bool:
        return self._playing

    def stop(self) -> None:
        """End the walking, and the animation."""
        super().stop()
        self._playing = False

    def _toggle(self) -> None:
        if self._playing:
            self._stop_playing()
            return
        at = self._step if self._step is not None and self._step < self._end else 0
        self._began = (time.monotonic(), at)
        self._step, self._playing = at, True
        self.paint()

    def _stop_playing(self) -> None:
        if self._playing:
            self._playing = False
            self.painter.join(2.0)

    def _scrub(self, step: int) -> None:
        self._stop_playing()
        self._step = step
        self.paint()

    @property
    def _end(self) -> int:
        return max(walk.steps for walk in self.walks.values())

    def _frame(self) -> dict[LiveFigure, Spec]:
        """The pictures, with time moved on while it plays."""
        if self._playing:
            began, at = self._began
            self._step = at + int((time.monotonic() - began) * max(self._end / SHOW_S, 8.0))
            if self._step >= self._end:
                self._step, self._playing = self._end, False
        return super()._frame()


def _note(words: str) -> str:
    return f"<div role='status' style='line-height:1.35'>{words}</div>"
