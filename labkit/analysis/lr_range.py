"""The learning rate range test: let the rate grow while training, and see where it helps.

Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.core.errors import RecipeError
from labkit.core.threads import one_thread
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import Trainer

EXPLODED = 4.0  # times the loss at the start: there the test ends
CEILING = 2.0  # times the loss at the start: higher losses are clipped to this
SHORTEST = 20  # steps; fewer show no curve
FEWEST = 10  # losses; fewer have no shape
SKIPPED = 0.05  # share of the range, at its start, that is left out: the first steps
BUMP = 0.5  # share of the fall so far that, once lost again, ends the search
WIDTH = 0.035  # of the smoothing, as a standard deviation: a share of the range
NEIGHBOURS = 6  # points on each side at the least, where rates lie far apart
MEDIAN = 5  # points; (MEDIAN - 1) / 2 outliers in a row change nothing
STEEP = 0.5  # of the steepest slope: where the loss falls at least this fast, a rate still helps
DONE = 0.8  # share of the fall after which it may be slow: little is left to gain
LEARNS = 0.1  # share of the whole fall from which a rate is not too low
NOISE = 3.0  # standard errors of the smoothed loss, from which a fall is more than chance
TINY = 1e-3  # share of the loss; a smaller fall is none, however clear
MEDIANS_COST = 1.25  # the std of a median of noise over that of its mean


@dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Attributes:
        lrs: the learning rates tried, rising, `(n,)`.
        losses: the loss of the first batch *after* the update with each, `(n,)`.
        smoothed: the same without noise and spikes, `(n,)`; it has no lag. NaN
            for the very first rates, which do not count.
        suggestion: a learning rate to train with, or None where the test shows none.
        reason: why this one, or why none: a sentence with its numbers.
        steepest: the rate at which the smoothed loss fell fastest.
        lowest: the rate at which it was smallest: already too high to train with, because
            the curve is about to turn. Like `steepest` None without a suggestion.
        zone: the rates between which the network learns.
        exploded: whether the test ended because the loss had grown or was not finite.
        recipe: what was trained; its own learning rate and schedule were not used.
    """

    lrs: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    reason: str
    steepest: float | None = None
    lowest: float | None = None
    zone: tuple[float, float] | None = None
    exploded: bool = False
    recipe: Recipe | None = None

    def row(self) -> dict[str, Any]:
        """The facts as a table row."""
        return {
            "suggestion": self.suggestion if self.suggestion is not None else "none",
            "steepest at": self.steepest if self.steepest is not None else "-",
            "lowest loss at": self.lowest if self.lowest is not None else "-",
            "rates tried": len(self.lrs),
            "exploded": self.exploded,
        }


def range_test(
    recipe: Recipe, low: float = 1e-5, high: float = 10.0, steps: int = 200
) -> RangeTest:
    """Train from the recipe's initial weights while the learning rate rises from step to step.

    The rate grows by the same factor each time. The test ends early when the loss has
    grown to four times what it was, or is no longer finite.

    Args:
        recipe: what to train; its `lr`, `schedule` and `steps` are not used.
        low, high: the first and the last learning rate, within 1e-5 to 10.
        steps: how many rates to try, from 20.

    Raises:
        RecipeError: limits in the wrong order or out of range, too few steps, or an
            optimizer for which the learning rate means something else.
    """
    if not low < high:
        raise RecipeError(f"low={low:g} must be below high={high:g}, as in low=1e-5, high=10")
    if steps < SHORTEST:
        raise RecipeError(f"steps={steps} is too short to see a curve: give at least {SHORTEST}")
    if recipe.optimizer == "rprop":
        raise RecipeError(
            "a range test says nothing about optimizer='rprop': its learning rate is only the "
            "size of its very first step, and each weight adapts its own from there"
        )
    plain = recipe.replace(schedule="constant", lr=high, steps=steps + 1, patience=0)
    rates = np.geomspace(low, high, steps)
    plans = [plain.replace(lr=float(np.clip(rate, low, high))) for rate in rates]
    losses: list[float] = []
    with one_thread():
        trainer = Trainer(plain, record=False)
        for plan in [*plans, plans[-1]]:
            trainer.adjust(plan)
            step = trainer.advance()
            losses.append(step.loss if step is not None else math.inf)
            if step is None or _exploded(losses):
                break
    # A step's loss is that of its batch before its update: it judges the rate before it.
    seen = np.array(losses[1:])
    complete = len(seen) == steps and bool(np.isfinite(seen).all()) and not _exploded(losses)
    return judge(rates[: len(seen)], seen, exploded=not complete, recipe=recipe)


def _exploded(losses: list[float]) -> bool:
    """Whether the last few losses, and not just one, are far above the first few."""
    recent, first = losses[-MEDIAN:], losses[:MEDIAN]
    return len(losses) > 2 * MEDIAN and bool(np.median(recent) > EXPLODED * np.median(first))


def judge(
    lrs: np.ndarray, losses: np.ndarray, *, exploded: bool = False, recipe: Recipe | None = None
) -> RangeTest:
    """Smooth the losses of a range test and suggest a learning rate.

    The suggestion is the highest rate at which the smoothed loss still falls half as fast
    as at its steepest, per *factor* of the learning rate (the slope against log lr), before
    its first real turn upwards. Where the loss falls once that is a bit above the steepest
    place and below the lowest. Where it falls in two parts, a quick first gain at a small
    rate must not hide the second: most of the whole fall has to be done, too.

    Smoothing is centred, so the curve has no lag, and by local straight lines, so that it
    is true at the ends too; a running median goes first, so that outliers vanish.

    Args:
        lrs: the learning rates, rising, `(n,)`; any spacing.
        losses: the loss at each, `(n,)`; infinities and NaN are left out.
    """
    lrs, losses = np.asarray(lrs, np.float64), np.asarray(losses, np.float64)
    facts: dict[str, Any] = {"exploded": exploded or not np.isfinite(losses).all()}
    facts["recipe"] = recipe
    smoothed = np.full(len(losses), np.nan)
    kept = np.flatnonzero(np.isfinite(losses))
    kept = kept[_settled(np.log10(lrs[kept])) :]
    if len(kept) < FEWEST:
        number = int(np.isfinite(losses).sum())
        why = f"only {number} of {len(losses)} losses are numbers: let it start at a lower rate"
        return RangeTest(lrs, losses, smoothed, None, why, **facts)
    rates, seen = lrs[kept], losses[kept]
    # A loss that exploded must not affect the smoothed losses before it.
    seen = np.minimum(seen, CEILING * np.median(seen[:MEDIAN]))
    level, slope, share = _lines(np.log10(rates), _running_median(seen))
    smoothed[kept] = level
    # The noise of one loss: differences from one to the next, without the trend.
    noise = 1.4826 * float(np.median(np.abs(np.diff(seen)))) / math.sqrt(2)
    error = MEDIANS_COST * noise * share
    start = float(level[0])
    end = _turn(level, start, error)
    fall = start - float(level[end])
    if fall <= max(NOISE * math.hypot(error[0], error[end]), TINY * abs(start)):
        why = (
            f"the loss never fell by more than chance: it began at {start:.4g} and was "
            f"{level[end]:.4g} at best. Give the test more steps or larger batches, or check "
            "whether this network can learn at all"
        )
        return RangeTest(lrs, losses, smoothed, None, why, **facts)
    falling = slope[: end + 1]
    steepest = int(falling.argmin())
    steep = int(np.flatnonzero(falling <= STEEP * falling.min())[-1])
    done = (start - np.minimum.accumulate(level[: end + 1])) / fall
    begins, most = (int((done >= share).argmax()) for share in (LEARNS, DONE))
    best = max(steep, most)
    why = f"the loss falls fastest at {rates[steepest]:.2g} and "
    if best == steep:
        why += f"still half as fast at {rates[best]:.2g}"
    else:
        why += f"more slowly after that; {DONE:.0%} of its fall is done at {rates[best]:.2g}"
    why += f"; it is lowest at {rates[end]:.2g}"
    if end == len(level) - 1 and not facts["exploded"]:
        why += ", where the test ended: let it go on to higher rates"
    return RangeTest(
        lrs,
        losses,
        smoothed,
        float(rates[best]),
        why,
        float(rates[steepest]),
        float(rates[end]),
        (float(rates[begins]), float(rates[end])),
        **facts,
    )


def _turn(level: np.ndarray, start: float, error: np.ndarray) -> int:
    """The index of the minimum before the first real rise: later minima are luck."""
    least = np.minimum.accumulate(level)
    fall, risen = start - least, level - least
    turned = (risen > BUMP * fall) & (np.minimum(risen, fall) > NOISE * error)
    return int(level[: int(turned.argmax()) if turned.any() else len(level)].argmin())


def _settled(place: np.ndarray) -> int:
    """How many points at the start do not count."""
    if not len(place):
        return 0
    return max(MEDIAN, int(np.searchsorted(place, place[0] + SKIPPED * (place[-1] - place[0]))))


def _running_median(values: np.ndarray) -> np.ndarray:
    """Each value's median with its neighbours, always MEDIAN values: at the ends the outermost."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, MEDIAN), axis=1)
    return np.pad(medians, MEDIAN // 2, mode="edge")


def _lines(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each x the level and slope of the straight line through its neighbourhood.

    Weighted by a Gaussian in x (Cleveland 1979, locally weighted regression). The third
    array is the level's standard error for values that vary by 1.
    """
    offset = x[None, :] - x[:, None]
    far = np.sort(np.abs(offset), axis=1)[:, min(2 * NEIGHBOURS, len(x) - 1)]
    width = np.maximum(WIDTH * (x[-1] - x[0]), far / 2)[:, None]
    weight = np.exp(-0.5 * (offset / width) ** 2)
    total = weight.sum(axis=1)
    mean_x = (weight * offset).sum(axis=1) / total
    mean_y = (weight * y).sum(axis=1) / total
    centred = offset - mean_x[:, None]
    spread = (weight * centred**2).sum(axis=1)
    slope = (weight * centred * y).sum(axis=1) / np.maximum(spread, 1e-300)
    level = mean_y - slope * mean_x
    hat = weight / total[:, None] - (
        weight * centred * (mean_x / np.maximum(spread, 1e-300))[:, None]
    )
    return level, slope, np.sqrt((hat**2).sum(axis=1))
