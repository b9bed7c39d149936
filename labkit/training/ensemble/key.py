"""Which recipes can be trained together, as one ensemble."""

from __future__ import annotations

from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import Data
from labkit.training.ensemble.stack import can_stack


def ensemble_key(recipe: Recipe) -> tuple[object, ...] | None:
    """What members of one ensemble have in common; None where a recipe is trained alone.

    These are recipes with optimizers that see more than one weight at a time (LBFGS, Muon,
    Adafactor) and networks with layers that cannot be stacked.
    """
    data = recipe.data()
    if not (recipe.entry("optimizer").traits.get("elementwise") and _stackable(recipe, data)):
        return None
    shapes = (data.train_inputs.shape, data.val_inputs.shape, data.classes)
    network = (recipe.network, recipe.hidden, recipe.activation)
    return (*shapes, *network, recipe.batch_size, recipe.steps, recipe.device)


_known: dict[tuple[object, ...], bool] = {}  # building a network takes longer than many steps


def _stackable(recipe: Recipe, data: Data) -> bool:
    parts = (recipe.entry("network"), recipe.hidden, recipe.entry("activation"))
    key = (*parts, data.input_shape, data.outputs)
    if key not in _known:
        _known[key] = can_stack(recipe.build_network())
    return _known[key]
