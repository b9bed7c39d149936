from __future__ import annotations

import html
import re
import threading

import ipywidgets as widgets
import pytest

from labkit.core.errors import RecipeError
from labkit.core.parameters import parameters
from labkit.panels.controls import FIRST, FOLDED, RecipeControls
from labkit.recipe.initialize import INITS
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import REGISTRIES, WITH_ARGUMENTS, Recipe
from labkit.recipe.schedules import SCHEDULES
from labkit.recipe.tasks import TASKS

MOONS = Recipe(task="moons", samples=100, hidden=(6, 4))


class Panel(RecipeControls):
    """Controls, and the recipes that they gave."""

    def __init__(self, recipe: Recipe = MOONS, refuse: str = "") -> None:
        self.given: list[Recipe] = []
        self.refuse = refuse
        super().__init__(recipe, self._note)

    def _note(self, recipe: Recipe) -> None:
        if self.refuse:
            raise RecipeError(self.refuse)
        self.given.append(recipe)

    @property
    def said(self) -> str:
        return html.unescape(re.sub("<[^>]*>", "", self.message.value))

    def shown(self) -> dict[str, object]:
        """What the widgets show, as a recipe's fields."""
        values = {name: widget.value for name, widget in self.fields.items() if "." not in name}
        values["hidden"] = tuple(int(width) for width in values["hidden"].split(",") if width)
        return values


def everything(box) -> list[widgets.Widget]:
    inside = [widget for child in getattr(box, "children", ()) for widget in everything(child)]
    return [box, *inside]


# --- all fields of a recipe ------------------------------------------------------------


def test_every_field_has_one_control_and_every_control_is_displayed():
    panel = Panel()
    plain = {name for name in parameters(Recipe) if not name.endswith("_args")}
    assert {name for name in panel.fields if "." not in name} == plain
    displayed = everything(panel.widget)
    for name, widget in panel.fields.items():
        assert displayed.count(widget) == 1, name
    groups = {parameter.group for parameter in parameters(Recipe).values()}
    assert groups <= {*FIRST, *FOLDED}, "a group that no heading shows"


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        MOONS,
        Recipe(task="digits", network="cnn", hidden=(3,), samples=1797),
        Recipe(optimizer="momentum", optimizer_args={"momentum": 0.3}, schedule="cosine"),
        Recipe(init="normal", init_args={"std": 0.123}, lr=0.0123456, steps=77, hidden=()),
        Recipe(task="moons", samples=20_000, noise=0.055, weight_decay=0.125, seed=2**31 - 1),
    ],
    ids=lambda recipe: recipe.to_text(),
)
def test_controls_show_the_recipe(recipe):
    for panel in (Panel(recipe), Panel()):
        panel.set(recipe)
        for name, value in panel.shown().items():
            assert value == getattr(recipe, name), name
        for field in WITH_ARGUMENTS:
            for name, parameter in recipe.entry(field).parameters().items():
                given = getattr(recipe, f"{field}_args").get(name, parameter.default)
                assert panel.fields[f"{field}_args.{name}"].value == given, name
        assert panel.text.value == recipe.to_text()
        assert panel.given == [], "showing is not changing"


EDITS = {
    "task": "xor",
    "init": "orthogonal",
    "optimizer": "sgd",
    "lr": 0.1,
    "schedule": "cosine",
    "activation": "relu",
    "batch_size": 64,
    "steps": 50,
    "weight_decay": 0.5,
    "samples": 200,
    "noise": 0.25,
    "data_seed": 3,
    "seed": 5,
    "device": "cpu",
}


@pytest.mark.parametrize("name", EDITS)
def test_turning_a_control_changes_that_field(name):
    panel = Panel()
    panel.fields[name].value = EDITS[name]
    assert panel.given == [MOONS.replace(**{name: EDITS[name]})]
    assert panel.recipe == panel.given[0]
    assert panel.text.value == panel.recipe.to_text()
    assert panel.said == ""


@pytest.mark.parametrize(
    ("typed", "hidden"), [("3", (3,)), ("16,8", (16, 8)), ("5-6-7", (5, 6, 7)), ("", ())]
)
def test_widths_are_typed(typed, hidden):
    panel = Panel()
    panel.fields["hidden"].value = typed
    assert [recipe.hidden for recipe in panel.given] == [hidden]
    assert panel.fields["hidden"].value == ", ".join(map(str, hidden))


def test_a_slider_gives_round_numbers():
    panel = Panel()
    for _, place in panel.fields["lr"].options:
        panel.fields["lr"].value = place
    assert panel.given[-1].lr == 10
    assert all(len(f"lr={recipe.lr!r}") <= len("lr=1.25e-05") for recipe in panel.given)


# --- slips -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("hidden", "8, x", "hidden"),
        ("hidden", "0", "hidden=0 is not allowed"),
        ("network", "cnn", "needs pictures"),
    ],
)
def test_a_slip_is_explained_and_put_back(name, value, part):
    panel = Panel()
    before = panel.shown()
    panel.fields[name].value = value
    assert part in panel.said
    assert (panel.given, panel.recipe, panel.shown()) == ([], MOONS, before)
    panel.fields["lr"].value = 0.1
    assert panel.said == "", "an old complaint stays"


def test_what_the_owner_refuses_is_put_back_too():
    panel = Panel(refuse="device='cuda' is not there <here>")
    panel.fields["device"].value = "cuda"
    assert panel.said == "device='cuda' is not there <here>"
    assert "<here>" not in panel.message.value, "HTML from a message"
    assert (panel.recipe, panel.fields["device"].value) == (MOONS, "auto")


def test_other_errors_are_named_and_the_controls_go_back():
    def broken(recipe: Recipe) -> None:
        raise ZeroDivisionError("a bug")

    controls = RecipeControls(MOONS, broken)
    controls.fields["lr"].value = 0.1
    assert "ZeroDivisionError: a bug" in controls.message.value
    assert (controls.value, controls.fields["lr"].value) == (MOONS, MOONS.lr)


# --- remarks ---------------------------------------------------------------------------


def test_a_combination_that_works_otherwise_than_it_seems_is_remarked_on():
    panel = Panel()
    assert panel.advice.value == ""
    assert panel.advice in everything(panel.widget)
    panel.fields["optimizer"].value = "lbfgs"
    assert panel.given[-1].optimizer == "lbfgs", "a remark is no refusal"
    assert panel.said == ""
    assert "minibatches of 32" in panel.advice.value
    assert "role='status'" in panel.advice.value
    panel.fields["batch_size"].value = 70
    assert panel.advice.value == ""
    panel.set(Recipe(task="digits", network="cnn", optimizer="muon"))
    assert "left to adamw" in panel.advice.value


# --- arguments of a choice -------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "choice"),
    [
        (field, choice)
        for field, registry in zip(WITH_ARGUMENTS, (INITS, OPTIMIZERS, SCHEDULES), strict=True)
        for choice in registry
    ],
)
def test_a_choice_brings_its_own_controls(field, choice):
    panel = Panel()
    panel.fields[field].value = choice
    assert getattr(panel.recipe, field) == choice
    own = REGISTRIES[field][choice].parameters()
    shown = {name for name in panel.fields if name.startswith(f"{field}_args.")}
    assert shown == {f"{field}_args.{name}" for name in own}
    displayed = everything(panel.widget)
    assert all(panel.fields[name] in displayed for name in shown)


def test_an_argument_is_part_of_the_recipe():
    panel = Panel(MOONS.replace(init="normal", optimizer="momentum"))
    panel.fields["init_args.std"].value = 0.25
    panel.fields["optimizer_args.momentum"].value = 0.5
    assert panel.recipe.init_args == {"std": 0.25}
    assert panel.recipe.optimizer_args == {"momentum": 0.5}
    panel.fields["optimizer"].value = "adam"
    assert (panel.recipe.init_args, panel.recipe.optimizer_args) == ({"std": 0.25}, {})
    assert "optimizer_args.momentum" not in panel.fields


def test_an_old_argument_control_is_deaf():
    panel = Panel(MOONS.replace(optimizer="momentum"))
    old = panel.fields["optimizer_args.momentum"]
    panel.fields["optimizer"].value = "adam"
    count = len(panel.given)
    assert old not in everything(panel.widget)
    panel.fields["optimizer"].value = "momentum"
    assert len(panel.given) == count + 1
    assert panel.fields["optimizer_args.momentum"].value == 0.9


# --- the share string ------------------------------------------------------------------


def test_a_pasted_recipe_is_taken_whole():
    other = Recipe(
        task="digits", samples=1000, hidden=(32,), init="normal", init_args={"std": 0.1}, lr=0.0123
    )
    panel = Panel()
    panel.text.value = other.to_text()
    assert panel.given == [other], "one paste is one change"
    assert panel.shown()["lr"] == 0.0123
    assert panel.fields["init_args.std"].value == 0.1


def test_a_larger_data_set_is_shown_even_if_the_task_before_had_a_smaller_limit():
    panel = Panel(Recipe(task="digits"))
    panel.text.value = "task=moons samples=5000"
    assert (panel.recipe.samples, panel.fields["samples"].value) == (5000, 5000)
    assert panel.fields["samples"].max == TASKS["moons"].traits["largest"]
    panel.text.value = "task=digits"
    assert (panel.recipe.samples, panel.fields["samples"].max) == (1797, 1797)


@pytest.mark.parametrize("text", ["garbage", "lr=fast", "optimizer=adamm", "lr=0.1 lr=0.2"])
def test_a_text_that_is_no_recipe_is_put_back(text):
    panel = Panel()
    panel.text.value = text
    assert panel.said
    assert (panel.given, panel.text.value) == ([], MOONS.to_text())


# --- names registered while it is open -------------------------------------------------


def test_a_name_registered_later_can_be_pasted(enter):
    panel = Panel()

    def tiny(weight, gain, generator, *, scale: float = 0.5, label: str = "x") -> None:
        """Fill it with little."""
        weight.fill_(scale)

    enter(INITS, "tiny")(tiny)
    panel.text.value = "task=moons init=tiny(scale=0.25)"
    assert panel.recipe.init == "tiny"
    assert panel.fields["init"].value == "tiny"
    assert panel.fields["init_args.scale"].value == 0.25
    assert panel.fields["init_args.label"].value == "x"


def test_two_fields_may_be_edited_at_once():
    """By two threads, as a kernel with subshells does it: neither edit is lost."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Recipe) -> None:
        begun.set()
        assert go_on.wait(30)

    controls = RecipeControls(MOONS, slow)
    edits = {"steps": 77, "seed": 5}
    first, second = (
        threading.Thread(target=setattr, args=(controls.fields[name], "value", value))
        for name, value in edits.items()
    )
    first.start()
    assert begun.wait(30)
    second.start()
    second.join(0.3)  # it waits for the first, which still tells what it has changed
    go_on.set()
    for thread in (first, second):
        thread.join(30)
    assert {name: getattr(controls.value, name) for name in edits} == edits
    assert {name: controls.fields[name].value for name in edits} == edits
