"""Findings from the loss: steps too long or too short, and overfitting."""

from __future__ import annotations

import numpy as np

from labkit.core.formatting import number
from labkit.diagnosis.evidence import FEW_LOSSES, Evidence, tail
from labkit.diagnosis.words import change, remedy
from labkit.training.findings import Finding
from labkit.training.remedies import longer_steps, shorter_steps, usual_lr

FEW_STEPS = 20  # fewer say nothing about where a loss is going
RISEN = 1.5  # times the start's loss, or a guess's: the noise of batches is smaller
LEAP = 3.0  # times the start's loss, or a guess's: no single batch is that hard
SWING = 0.05  # of a guess's loss, from one evaluation to the next: noise is smaller
RISES = 0.3  # share of changes that go up: a loss that falls steeply has few
LEVEL = 0.2  # of a guess's loss: swings about a lower one are those of a run that learnt
SHORT_UPDATE = 2e-4  # of the weights in one step; the rule of thumb is 1e-3
MOVED_LITTLE = 0.9  # of the start's loss is still there
OVERFIT = 1.3  # times the lowest validation loss
OVERFIT_RISE = 0.1  # of a guess's loss: less is noise of a small validation set


def diverged(run: Evidence) -> Finding | None:
    """The finding that the run itself recorded when its loss was no longer finite."""
    found = run.history.finding
    return Finding(**found) if found else None


def diverging(run: Evidence) -> Finding | None:
    """A loss that is finite, but far larger than at the start."""
    losses = run.losses
    if not run.judgeable:
        return None
    start, end = max(float(losses[0]), run.guess), tail(losses)
    if not end >= RISEN * start:
        return None
    changes = change(shorter_steps, run, run.lr)
    return Finding(
        "lr_too_high_diverging",
        f"The loss went up instead of down: {number(losses[0])} at the start, "
        f"{number(losses.max())} at its worst and about {number(end)} at step {run.steps:,}. "
        f"A learning rate of {number(run.lr)} throws the weights far beyond the valley.",
        remedy("Take shorter steps", changes),
        {"step": run.steps, "lr": run.lr, "start": float(losses[0]), "end": end},
        changes,
    )


def broken(run: Evidence) -> Finding | None:
    """One step that was far too long: the loss came back, but nothing is learnt any more."""
    losses, (steps, batches) = run.losses, run.history.curve("loss")
    if not run.judgeable or not len(batches) or not tail(losses) >= MOVED_LITTLE * run.guess:
        return None
    peak, step = float(batches.max()), int(steps[batches.argmax()])
    if not peak >= LEAP * max(float(losses[0]), run.guess):
        return None
    changes = change(shorter_steps, run, run.lr)
    return Finding(
        "lr_too_high_diverging",
        f"The loss leapt from {number(losses[0])} to {number(peak)} at step {step:,}, and "
        f"came back no lower than a guess's: {number(tail(losses))} at step {run.steps:,}. "
        f"A step with a learning rate of {number(run.lr)} has broken the weights.",
        remedy("Take shorter steps", changes),
        {
            "step": step,
            "lr": run.lr,
            "start": float(losses[0]),
            "peak": peak,
            "end": tail(losses),
        },
        changes,
    )


def oscillating(run: Evidence) -> Finding | None:
    """A loss that goes up and down without getting lower."""
    late = run.losses[len(run.losses) // 2 :]
    if len(late) < FEW_LOSSES or run.steps < FEW_STEPS:
        return None
    moves = np.diff(late)
    swing, rises = float(np.median(np.abs(moves))), float((moves > 0).mean())
    if not (swing >= SWING * run.guess and rises >= RISES and late.mean() >= LEVEL * run.guess):
        return None
    changes = change(shorter_steps, run, run.lr)
    return Finding(
        "lr_too_high_oscillating",
        f"The loss jumps up and down instead of settling: in the second half of the run it "
        f"changes by {number(swing)} from one evaluation to the next, between "
        f"{number(late.min())} and {number(late.max())}. "
        f"Steps with a learning rate of {number(run.lr)} jump across the valley.",
        remedy("Take shorter steps", changes),
        {"step": run.steps, "lr": run.lr, "swing": swing, "rises": rises},
        changes,
    )


def lr_too_low(run: Evidence) -> Finding | None:
    """A loss that goes down, by steps too short to get anywhere."""
    losses = run.losses
    if not run.judgeable or run.steps < FEW_STEPS:
        return None
    if run.recipe is not None and run.lr >= usual_lr(run.recipe):
        return None  # the learning rate is not what makes the steps short
    third = len(losses) // 3
    before, after = float(losses[:third].mean()), float(losses[-third:].mean())
    ratio = run.update_ratio
    if not (ratio <= SHORT_UPDATE and MOVED_LITTLE * losses[0] <= losses[-1] and after < before):
        return None
    changes = change(longer_steps, run, run.lr)
    return Finding(
        "lr_too_low",
        f"The loss is still falling, but slowly: from {number(losses[0], 4)} to "
        f"{number(losses[-1], 4)} in {run.steps:,} steps. An update changes the weights by "
        f"{number(ratio)} of their size; about 1/1000 is usual.",
        remedy("Take longer steps", changes),
        {"step": run.steps, "lr": run.lr, "update_ratio": ratio},
        changes,
    )


def overfitting(run: Evidence) -> Finding | None:
    """A validation loss that turned up while the training loss went on falling."""
    steps, val = run.history.curve("val_loss")
    _, train = run.history.curve("train_loss")
    if len(val) < FEW_LOSSES or not np.isfinite(val).all():
        return None
    best = int(val.argmin())
    low, end = float(val[best]), tail(val)
    rise = max(OVERFIT * low, low + OVERFIT_RISE * run.guess)
    if not (end >= rise and tail(train) < MOVED_LITTLE * train[best]):
        return None
    at = int(steps[best])
    changes = {"steps": at} if at and run.recipe else {}
    return Finding(
        "overfitting",
        f"The network memorizes its samples: the validation loss was {number(low)} at step "
        f"{at:,} and is {number(end)} now, while the training loss fell from {number(train[best])} "
        f"to {number(tail(train))}.",
        remedy("Stop earlier", changes) + " More samples, weight decay or a smaller network "
        "help, too.",
        {"step": at, "lowest": low, "end": end, "training": tail(train)},
        changes,
    )
