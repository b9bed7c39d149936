"""Views: the pictures of a run that a widget offers, by name.

An entry is `make(history, recipe, tensor) -> spec`, a plain plotly dict; its docstring's
first line is the help text. To add one, write a function below `@view(...)`: it then
appears in the widget, in the tables and in the tests. Those that say how they show a
tensor that stands still (`still`) show weights of any origin: see `draw_tensor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import figures
from labkit.analysis import generalization
from labkit.core.errors import LabError, RecipeError, unknown
from labkit.core.registry import Registry
from labkit.figures import Spec
from labkit.recipe.recipe import Recipe
from labkit.training import predict
from labkit.training.history import History

if TYPE_CHECKING:
    import plotly.graph_objects as go

VIEWS = Registry("view")

Make = Callable[[History, Recipe, str], Spec]
# Values, values before (or None), the tensor's name, and what the two are called.
Still = Callable[[np.ndarray, Any, str, tuple[str, str]], Spec]

# Real layers have a few weights many times as strong as most, and more kernels than pixels.
BEYOND = 0.01
LARGE: dict[str, Any] = {"beyond": BEYOND, "kernel_rows": 128}


def view(
    name: str,
    *,
    title: str,
    fits: Callable[[Recipe], bool] = lambda recipe: True,
    per_tensor: bool = False,
    still: Still | None = None,
    compares: bool = False,
    alone: str = "",
    dims: int = 0,
) -> Callable[[Make], Make]:
    """Register a view.

    Args:
        name: how widgets and calls name it.
        title: what stands above it.
        fits: whether it can show runs of a recipe.
        per_tensor: whether it shows one tensor, which the user chooses.
        still: how it shows one tensor of anything, where it can.
        compares: whether that takes the values before.
        alone: what stands above it where there are none; the title by default.
        dims: the fewest dimensions of a tensor that it can show.
    """
    return VIEWS.register(
        name,
        title=title,
        fits=fits,
        per_tensor=per_tensor,
        still=still,
        compares=compares,
        alone=alone or title,
        dims=dims,
    )


def views_for(recipe: Recipe) -> list[str]:
    """The names of the views that can show runs of `recipe`, the most telling first."""
    return [name for name, entry in VIEWS.items() if entry.traits["fits"](recipe)]


def draw(name: str, history: History, recipe: Recipe, tensor: str | None = None) -> Spec:
    """A view as a plain plotly dict, for the live painter.

    Args:
        name: a name in `VIEWS`.
        history, recipe: the run.
        tensor: which tensor, for views of one; by default the first.

    Raises:
        RecipeError: an unknown view or tensor, or a view that does not fit the recipe.
    """
    entry = VIEWS[name]
    if not entry.traits["fits"](recipe):
        fitting = ", ".join(views_for(recipe))
        raise RecipeError(
            f"view={name!r} cannot show task={recipe.task} with network={recipe.network}. "
            f"Choose from {fitting}."
        )
    names = history.layout.names
    if tensor is not None and tensor not in names:
        raise RecipeError(unknown("tensor", tensor, names))
    return entry.make(history, recipe, tensor or names[0])


def figure(name: str, history: History, recipe: Recipe, tensor: str | None = None) -> go.Figure:
    """A view as a `go.Figure` with a title, for notebooks and reports. Raises as `draw`."""
    return titled(draw(name, history, recipe, tensor), VIEWS[name].traits["title"])


def tensor_views(dims: int, *, compared: bool = False) -> dict[str, str]:
    """The views that show one tensor of anything: names, and what stands above them.

    Args:
        dims: how many dimensions it has.
        compared: with those that show what changed since before.
    """
    return {
        name: entry.traits["title" if compared else "alone"]
        for name, entry in VIEWS.items()
        if entry.traits["still"]
        and entry.traits["dims"] <= dims
        and (compared or not entry.traits["compares"])
    }


def draw_tensor(
    name: str,
    values: np.ndarray,
    before: np.ndarray | None = None,
    *,
    tensor: str,
    words: tuple[str, str] = ("now", "before"),
) -> Spec:
    """One tensor of anything, in the same picture as one of a run: a plain plotly dict.

    Args:
        name: a name in `tensor_views()`.
        values: of any shape.
        before: what the values are compared with, in the same shape.
        tensor: what the tensor is called.
        words: what the values, and those before, are called.

    Raises:
        RecipeError: an unknown view, or one that needs more than that.
    """
    entry, fitting = VIEWS[name], tensor_views(np.ndim(values), compared=before is not None)
    if name not in fitting:
        shape = "x".join(map(str, np.shape(values))) or "one value"
        alone = "" if before is not None else ", compared with nothing"
        raise RecipeError(
            f"view={name!r} cannot show {tensor} ({shape}{alone}): "
            f"choose from {', '.join(fitting)}."
        )
    spec: Spec = entry.traits["still"](values, before, tensor, words)
    return spec


def titled(spec: Spec, title: str) -> go.Figure:
    """A spec as a `go.Figure` with a title, and room for it."""
    import plotly.graph_objects as go

    layout = dict(spec["layout"])
    margin = {**layout["margin"], "t": layout["margin"]["t"] + 26}
    height = layout["height"] + 26
    layout |= {"title": {"text": title}, "margin": margin, "height": height}
    return go.Figure({"data": spec["data"], "layout": layout})


def side_by_side(
    runs: Mapping[str, tuple[Recipe, np.ndarray]], *, validation: bool = False
) -> go.Figure:
    """What several networks predict, next to each other.

    Boundaries with the training samples where inputs are points, rings around wrong
    labels; the accuracy of each class on unseen samples where they are pictures.

    Args:
        runs: recipes with weights (`history.flat(step)`), by the names to show; of one task.
        validation: whether boundaries have the validation samples too, as diamonds.

    Raises:
        LabError: no runs, or a task without classes.
    """
    if not runs:
        raise LabError("there is nothing to show: give at least one run")
    named = {
        f"{name}: train {train:.0%}, validation {val:.0%}": run
        for name, run in runs.items()
        for train, val in [generalization.accuracy(*run)]
    }
    if all(recipe.data().planar for recipe, _ in named.values()):
        predicted = {name: predict.probability_map(*run) for name, run in named.items()}
        samples = {name: recipe.data() for name, (recipe, _) in named.items()}
        return figures.boundaries(predicted, samples, validation=validation)
    return figures.class_accuracy(
        {name: generalization.by_class(*run) for name, run in named.items()}
    )


def _planar(recipe: Recipe) -> bool:
    data = recipe.data()
    return data.planar and data.classes > 0


def _one_input(recipe: Recipe) -> bool:
    data = recipe.data()
    return data.input_shape == (1,) and not data.classes


def _pictures(recipe: Recipe) -> bool:
    traits = recipe.entry("task").traits
    return traits["image"] and traits["classes"] > 0


@view("boundary", title="Decision boundary", fits=_planar)
def boundary(history: History, recipe: Recipe, tensor: str) -> Spec:
    """The class that the network predicts at each point of the plane."""
    predicted = predict.probability_map(recipe, history.flat())
    return figures.decision_boundary.spec(predicted, recipe.data())


@view("fit", title="Fitted curve", fits=_one_input)
def fit(history: History, recipe: Recipe, tensor: str) -> Spec:
    """The curve that the network has fitted to the samples."""
    return figures.regression_fit.spec(predict.curve(recipe, history.flat()), recipe.data())


@view("digits", title="Predictions", fits=_pictures)
def digits(history: History, recipe: Recipe, tensor: str) -> Spec:
    """Pictures it was not trained on, each with the network's answer."""
    return figures.digit_predictions.spec(predict.predictions(recipe, history.flat()))


@view("loss", title="Loss curves")
def loss(history: History, recipe: Recipe, tensor: str) -> Spec:
    """Loss and accuracy over the steps, of training and of validation."""
    return figures.loss_curves.spec(history, steps=recipe.steps)


@view("weights", title="Weights while they converge", per_tensor=True)
def weights(history: History, recipe: Recipe, tensor: str) -> Spec:
    """Each weight as a line over the steps, or their quantiles where they are many."""
    return figures.weight_lines.spec(history, tensor, steps=recipe.steps)


@view(
    "heatmap",
    title="Weights as a heat map",
    per_tensor=True,
    still=lambda values, before, name, words: figures.tensor_heatmap.spec(
        values, name=name, **LARGE
    ),
)
def heatmap(history: History, recipe: Recipe, tensor: str) -> Spec:
    """One layer's weights now: blue is positive, orange negative."""
    return figures.weight_heatmap.spec(history, tensor)


@view(
    "change",
    title="Change as a heat map",
    per_tensor=True,
    still=lambda values, before, name, words: figures.tensor_change.spec(
        values, before, name=name, **LARGE
    ),
    compares=True,
)
def change(history: History, recipe: Recipe, tensor: str) -> Spec:
    """What training has added to one layer's weights: blue grew, orange shrank."""
    now, before = history.weights(), history.weights(0)
    return figures.tensor_change.spec(now[tensor], before[tensor], name=tensor)


@view("histogram", title="Histogram over time", per_tensor=True)
def histogram(history: History, recipe: Recipe, tensor: str) -> Spec:
    """How many weights have which value, at each step."""
    return figures.weight_histogram.spec(history, tensor, steps=recipe.steps)


@view(
    "distribution",
    title="Weights now and before",
    per_tensor=True,
    still=lambda values, before, name, words: figures.tensor_distribution.spec(
        values, before, name=name, label=words[0], earlier=words[1], beyond=BEYOND
    ),
    alone="Histogram of the weights",
)
def distribution(history: History, recipe: Recipe, tensor: str) -> Spec:
    """The histogram of the weights now, with the outline of the initial ones."""
    return figures.weight_distribution.spec(history, tensor)


@view(
    "network",
    title="Network diagram",
    fits=lambda recipe: recipe.network == "mlp",
    dims=2,
    still=lambda values, before, name, words: figures.tensor_diagram.spec(values, name=name),
)
def network(history: History, recipe: Recipe, tensor: str) -> Spec:
    """Nodes and edges: sign by colour, magnitude by width."""
    data = recipe.data()
    width = data.train_inputs[0].numel()
    return figures.network_diagram.spec(
        history.layout,
        history.weights(),
        inputs=[f"input {k + 1}" for k in range(width)],
        outputs=[f"class {k}" for k in range(data.classes)] or ["output"],
    )


@view("gradients", title="Gradient flow by layer")
def gradients(history: History, recipe: Recipe, tensor: str) -> Spec:
    """How large each layer's gradient is, at each step."""
    return figures.gradient_flow.spec(history, steps=recipe.steps)


@view("updates", title="Update ratio by layer")
def updates(history: History, recipe: Recipe, tensor: str) -> Spec:
    """How large each update is beside the weights that it changes."""
    return figures.update_ratio.spec(history, steps=recipe.steps)
