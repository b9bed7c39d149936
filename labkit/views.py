"""Views: the pictures of a run that a widget offers, by name.

An entry is `make(history, recipe, tensor) -> spec`, a plain plotly dict; its docstring's
first line is the help text. To add one, write a function below `@view(...)`: it then
appears in the widget, in the tables and in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit import figures, predict
from labkit.errors import RecipeError, unknown
from labkit.figures import Spec
from labkit.history import History
from labkit.recipe import Recipe
from labkit.registry import Registry

if TYPE_CHECKING:
    import plotly.graph_objects as go

VIEWS = Registry("view")

Make = Callable[[History, Recipe, str], Spec]


def view(
    name: str,
    *,
    title: str,
    fits: Callable[[Recipe], bool] = lambda recipe: True,
    per_tensor: bool = False,
) -> Callable[[Make], Make]:
    """Register a view.

    Args:
        name: how widgets and calls name it.
        title: what stands above it.
        fits: whether it can show runs of a recipe.
        per_tensor: whether it shows one tensor, which the user chooses.
    """
    return VIEWS.register(name, title=title, fits=fits, per_tensor=per_tensor)


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
    import plotly.graph_objects as go

    spec = draw(name, history, recipe, tensor)
    layout = dict(spec["layout"])
    margin = {**layout["margin"], "t": layout["margin"]["t"] + 26}
    height = layout["height"] + 26
    title = {"text": VIEWS[name].traits["title"]}
    layout |= {"title": title, "margin": margin, "height": height}
    return go.Figure({"data": spec["data"], "layout": layout})


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
    surface = predict.surface(recipe, history.flat())
    return figures.decision_boundary.spec(surface, recipe.data())


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


@view("heatmap", title="Weights as a heat map", per_tensor=True)
def heatmap(history: History, recipe: Recipe, tensor: str) -> Spec:
    """One layer's weights now: blue is positive, orange negative."""
    return figures.weight_heatmap.spec(history, tensor)


@view("histogram", title="Histogram over time", per_tensor=True)
def histogram(history: History, recipe: Recipe, tensor: str) -> Spec:
    """How many weights have which value, at each step."""
    return figures.weight_histogram.spec(history, tensor, steps=recipe.steps)


@view("distribution", title="Weights now and before", per_tensor=True)
def distribution(history: History, recipe: Recipe, tensor: str) -> Spec:
    """The histogram of the weights now, with the outline of the initial ones."""
    return figures.weight_distribution.spec(history, tensor)


@view("network", title="Network diagram", fits=lambda recipe: recipe.network == "mlp")
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
