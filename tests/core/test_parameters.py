from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from labkit.core.errors import nearest
from labkit.core.parameters import Strict, explain, knob, parameters, parse, spell
from labkit.core.registry import Registry
from labkit.recipe.recipe import REGISTRIES, Recipe

SIZES = Registry("size")
SIZES.register("small")(lambda: None)
SIZES.register("large")(lambda: None)


class Machine(Strict):
    speed: Annotated[
        float, knob(0.5, 10.0, step=0.1, scale="log", help="how fast", group="motion", live=True)
    ] = 1.0
    wheels: Annotated[int, knob(0, 2**31 - 1)] = 4
    size: Annotated[str, knob(choices=SIZES)] = "small"
    colour: Annotated[Literal["red", "blue"], knob()] = "red"
    widths: Annotated[tuple[int, ...], knob()] = (8, 8)
    loud: Annotated[bool, knob()] = False
    extra: Annotated[dict[str, float], knob()] = {}


KNOWN = parameters(Machine)

ALL_PARAMETERS = [
    pytest.param(parameter, id=f"{owner}.{parameter.name}")
    for owner, fields in [
        ("recipe", parameters(Recipe)),
        *((name, e.parameters()) for r in REGISTRIES.values() for name, e in r.items()),
    ]
    for parameter in fields.values()
]


def test_a_parameter_says_what_was_written_once():
    speed = KNOWN["speed"]
    assert list(KNOWN) == ["speed", "wheels", "size", "colour", "widths", "loud", "extra"]
    assert (speed.type, speed.default, speed.low, speed.high) == (float, 1.0, 0.5, 10.0)
    assert (speed.step, speed.scale, speed.help) == (0.1, "log", "how fast")
    assert (speed.group, speed.live) == ("motion", True)
    assert KNOWN["wheels"].low == 0, "zero is a limit too"
    assert (KNOWN["wheels"].live, KNOWN["wheels"].scale) == (False, "linear")
    assert KNOWN["size"].choices == ("small", "large")
    assert KNOWN["colour"].choices == ("red", "blue")


def test_choices_follow_the_registry(enter):
    enter(SIZES, "huge")(lambda: None)
    assert parameters(Machine)["size"].choices == ("small", "large", "huge")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("speed", "a number from 0.5 to 10"),
        ("wheels", "a whole number from 0 to 2147483647"),
        ("size", "one of small, large"),
        ("colour", "one of red, blue"),
        ("widths", "whole numbers such as 8,8"),
        ("loud", "true or false"),
        ("extra", "names with values, such as {'std': 0.1}"),
    ],
)
def test_allowed_values_in_words(name, words):
    assert KNOWN[name].allowed == words


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speed": 99}, "speed=99 is not allowed: give a number from 0.5 to 10."),
        ({"speed": True}, "speed=True is not allowed: give a number from 0.5 to 10."),
        ({"speed": math.nan}, "speed=nan is not allowed: give a number from 0.5 to 10."),
        ({"wheels": 0.5}, "wheels=0.5 is not allowed: give a whole number from 0 to 2147483647."),
        ({"widths": (8, True)}, "widths=(8, True) is not allowed: give whole numbers such as 8,8."),
        ({"colour": "green"}, "colour='green' is not allowed: give one of red, blue."),
        (
            {"sped": 1.0},
            "sped is not a field: did you mean 'speed'? "
            "Known: speed, wheels, size, colour, widths, loud, extra.",
        ),
    ],
)
def test_explain(values, message):
    with pytest.raises(ValidationError) as caught:
        Machine(**values)
    assert explain(caught.value, Machine) == message


def test_explain_lists_all_problems_with_where_and_owner():
    with pytest.raises(ValidationError) as caught:
        Machine(speed=99, colour="green", sped=1)
    text = explain(caught.value, Machine, where="args.", owner=" of 'car'")
    assert text.splitlines() == [
        "args.speed=99 is not allowed: give a number from 0.5 to 10.",
        "args.colour='green' is not allowed: give one of red, blue.",
        "args.sped is not a field of 'car': did you mean 'speed'? "
        "Known: speed, wheels, size, colour, widths, loud, extra.",
    ]


def test_a_boolean_field_takes_booleans():
    assert Machine(loud=True).loud is True


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("widths", "8,8", (8, 8)),
        ("widths", "8-16", (8, 16)),
        ("widths", "8", (8,)),
        ("widths", "", ()),
        ("loud", "true", True),
        ("loud", "False", False),
        ("loud", "perhaps", "perhaps"),
        ("speed", "1e-3", 0.001),
        ("speed", "fast", "fast"),
        ("wheels", "3", 3),
        ("size", "small", "small"),
        ("colour", "7", "7"),
    ],
)
def test_parse(name, text, value):
    parsed = parse(KNOWN[name], text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["-8", "8--8", "8,,8", "8-", "8-x"])
def test_parse_drops_no_part_of_a_malformed_list(text):
    with pytest.raises(ValidationError):
        Machine(widths=parse(KNOWN["widths"], text))


def test_spell_is_short():
    values = [1.0, 0.01, 1e-05, 1e300, 7, True, (8, 16), "fan_out"]
    spelt = ["1", "0.01", "1e-05", "1e+300", "7", "true", "8-16", "fan_out"]
    assert [spell(value) for value in values] == spelt


def test_spell_and_parse_are_exact_for_any_float():
    rng = np.random.default_rng(0)
    floats = rng.integers(0, 2**64, 2000, dtype=np.uint64).view(np.float64)
    for value in floats[np.isfinite(floats)].tolist():
        again = float(parse(KNOWN["speed"], spell(value)))
        assert again == value, f"{value!r} came back as {again!r}"


@pytest.mark.parametrize("parameter", ALL_PARAMETERS)
def test_every_parameter_makes_a_control(parameter):
    """A slider needs limits that hold the default, a log one a positive low end."""
    assert parameter.help, "no help text"
    if parameter.choices:
        assert str(parameter.default) in parameter.choices
    elif parameter.type in (int, float):
        assert parameter.low <= parameter.default <= parameter.high
        assert parameter.scale != "log" or parameter.low > 0
        assert isinstance(parameter.default, parameter.type)
    else:
        assert parameter.allowed != "another kind of value"


def test_field_names_are_far_enough_apart_for_hints():
    fields = parameters(Recipe)
    assert {name: nearest(name, fields) for name in fields} == {name: name for name in fields}
