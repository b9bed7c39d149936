from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest

from labkit.core.errors import RecipeError
from labkit.core.parameters import Parameter, parameters
from labkit.recipe.recipe import REGISTRIES, WITH_ARGUMENTS, Recipe, split_text
from labkit.recipe.tasks import TASKS

FIELDS = parameters(Recipe)


def any_value(parameter: Parameter, rng: np.random.Generator):
    """A value drawn from what the parameter says about itself."""
    if parameter.choices:
        return str(rng.choice(parameter.choices))
    if parameter.type is bool:
        return bool(rng.integers(2))
    if parameter.type is int:
        return int(rng.integers(parameter.low, parameter.high, endpoint=True))
    if parameter.type is float:
        return any_float(parameter.low, parameter.high, rng)
    return tuple(rng.integers(1, 1025, rng.integers(0, 5)).tolist())  # hidden


def any_float(low: float, high: float, rng: np.random.Generator) -> float:
    """Any of the floats between two limits, each bit pattern as likely as the next."""
    if low < 0 and rng.integers(2):
        return -any_float(0.0, -low, rng)
    first, last = np.array([max(low, 0.0), high], np.float64).view(np.int64)
    return float(np.int64(rng.integers(first, last, endpoint=True)).view(np.float64))


def any_recipe(rng: np.random.Generator) -> Recipe:
    """A valid recipe with a random subset of its fields set."""
    values = {
        name: any_value(parameter, rng)
        for name, parameter in FIELDS.items()
        if not name.endswith("_args") and rng.random() < 0.5
    }
    for field in WITH_ARGUMENTS:
        entry = REGISTRIES[field][values.get(field, FIELDS[field].default)]
        values[f"{field}_args"] = {
            name: any_value(parameter, rng)
            for name, parameter in entry.parameters().items()
            if rng.random() < 0.7
        }
    task = TASKS[values.get("task", FIELDS["task"].default)].traits
    optimizer = REGISTRIES["optimizer"][values.get("optimizer", FIELDS["optimizer"].default)]
    if not task["image"]:
        values.pop("network", None)
    if not task["classes"]:
        values.pop("label_noise", None)
    if task["image"] and values.get("missing") == "region":
        values.pop("missing")
    if not task["classes"] and values.get("missing") == "class":
        values.pop("missing")
    if not optimizer.traits.get("weight_decay", True):
        values.pop("weight_decay", None)
    if "samples" in values:
        values["samples"] = min(values["samples"], task["largest"])
    return Recipe(**values)


RECIPES = [any_recipe(np.random.default_rng(seed)) for seed in range(400)]


# --- value semantics -------------------------------------------------------------------


def test_random_recipes_reach_every_choice():
    """The draws below mean something only if they cover the registries."""
    for field, registry in REGISTRIES.items():
        assert {getattr(recipe, field) for recipe in RECIPES} == set(registry), field
    for field in WITH_ARGUMENTS:
        for entry in REGISTRIES[field].values():
            users = [recipe for recipe in RECIPES if recipe.entry(field) is entry]
            seen = {name for recipe in users for name in getattr(recipe, f"{field}_args")}
            assert seen == set(entry.parameters()), f"{field}={entry.name}"


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_can_be_set(name):
    recipe = Recipe()
    before = getattr(recipe, name)
    with pytest.raises(ValueError, match="frozen"):
        setattr(recipe, name, before)
    assert getattr(recipe, name) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda arguments: arguments.update(std=2),
        lambda arguments: arguments.pop("std"),
        lambda arguments: arguments.clear(),
        lambda arguments: arguments.setdefault("std", 2),
        lambda arguments: arguments.__setitem__("std", 2),
        lambda arguments: arguments.__delitem__("std"),
        lambda arguments: arguments.__ior__({"std": 2}),
        lambda arguments: arguments.popitem(),
    ],
)
def test_arguments_cannot_be_changed_in_place(change):
    recipe = Recipe(init="normal", init_args={"std": 0.25})
    with pytest.raises(TypeError, match=r"recipe\.replace"):
        change(recipe.init_args)
    assert recipe.init_args == {"std": 0.25}


def test_a_recipe_does_not_hold_on_to_the_dict_it_was_given():
    arguments = {"std": 0.25}
    recipe = Recipe(init="normal", init_args=arguments)
    arguments["std"] = 1.0
    assert recipe.init_args == {"std": 0.25}


def test_equality_and_hash():
    one, other = Recipe(lr=1, hidden=[4, 4]), Recipe(lr=1.0, hidden=(4, 4))
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, Recipe(lr=1, hidden=(4, 4), seed=1)}) == 2
    assert Recipe(noise=-0.0) == Recipe(noise=0.0)
    assert hash(Recipe(noise=-0.0)) == hash(Recipe(noise=0.0))


@pytest.mark.parametrize("name", [name for name in FIELDS if not name.endswith("_args")])
def test_recipes_that_differ_in_one_field_differ(name):
    other = {"hidden": (3,), "network": "cnn", "device": "cpu"}
    parameter, base = FIELDS[name], Recipe(task="digits") if name == "network" else Recipe()
    values = [other.get(name), *parameter.choices, parameter.low, parameter.high]
    value = next(v for v in values if v is not None and v != getattr(base, name))
    changed = base.replace(**{name: value})
    assert changed != base
    assert changed.to_text() != base.to_text()


@pytest.mark.parametrize(
    "again",
    [
        lambda recipe: pickle.loads(pickle.dumps(recipe)),
        copy.copy,
        copy.deepcopy,
        lambda recipe: Recipe(**recipe.model_dump()),
        lambda recipe: Recipe(**json.loads(json.dumps(recipe.model_dump()))),
    ],
    ids=["pickle", "copy", "deepcopy", "dump", "json"],
)
def test_copies_are_equal_and_as_frozen(again):
    for recipe in RECIPES[:50]:
        twin = again(recipe)
        assert twin == recipe
        assert hash(twin) == hash(recipe)
        with pytest.raises(TypeError, match=r"recipe\.replace"):
            twin.init_args["std"] = 1.0
        with pytest.raises(ValueError, match="frozen"):
            twin.lr = 1.0


# --- errors ----------------------------------------------------------------------------

# what is given -> what the message must say, all of it in one message
BAD = [
    ({"optimizer": "adamm"}, ["optimizer='adamm'", "did you mean 'adam'?", "sgd, momentum"]),
    ({"init": "kaiming"}, ["init='kaiming'", "did you mean 'kaiming_", "xavier_normal"]),
    ({"task": "sprial"}, ["task='sprial'", "did you mean 'spiral'?", "moons"]),
    ({"task": ["xor"]}, ["task=['xor']", "one of spiral"]),
    ({"network": "cn"}, ["network='cn'", "did you mean 'cnn'?", "mlp"]),
    ({"activation": "Relu6"}, ["activation='Relu6'", "did you mean 'relu'?", "tanh"]),
    ({"schedule": "cosin"}, ["schedule='cosin'", "did you mean 'cosine'?", "one_cycle"]),
    ({"optimizer": 3}, ["optimizer=3", "one of sgd"]),
    ({"init": None}, ["init=None", "one of pytorch"]),
    ({"learning_rate": 0.1}, ["learning_rate is not a field", "lr", "batch_size"]),
    ({"stesp": 3}, ["stesp is not a field", "did you mean 'steps'?"]),
    ({"lr": 99}, ["lr=99 is", "a number from 1e-05 to 10"]),
    ({"lr": 0}, ["lr=0 is", "a number from 1e-05 to 10"]),
    ({"lr": "fast"}, ["lr='fast'", "a number from 1e-05 to 10"]),
    ({"lr": math.nan}, ["lr=nan", "a number from 1e-05 to 10"]),
    ({"lr": math.inf}, ["lr=inf", "a number from 1e-05 to 10"]),
    ({"lr": True}, ["lr=True", "a number from 1e-05 to 10"]),
    ({"noise": math.nan}, ["noise=nan", "a number from 0 to 1"]),
    ({"noise": -0.1}, ["noise=-0.1", "a number from 0 to 1"]),
    ({"steps": True}, ["steps=True", "a whole number from 1 to 100000"]),
    ({"steps": 0}, ["steps=0", "a whole number from 1 to 100000"]),
    ({"steps": 1.5}, ["steps=1.5", "a whole number from 1 to 100000"]),
    ({"seed": False}, ["seed=False", "a whole number from 0 to 2147483647"]),
    ({"seed": -1}, ["seed=-1", "a whole number from 0 to 2147483647"]),
    ({"samples": math.inf}, ["samples=inf", "a whole number from 10 to 20000"]),
    ({"device": "gpu"}, ["device='gpu'", "one of auto, cpu, cuda"]),
    ({"hidden": True}, ["hidden=(True,)", "whole numbers such as 8,8"]),
    ({"hidden": (8, True)}, ["hidden=(8, True)", "whole numbers such as 8,8"]),
    ({"hidden": (8, 0)}, ["hidden=8-0", "from 1 to 1024"]),
    ({"hidden": (1025,)}, ["hidden=1025", "from 1 to 1024"]),
    ({"hidden": (2,) * 21}, ["hidden=2-2", "up to 20 widths"]),
    ({"hidden": (8, 2.5)}, ["hidden=2.5", "whole numbers such as 8,8"]),
    ({"hidden": "8,8"}, ["hidden='8,8'", "whole numbers such as 8,8"]),
    ({"init_args": "std"}, ["init_args='std'", "names with values"]),
    ({"init": "normal", "init_args": {"stdd": 1}}, ["init_args.stdd", "'normal'", "'std'?"]),
    ({"init": "normal", "init_args": {"std": 11}}, ["init_args.std=11", "from 0 to 10"]),
    ({"init": "normal", "init_args": {"std": True}}, ["init_args.std=True", "from 0 to 10"]),
    ({"init": "normal", "init_args": {"std": math.nan}}, ["init_args.std=nan", "0 to 10"]),
    ({"init_args": {"mode": "fan"}}, ["init_args.mode='fan'", "one of fan_in, fan_out"]),
    ({"optimizer_args": {"beta1": 1}}, ["optimizer_args.beta1=1", "from 0 to 0.999"]),
    ({"schedule": "step", "schedule_args": {"drops": 1.5}}, ["schedule_args.drops=1.5", "1 to 10"]),
    ({"schedule_args": {"final": 0}}, ["schedule_args.final", "'constant'", "Known: none"]),
    # combinations
    ({"network": "cnn", "task": "xor"}, ["network='cnn'", "task='xor'", "task=digits"]),
    ({"optimizer": "lbfgs", "weight_decay": 0.1}, ["weight_decay=0.1", "lbfgs"]),
    ({"optimizer": "rprop", "weight_decay": 0.1}, ["weight_decay=0.1", "rprop"]),
    ({"task": "digits", "samples": 5000}, ["samples=5000", "digits", "1797"]),
    ({"task": "regression", "label_noise": 0.2}, ["label_noise=0.2", "'regression'", "use noise"]),
    ({"task": "regression", "missing": "class"}, ["missing='class'", "missing='region'"]),
    ({"task": "digits", "missing": "region"}, ["missing='region'", "images", "'class'"]),
    ({"missing": "classes"}, ["missing='classes'", "one of nothing, class, region"]),
    ({"train_share": 0}, ["train_share=0 is", "a number from 0.01 to 1"]),
    ({"label_noise": 1.5}, ["label_noise=1.5", "a number from 0 to 1"]),
    ({"patience": -1}, ["patience=-1", "a whole number from 0 to 1000"]),
]


@pytest.mark.parametrize(("given", "parts"), BAD, ids=[str(given) for given, _ in BAD])
def test_a_bad_value_says_what_would_be_right(given, parts):
    with pytest.raises(RecipeError) as caught:
        Recipe(**given)
    message = str(caught.value)
    for part in parts:
        assert part in message, f"{part!r} is missing from: {message}"
    assert "pydantic" not in message
    assert caught.value._render_traceback_() == [f"RecipeError: {message}"]
    with pytest.raises(RecipeError):
        Recipe(task="digits" if "network" not in given else "xor").replace(**given)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [None, object(), float("nan"), "?", {"a": {}}, [[]]])
def test_nonsense_in_any_field_is_a_recipe_error(name, value):
    with pytest.raises(RecipeError, match=name):
        Recipe(**{name: value})


def test_all_problems_come_in_one_message():
    with pytest.raises(RecipeError) as caught:
        Recipe(optimizer="adamm", lr=99, steps=True, device="gpu", stesp=3)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for word in ("optimizer='adamm'", "lr=99", "steps=True", "device='gpu'", "stesp"):
        assert sum(line.startswith(word) for line in lines) == 1, word


# --- defaults and replace --------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_samples_and_noise_are_the_tasks_own_unless_given(name):
    traits = TASKS[name].traits
    assert (Recipe(task=name).samples, Recipe(task=name).noise) == (
        traits["samples"],
        traits["noise"],
    )
    assert Recipe(task=name, samples=20).samples == 20
    assert Recipe(task=name, noise=0.5).noise == 0.5


def test_digits_defaults_to_all_its_pictures():
    recipe = Recipe(task="digits")
    assert (recipe.samples, recipe.noise) == (1797, 0.0)


def test_one_width_may_be_a_plain_number():
    assert Recipe(hidden=8).hidden == (8,)
    assert Recipe(hidden=[]).hidden == ()


def test_default_arguments_are_dropped():
    recipe = Recipe(optimizer_args={"beta1": 0.9, "beta2": 0.5})
    assert recipe.optimizer_args == {"beta2": 0.5}
    assert Recipe(optimizer_args={"beta1": 0.9}) == Recipe()


def test_replace_leaves_the_original_and_keeps_the_rest():
    recipe = Recipe(lr=0.1, hidden=(3,), init="normal", init_args={"std": 0.25}, noise=0.2)
    other = recipe.replace(lr=0.2)
    assert (recipe.lr, other.lr) == (0.1, 0.2)
    assert other.replace(lr=0.1) == recipe
    assert (other.init_args, other.noise) == ({"std": 0.25}, 0.2)


def test_replace_with_a_new_task_brings_its_own_samples_and_noise():
    recipe = Recipe(task="spiral", samples=300, noise=0.3)
    assert recipe.replace(task="digits") == Recipe(task="digits")
    assert recipe.replace(task="moons", noise=0.4) == Recipe(task="moons", noise=0.4)
    assert recipe.replace(task="spiral") == recipe, "the same task is no new one"


@pytest.mark.parametrize(
    ("field", "name", "arguments", "other"),
    [
        ("init", "normal", {"std": 0.25}, "orthogonal"),
        ("optimizer", "adam", {"beta1": 0.5}, "sgd"),
        ("schedule", "cosine", {"final": 0.5}, "step"),
    ],
)
def test_replace_with_a_new_entry_drops_the_old_arguments(field, name, arguments, other):
    recipe = Recipe(**{field: name, f"{field}_args": arguments})
    assert getattr(recipe.replace(**{field: other}), f"{field}_args") == {}
    assert recipe.replace(**{field: name}) == recipe
    assert recipe.replace(lr=0.5, **{f"{field}_args": {}}) == Recipe(**{field: name}, lr=0.5)


def test_replace_may_bring_new_arguments():
    recipe = Recipe(init="normal", init_args={"std": 0.25})
    other = recipe.replace(init="uniform", init_args={"bound": 0.125})
    assert other == Recipe(init="uniform", init_args={"bound": 0.125})


# --- share strings ---------------------------------------------------------------------


def test_share_strings_are_exact():
    for recipe in RECIPES:
        text = recipe.to_text()
        again = Recipe.from_text(text)
        assert again == recipe, text
        assert repr(again.model_dump()) == repr(recipe.model_dump()), f"types changed: {text}"
        assert again.to_text() == text
        assert f" seed={recipe.seed}" in text, "the seed is always said"
        assert text.startswith(f"task={recipe.task} ")


def test_a_share_string_is_short_and_readable():
    assert Recipe().to_text() == "task=spiral seed=0"
    recipe = Recipe(
        task="digits", hidden=(64, 32), lr=1e-3, init="normal", init_args={"std": 0.25}, seed=7
    )
    assert recipe.to_text() == "task=digits init=normal(std=0.25) lr=0.001 hidden=64-32 seed=7"


def test_a_defaults_arguments_are_shared_too():
    recipe = Recipe(optimizer_args={"beta1": 0.5, "eps": 1e-10})
    assert recipe.to_text() == "task=spiral optimizer=adam(beta1=0.5,eps=1e-10) seed=0"
    assert Recipe.from_text(recipe.to_text()) == recipe


def test_share_strings_typed_by_hand():
    assert Recipe.from_text("") == Recipe()
    assert Recipe.from_text("  lr=1e-2\n hidden=8,8 ") == Recipe()
    assert Recipe.from_text("hidden=").hidden == ()
    assert Recipe.from_text("init=normal()") == Recipe(init="normal")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lr", "'lr' is not understood: write name=value"),
        ("=3", "'=3' is not understood"),
        ("lr 0.1", "'lr' is not understood"),
        ("lr=", "lr='' is not allowed: give a number"),
        ("lr=fast", "lr='fast' is not allowed: give a number"),
        ("lr=nan", "lr=nan is not allowed: give a number"),
        ("noise=0,1", "noise='0,1' is not allowed: give a number"),
        ("seed=1.5", "seed=1.5 is not allowed: give a whole number"),
        ("lrr=1", "lrr is not a field: did you mean 'lr'?"),
        ("init=a)b", "init='a)b' is not understood: write a value"),
        ("lr=0.1 lr=0.2", "lr is given twice"),
        ("optimizer=adamm", "did you mean 'adam'?"),
        ("hidden=-8", "whole numbers such as 8,8"),
        ("hidden=8--8", "whole numbers such as 8,8"),
        ("hidden=8-x", "hidden='x' is not allowed"),
        ("init=normal(std=1", "is not understood"),
        ("init=normal(std=1))", "is not understood"),
        ("init=normal()()", "is not understood"),
        ("init=normal(std)", "init_args.std='' is not allowed"),
        ("init=normal(std=1,std=2)", "an argument twice"),
        ("init=normal(stdd=1)", "did you mean 'std'?"),
        ("init=nomal(std=1)", "did you mean 'normal'?"),
        ("init=(std=1)", "init='' is not known"),
        ("init_args=std", "init_args='std' is not allowed"),
        ("task=xor(a=1)", "task takes no arguments"),
        ("steps=5(a=1)", "steps takes no arguments"),
        ("task=xor network=cnn", "needs pictures"),
    ],
)
def test_a_malformed_share_string_is_explained(text, part):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_text(text)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, {}),
        ({"hidden": "8, 4"}, {"hidden": (8, 4)}),  # as panels write it
        ({"hidden": " 8-4 ", "lr": " 1e-3 "}, {"hidden": (8, 4), "lr": 0.001}),
        ({"hidden": ""}, {"hidden": ()}),
        (
            {"init": "normal( std = 0.25 )", "optimizer": "adam(beta1=0.5, beta2=0.9)"},
            {
                "init": "normal",
                "init_args": {"std": 0.25},
                "optimizer": "adam",
                "optimizer_args": {"beta1": 0.5, "beta2": 0.9},
            },
        ),
        (
            {"task": "xor", "seed": "3", "device": "cpu"},
            {"task": "xor", "seed": 3, "device": "cpu"},
        ),
    ],
    ids=str,
)
def test_fields_given_as_texts(texts, expected):
    assert Recipe.from_texts(texts) == Recipe(**expected)


def test_fields_given_as_texts_are_checked_like_any_other():
    with pytest.raises(RecipeError, match="did you mean 'hidden'"):
        Recipe.from_texts({"hiden": "8"})
    with pytest.raises(RecipeError, match="lr='fast' is not allowed: give a number"):
        Recipe.from_texts({"lr": "fast"})


def test_a_line_is_split_into_the_text_of_each_field():
    assert split_text("task=digits  init=normal(std=0.1) hidden=") == {
        "task": "digits",
        "init": "normal(std=0.1)",
        "hidden": "",
    }
