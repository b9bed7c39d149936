"""Presets: runs that go wrong on purpose, each in one known way that has a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.core.errors import RecipeError, unknown
from labkit.recipe.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """One failure, ready to train.

    Attributes:
        name: how panels and notebooks call it.
        title: the same in words.
        recipe: what to train; it takes a second or two.
        kind: of the finding that `diagnose` gives (see `labkit.diagnosis`).
        question: a question to think about before pressing Train.
        look: where the failure shows, in words.
        view: the name of the view in which it shows (`labkit.VIEWS`).
        tensor: which tensor to look at; None where the view shows all of them.
    """

    name: str
    title: str
    recipe: Recipe
    kind: str
    question: str
    look: str
    view: str
    tensor: str | None = None


class Presets(dict[str, Preset]):
    """Presets by name; an unknown name is refused with the nearest one."""

    def __missing__(self, name: str) -> Preset:
        raise RecipeError(unknown("preset", name, self))


PRESETS = Presets()


def _preset(name: str, title: str, recipe: Recipe, **more: Any) -> None:
    PRESETS[name] = Preset(name, title, recipe, **more)


_preset(
    "symmetric_units",
    "All units alike",
    Recipe(task="moons", init="all_equal", steps=400),
    kind="symmetric_units",
    question="All weights of a layer start equal. Which of its units learns what?",
    look="Every row of the heat map is the same, before and after training.",
    view="heatmap",
    tensor="layer1.weight",
)
_preset(
    "frozen",
    "All weights zero",
    Recipe(task="moons", init="zeros", steps=400),
    kind="frozen_weights",
    question="All weights are zero. Which of them will the first step change?",
    look="The lines of the weights stay flat: only the output's bias can move.",
    view="weights",
    tensor="layer1.weight",
)
_preset(
    "vanishing_activations",
    "A signal that dies on its way",
    Recipe(
        task="moons",
        hidden=(16,) * 6,
        init="normal",
        init_args={"std": 0.05},
        optimizer="sgd",
        lr=0.05,
        steps=400,
    ),
    kind="vanishing_activations",
    question="Every layer multiplies by small weights. What is left after seven of them?",
    look="Gradients near 0.00001 in the hidden layers, and a loss that stays flat.",
    view="gradients",
)
_preset(
    "vanishing_gradients",
    "Sigmoids in depth",
    Recipe(
        task="moons",
        hidden=(16,) * 6,
        activation="sigmoid",
        init="xavier_normal",
        optimizer="sgd",
        lr=0.1,
        steps=400,
    ),
    kind="vanishing_gradients",
    question="A sigmoid's slope is at most 1/4. What reaches the first of six layers?",
    look="The gradient shrinks with every layer on the way back to the input.",
    view="gradients",
)
_preset(
    "exploding_activations",
    "A signal that explodes",
    Recipe(
        task="digits",
        hidden=(32,) * 5,
        activation="relu",
        init="normal",
        init_args={"std": 1.0},
        lr=0.001,
        steps=400,
    ),
    kind="exploding_activations",
    question="Each unit adds up 32 inputs with weights around 1. How large is the output?",
    look="The loss starts in the thousands, where a guess among ten digits costs ln 10 = 2.3.",
    view="gradients",
)
_preset(
    "exploding_gradients",
    "Gradients that explode",
    Recipe(
        task="digits",
        hidden=(32,) * 16,
        init="normal",
        init_args={"std": 0.6},
        optimizer="sgd",
        lr=0.02,
        steps=300,
    ),
    kind="exploding_gradients",
    question="Tanh keeps every activation between -1 and 1. Does it keep gradients small, too?",
    look="At first the early layers' gradients are far above the late ones'; then all is lost.",
    view="gradients",
)
_preset(
    "dead_relus",
    "Dead units",
    Recipe(task="digits", hidden=(32, 32), activation="relu", lr=0.5, steps=300),
    kind="dead_relus",
    question="A ReLU whose input is below zero for every sample: how can it come back?",
    look="After one great leap the weights stay where they are: no gradient passes a dead unit.",
    view="weights",
    tensor="layer1.weight",
)
_preset(
    "saturated_units",
    "Units at their limits",
    Recipe(
        task="digits",
        hidden=(32, 32),
        init="normal",
        init_args={"std": 1.5},
        optimizer="sgd",
        lr=0.1,
        steps=400,
    ),
    kind="saturated_units",
    question="With large weights tanh answers -1 or 1 to everything. What is its slope there?",
    look="The weights hardly move: their histogram still lies on that of the start.",
    view="distribution",
    tensor="layer2.weight",
)
_preset(
    "oscillating",
    "Steps too long: oscillation",
    Recipe(task="regression", lr=1.0, steps=400),
    kind="lr_too_high_oscillating",
    question="Each step jumps across the valley. Where does the next one land?",
    look="The loss jumps up and down, and the curve never settles on the points.",
    view="fit",
)
_preset(
    "diverging",
    "Steps too long: divergence",
    Recipe(task="digits", optimizer="sgd", lr=10.0, steps=300),
    kind="lr_too_high_diverging",
    question="With a learning rate of 10: how many of the ten digits will it tell apart?",
    look="The loss shoots far above its start and stays there, yet it is a number.",
    view="digits",
)
_preset(
    "nan",
    "Not a number",
    Recipe(
        task="regression", hidden=(16, 16), activation="relu", optimizer="sgd", lr=10.0, steps=300
    ),
    kind="diverged",
    question="Every step makes the weights larger, and the next step longer. How does it end?",
    look="The run ends by itself after a few steps: the numbers are too large for the machine.",
    view="weights",
    tensor="layer2.weight",
)
_preset(
    "lr_too_low",
    "Steps too short",
    Recipe(task="moons", lr=1e-5, steps=400),
    kind="lr_too_low",
    question="How far does a weight get with 400 updates of at most 0.00001 each?",
    look="Update ratios far below 1/1000, and a loss that falls in a slow, straight line.",
    view="updates",
)
_preset(
    "overfitting",
    "Memorized samples",
    Recipe(
        task="circles",
        samples=120,
        noise=0.1,
        label_noise=0.25,
        hidden=(64, 64),
        activation="relu",
        lr=0.005,
        steps=1200,
    ),
    kind="overfitting",
    question="84 samples, a quarter of them mislabelled, and 4,482 weights to remember them: "
    "which of the two losses goes on falling?",
    look="The validation loss turns up while the training loss falls; the boundary curves around "
    "single samples.",
    view="boundary",
)
