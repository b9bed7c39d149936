"""The public API: what is promised, what importing costs, and adding a name of one's own."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import labkit
import labkit.core.telemetry
import labkit.deploy
import labkit.quantize
import labkit.vision.finetuning
from labkit import views
from labkit.cli import main
from labkit.core.errors import RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.core.parameters import knob, parameters
from labkit.core.registry import Registry
from labkit.panels import TrainPanel
from labkit.recipe.initialize import INITS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import WITH_ARGUMENTS, Recipe
from labkit.recipe.schedules import SCHEDULES
from labkit.recipe.tasks import TASKS
from labkit.training.trainer import fit
from labkit.views import VIEWS, view

HEAVY = (
    "torch",
    "plotly",
    "ipywidgets",
    "ultralytics",
    "sklearn",
    "numpy",
    "pydantic",
    "papermill",
)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- what there is ---------------------------------------------------------------------


def promised(package: ModuleType) -> dict[str, str]:
    """Name -> the module that it comes from, as the package's stub says; "" for a module."""
    tree = ast.parse(Path(package.__file__ or "").with_suffix(".pyi").read_text(encoding="utf-8"))
    found = {}
    for statement in tree.body:
        assert isinstance(statement, ast.ImportFrom)
        (name,) = statement.names
        assert name.asname == name.name, f"{name.name}: a re-export is written `X as X`"
        found[name.name] = statement.module or ""
    return found


PACKAGES = (labkit, labkit.vision, labkit.vision.finetuning, labkit.quantize, labkit.deploy)


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package in PACKAGES for name in package.__all__],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_public_name_is_there_and_is_what_its_module_has(package, name):
    home = promised(package)[name]
    inside = importlib.import_module(f"{package.__name__}.{home or name}")
    value = getattr(package, name)  # after the import: no module may take a function's place
    assert value is (getattr(inside, name) if home else inside)
    assert name in dir(package)


@pytest.mark.parametrize(
    "name",
    ["search", "Candidate", "default_candidates", "Choice", "Measured", "no_telemetry",
     "qat_onnx", "qat_candidates"],
)  # fmt: skip
def test_public_names_of_an_earlier_version_still_lead_to_what_they_name(name):
    home = labkit.core.telemetry if name == "no_telemetry" else labkit.deploy
    assert getattr(labkit.quantize, name) is getattr(home, name)


def test_star_import_gives_all_of_it():
    space: dict[str, Any] = {}
    exec("from labkit import *", space)
    assert set(labkit.__all__) <= set(space)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="No labkit attribute Recipee"):
        labkit.Recipee  # noqa: B018
    with pytest.raises(ImportError):
        exec("from labkit import Recipee")


# --- what it costs ---------------------------------------------------------------------


def test_importing_labkit_imports_nothing_heavy():
    code = f"import sys, labkit, labkit.cli; print(sorted(set({HEAVY}) & set(sys.modules)))"
    assert python(code) == "[]"


def test_training_needs_no_plots_and_figures_need_no_widgets():
    """What a batch worker imports, in the order of its work."""
    code = (
        "import sys, labkit\n"
        "def there(*names): print(sorted(set(names) & set(sys.modules)))\n"
        "recipe = labkit.Recipe(task='moons', steps=2, samples=20)\n"
        "labkit.fit(recipe)\n"
        "there('plotly', 'ipywidgets', 'ultralytics', 'IPython')\n"
        "labkit.TrainPanel(recipe, interactive=False).figure('weights')\n"
        "there('ipywidgets', 'anywidget', 'ultralytics')"
    )
    assert python(code).splitlines() == ["[]", "[]"]


# --- a name of one's own ---------------------------------------------------------------

QUICK = Recipe(task="moons", samples=60, hidden=(5, 4), steps=3, device="cpu")


def constant(weight, gain, generator, *, value: Annotated[float, knob(0.0, 2.0)] = 0.5) -> None:
    """Fill it with one number."""
    weight.fill_(value)


def sign(params, lr, weight_decay, *, boost: Annotated[float, knob(0.1, 10.0)] = 1.0):
    """Step by the gradient's sign."""

    class Sign(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data -= group["lr"] * boost * p.grad.sign()

    return Sign(params, lr=lr)


def halving(optimizer, steps, *, every: Annotated[int, knob(1, 100)] = 1):
    """Halve it now and then."""
    return torch.optim.lr_scheduler.StepLR(optimizer, every, gamma=0.5)


def stripes(samples, noise, rng):
    """Three stripes."""
    points = rng.uniform(-1, 1, (samples, 2)) + rng.normal(0, noise, (samples, 2))
    return points, np.digitize(points[:, 0], [-0.3, 0.3])


NEW: dict[str, tuple[Registry, str, Callable[..., Any]]] = {
    "init": (INITS, "constant_number", constant),
    "optimizer": (OPTIMIZERS, "sign_descent", sign),
    "schedule": (SCHEDULES, "halving", halving),
    "task": (TASKS, "stripes", stripes),
}
TRAITS = {
    "task": {
        "samples": 60,
        "noise": 0.02,
        "classes": 3,
        "largest": 1000,
        "image": False,
        "noise_unit": "",
        "kind": "classification",
    }
}


@pytest.fixture(params=NEW)
def new(request, enter):
    """Register one new name; gives the field and the name."""
    field = request.param
    registry, name, make = NEW[field]
    enter(registry, name, formula="w ← ours", source="this test", **TRAITS.get(field, {}))(make)
    return field, name


def command(*words: str) -> str:
    result = CliRunner().invoke(main, words, prog_name="labkit", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_new_name_is_found_everywhere(new):
    field, name = new
    registry = NEW[field][0]
    summary = NEW[field][2].__doc__

    recipe = QUICK.replace(**{field: name})
    assert recipe.entry(field).make is NEW[field][2]
    assert Recipe.from_text(recipe.to_text()) == recipe

    assert parameters(Recipe)[field].choices == tuple(registry.names())
    assert name in parameters(Recipe)[field].allowed
    with pytest.raises(RecipeError, match=f"did you mean {name!r}"):
        QUICK.replace(**{field: name + "s"})

    assert [row["what"] for row in registry.table() if row["name"] == name] == [summary]
    assert f"{name} " in command("list", field)
    assert summary in command("list")
    assert name in "".join(command("train", "--help").split())

    panel = TrainPanel(QUICK, executor=SynchronousExecutor())
    widget = panel.controls.fields[field]
    assert name in widget.options
    widget.value = name
    assert panel.recipe == recipe
    panel.buttons["Train"].click()
    assert panel.session.state == "finished"

    history = fit(recipe)
    np.testing.assert_array_equal(panel.history.flat(), history.flat())
    assert recipe.to_text() in command("train", recipe.to_text())


@pytest.mark.parametrize("new", WITH_ARGUMENTS, indirect=True)
def test_its_arguments_are_found_everywhere_too(new):
    field, name = new
    argument, own = next(iter(NEW[field][0][name].parameters().items()))
    value = own.high
    recipe = Recipe.from_text(f"{QUICK.to_text()} {field}={name}({argument}={value:g})")
    assert getattr(recipe, f"{field}_args") == {argument: value}
    with pytest.raises(RecipeError, match=rf"{field}_args\.{argument}=.* from .* to {value:g}"):
        QUICK.replace(**{field: name, f"{field}_args": {argument: 1000}})
    panel = TrainPanel(QUICK.replace(**{field: name}), executor=SynchronousExecutor())
    panel.controls.fields[f"{field}_args.{argument}"].value = value
    assert panel.recipe == recipe
    assert f"{argument}={own.default}" in command("list", field)


def test_new_names_do_what_they_say(enter):
    """Not only listed: used. By closed forms."""
    for registry, name, make in (NEW["init"], NEW["optimizer"], NEW["schedule"]):
        enter(registry, name)(make)
    start = fit(QUICK.replace(init="constant_number", init_args={"value": 0.25}))
    assert set(np.unique(start.weights(0)["layer1.weight"])) == {np.float32(0.25)}
    recipe = QUICK.replace(optimizer="sign_descent", schedule="halving", lr=0.5)
    history = fit(recipe)
    assert history.curve("lr")[1].tolist() == [0.5, 0.25, 0.125]
    _, weights = history.snapshots("layer1.weight")
    moved = np.abs(np.diff(weights, axis=0))
    for step, size in zip(moved, [0.5, 0.25, 0.125], strict=True):
        np.testing.assert_allclose(step[step > 0], size, rtol=1e-4)


def test_a_new_view_is_found_everywhere():
    @view("spread", title="How wide", fits=lambda recipe: recipe.task == "moons")
    def spread(history, recipe, tensor):
        """How wide the weights lie."""
        return views.draw("weights", history, recipe, "output.weight")

    try:
        panel = TrainPanel(QUICK, executor=SynchronousExecutor())
        assert ("How wide", "spread") in panel.view_selector.options
        panel.view_selector.value = "spread"
        assert panel.figure().layout.title.text == "How wide"
        panel.controls.fields["task"].value = "xor"
        assert "spread" not in [name for _, name in panel.view_selector.options]
        assert panel.view != "spread"
        assert "How wide the weights lie." in command("list", "view")
        assert [row["name"] for row in VIEWS.table()][-1] == "spread"
        assert "spread" in views.views_for(QUICK)
        assert TrainPanel(QUICK, interactive=False, view="spread").figure().data
    finally:
        VIEWS.unregister("spread")


def test_a_name_that_is_gone_is_gone_everywhere(enter):
    enter(INITS, "constant_number")(constant)
    INITS.unregister("constant_number")
    with pytest.raises(RecipeError, match="is not known"):
        Recipe(init="constant_number")
    assert "constant_number" not in parameters(Recipe)["init"].choices
    assert "constant_number" not in "".join(command("train", "--help").split())
    panel = TrainPanel(QUICK, executor=SynchronousExecutor())
    assert "constant_number" not in panel.controls.fields["init"].options
