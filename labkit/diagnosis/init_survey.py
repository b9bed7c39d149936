"""The signals of many networks before training, beside the results of training them."""

from __future__ import annotations

from typing import Any

from labkit.analysis.propagation import signals, spread
from labkit.diagnosis.causes import diagnose
from labkit.training.sweeps import Sweep


def survey(swept: Sweep, *, samples: int = 256) -> list[dict[str, Any]]:
    """One row for each member of a sweep, for a table or `figures.overview`.

    Args:
        swept: what `sweep` gave.
        samples: how many training samples are sent through each initial network.

    Returns:
        Rows with `init` (with its arguments, where given), `activation`, `depth` (hidden
        layers), `activation_std` (of the last hidden layer, before training),
        `gradient_std` (of the first layer, before training), `accuracy` (validation, after
        training; for regression `loss`; NaN where the run diverged) and `findings`.
    """
    recipes = swept.recipes
    regression = all(not recipe.entry("task").traits["classes"] for recipe in recipes)
    judged = "val_loss" if regression else "val_accuracy"
    rows = []
    for recipe, history, value in zip(recipes, swept.histories, swept.values(judged), strict=True):
        flow = signals(recipe, samples=samples)
        arguments = ", ".join(f"{key}={item}" for key, item in recipe.init_args.items())
        rows.append(
            {
                "init": recipe.init + (f"({arguments})" if arguments else ""),
                "activation": recipe.activation,
                "depth": len(recipe.hidden),
                "activation_std": spread(flow[-2].after)
                if recipe.hidden
                else spread(flow[0].before),
                "gradient_std": spread(flow[0].gradient),
                "loss" if regression else "accuracy": float(value),
                "findings": ", ".join(dict.fromkeys(f.kind for f in diagnose(history))),
            }
        )
    return rows
