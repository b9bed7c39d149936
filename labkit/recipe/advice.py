"""Advice on recipes that can be trained, but do not do all that they seem to."""

from __future__ import annotations

from labkit.recipe.recipe import Recipe


def advice(recipe: Recipe) -> list[str]:
    """What to know about a combination that works, but not as it seems.

    Returns:
        One or two sentences each; nothing where there is nothing to say.
    """
    name, traits = recipe.optimizer, recipe.entry("optimizer").traits
    notes = []
    if why := traits.get("full_batch"):
        samples = len(recipe.data().train_inputs)
        if recipe.batch_size < samples:
            notes.append(
                f"{name} with minibatches of {recipe.batch_size}: {why}. It works best with all "
                f"{samples} training samples at once: batch_size={samples}."
            )
    if traits.get("first_lr") and recipe.schedule != "constant":
        notes.append(
            f"{name} takes the learning rate as its very first step size only: the schedule "
            f"{recipe.schedule} does nothing after that."
        )
    if traits.get("matrices"):
        weights = {
            key: p.ndim
            for key, p in recipe.build_network().named_parameters()
            if key.endswith("weight")
        }
        matrices = [key for key, ndim in weights.items() if ndim == 2]
        others = [f"{key} ({ndim}-D)" for key, ndim in weights.items() if ndim != 2]
        if not matrices:
            notes.append(
                f"{name} updates matrices, and no weight here is one: adamw updates them all. "
                "Choose adamw."
            )
        elif others:
            notes.append(
                f"{name} updates matrices, here {', '.join(matrices)} alone. The rest is "
                f"left to adamw: {', '.join(others)}, and the biases."
            )
    return notes
