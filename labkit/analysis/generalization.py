"""How a network does on data that it was not trained on, and what wrong labels do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import left_out
from labkit.training import predict
from labkit.training.history import History

_MOMENTS = 80  # about how many snapshots are evaluated


def accuracy(recipe: Recipe, weights: np.ndarray) -> tuple[float, float]:
    """Accuracy (the share of right answers) on all training and on all validation samples.

    Training accuracy counts the labels as they are, wrong ones included.

    Args:
        recipe: the network, and the samples.
        weights: all of them as one vector (`history.flat(step)`).

    Raises:
        LabError: a task without classes.
    """
    train, val = _right(recipe, weights, "train"), _right(recipe, weights, "val")
    return float(train.mean()), float(val.mean())


def by_class(recipe: Recipe, weights: np.ndarray) -> np.ndarray:
    """The share of right answers on the validation samples of each class, `(classes,)`.

    NaN for a class without a sample. Arguments and errors as for `accuracy`.
    """
    right, classes = _right(recipe, weights, "val"), recipe.data().val_targets.numpy()
    found = [right[classes == k] for k in range(recipe.data().classes)]
    return np.array([part.mean() if len(part) else np.nan for part in found])


def never_seen(recipe: Recipe) -> np.ndarray:
    """Which validation samples are of the kind that `recipe.missing` keeps from training.

    Returns:
        `(validation samples,)` booleans.
    """
    whole = recipe.replace(missing="nothing", train_share=1.0, label_noise=0.0).data()
    inputs = torch.cat([whole.val_inputs, whole.train_inputs])
    targets = torch.cat([whole.val_targets, whole.train_targets])
    gone = left_out(recipe.entry("task"), inputs, targets, recipe.missing)
    return gone[: len(whole.val_targets)].numpy()


def seen_and_not(recipe: Recipe, weights: np.ndarray) -> list[dict[str, Any]]:
    """How a network does on validation samples like those of its training set, and on others.

    The others are those of `never_seen`. Arguments and errors as for `accuracy`.

    Returns:
        A row for each of the two kinds that has samples: how many, the share of right
        answers, and the mean probability that the network gives its own answers.
    """
    data, unseen = recipe.data(), never_seen(recipe)
    right = _right(recipe, weights, "val")
    logits = predict.outputs(recipe, weights, data.val_inputs.numpy())
    sure = torch.softmax(torch.from_numpy(logits), 1).amax(1).numpy()
    return [
        {
            "validation samples": name,
            "count": int(chosen.sum()),
            "right": float(right[chosen].mean()),
            "how sure": float(sure[chosen].mean()),
        }
        for name, chosen in (("as in training", ~unseen), ("of a kind never seen", unseen))
        if chosen.any()
    ]


@dataclass(frozen=True)
class Memorization:
    """How much of the training set a run has learnt, by whether its labels are right.

    Attributes:
        steps: `(k,)`.
        right: `(k,)`, the share of rightly labelled samples that get their label.
        wrong: `(k,)`, the share of wrongly labelled samples that get their *wrong* label.
        val: `(k,)`, the share of validation samples that get their label.
    """

    steps: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    val: np.ndarray

    def first(self, split: str, share: float) -> int | None:
        """The first step at which `right`, `wrong` or `val` reached a share; None if never."""
        reached = np.flatnonzero(getattr(self, split) >= share)
        return int(self.steps[reached[0]]) if len(reached) else None


def memorization(history: History, recipe: Recipe) -> Memorization:
    """Follow a run with wrong labels: what it learns first, and what later.

    Arpit et al. (2017), "A Closer Look at Memorization in Deep Networks", section 4: of
    real data, networks learn what samples have in common before they learn exceptions.

    Raises:
        LabError: a task without classes, or a recipe whose labels are all right or wrong.
    """
    data = recipe.data()
    mislabelled = data.mislabelled.numpy()
    if not mislabelled.any() or mislabelled.all():
        raise LabError(
            f"label_noise={recipe.label_noise:g} leaves nothing to compare among "
            f"{len(mislabelled)} training samples: use a share in between, such as 0.2"
        )
    kept, snapshots = history.snapshots()
    # Most happens in the beginning: evenly spaced in the logarithm of the step.
    wanted = np.geomspace(1, max(1, history.last_step), _MOMENTS)
    chosen = np.unique(np.searchsorted(kept, [0, *wanted.astype(int)]).clip(0, len(kept) - 1))
    steps = kept[chosen]
    found = []
    for weights in snapshots[chosen]:
        train = _right(recipe, weights, "train")
        val = _right(recipe, weights, "val")
        found.append((train[~mislabelled].mean(), train[mislabelled].mean(), val.mean()))
    right, wrong, val = np.array(found).T
    return Memorization(steps, right, wrong, val)


def size(history: History, step: int | None = None) -> dict[str, float]:
    """How large a network's weights are, and how far from where they began.

    Args:
        history: the run.
        step: the weights at the kept step nearest to it; the latest by default.

    Returns:
        `norm` and `largest` of all weights, and their `distance` from the initial ones.
    """
    now = history.flat(step).astype(np.float64)
    return {
        "norm": float(np.linalg.norm(now)),
        "largest": float(np.abs(now).max()),
        "distance": float(np.linalg.norm(now - history.flat(0))),
    }


def row(recipe: Recipe, history: History, step: int | None = None) -> dict[str, Any]:
    """One line of a results table: samples, accuracies, their gap, and the weights' size.

    Args:
        recipe, history: the run.
        step: judge the weights at the kept step nearest to it; the latest by default.
    """
    train, val = accuracy(recipe, history.flat(step))
    best = history.best_step()
    return {
        "training samples": len(recipe.data().train_inputs),
        "train accuracy": train,
        "val accuracy": val,
        "gap": train - val,
        **size(history, step),
        "best step": best,
        "step": history.last_step if step is None else step,
    }


def _right(recipe: Recipe, weights: np.ndarray, split: str) -> np.ndarray:
    """Which samples of a split get their label."""
    data = recipe.data()
    if not data.classes:
        raise LabError(
            f"task={recipe.task!r} has no classes, so it has no accuracy: use one with classes, "
            "such as moons"
        )
    inputs, targets = getattr(data, f"{split}_inputs"), getattr(data, f"{split}_targets")
    return predict.outputs(recipe, weights, inputs.numpy()).argmax(1) == targets.numpy()
