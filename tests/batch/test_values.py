"""One parameter's values, from a text or from a file's entry."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.batch.assignments import assignments
from labkit.batch.values import from_texts, from_value
from labkit.core.errors import LabError

CODE = """
lr = 0.01
steps = 100
on = True
title = "a"
hidden = [8, 8]
rates = [0.1, 0.2]
names = ["a"]
deep = [[1]]
places = {"a": 1}
nothing = None
unknown = 10 ** -3
mixed: int | str = 1
"""
KNOWN = assignments(CODE)


def texts(name: str, *given: str, most: int = 10_000) -> list:
    return from_texts(KNOWN[name], given, most)


def refusal(name: str, *given: str, most: int = 10_000) -> str:
    with pytest.raises(LabError) as refused:
        texts(name, *given, most=most)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("lr", "0.1", [0.1]),
        ("lr", "0.1,1e-2, 3", [0.1, 0.01, 3]),
        ("lr", "[0.1, 3]", [0.1, 3]),
        ("steps", "1,2", [1, 2]),
        ("on", "true,False", [True, False]),
        ("title", "sgd", ["sgd"]),
        ("title", "sgd, adam", ["sgd", "adam"]),
        ("title", " sgd", [" sgd"]),
        ("title", "", [""]),
        ("title", "a=b", ["a=b"]),
        ("title", "C:\\data", ["C:\\data"]),
        ("title", "1:2:lin:3", ["1:2:lin:3"]),
        ("title", '["a,b", "c:d"]', ["a,b", "c:d"]),
        ("title", '"a,b"', ["a,b"]),
        ("title", '""', [""]),
        ("title", '{"a": 1, "b": 2}', ['{"a": 1, "b": 2}']),
        ("title", "[not json", ["[not json"]),
        ("title", "null", ["null"]),
        ("hidden", "8,8", [[8, 8]]),
        ("hidden", "8, 8", [[8, 8]]),  # as the panel shows it
        ("hidden", " 8 - 8 ; 16 ", [[8, 8], [16]]),
        ("hidden", "8,8;16", [[8, 8], [16]]),
        ("hidden", "8-8; 16", [[8, 8], [16]]),
        ("hidden", "[8, 8]", [[8, 8]]),
        ("hidden", "[[8, 8], [16]]", [[8, 8], [16]]),
        ("hidden", "[]", [[]]),
        ("hidden", "[[]]", [[]]),
        ("rates", "0.1,1;2", [[0.1, 1.0], [2.0]]),
        ("names", "a,b;c", [["a", "b"], ["c"]]),
        ("names", "a, b", [["a", "b"]]),
        ("names", '["a;b"]', [["a;b"]]),
        ("deep", "[[1], [2]]", [[[1], [2]]]),
        ("deep", "[[[1]], [[2]]]", [[[1]], [[2]]]),
        ("places", '{"a": 2}', [{"a": 2}]),
        ("places", '[{"a": 2}, {}]', [{"a": 2}, {}]),
        ("nothing", "a,3,true", ["a", 3, True]),
        ("nothing", "[1, 2]", [[1, 2]]),
        ("nothing", "[[1], [2]]", [[1], [2]]),
        ("nothing", '"3"', ["3"]),
        ("nothing", "a:b", ["a:b"]),
        ("unknown", "1:3:lin:3", [1.0, 2.0, 3.0]),
        ("mixed", "3,three", [3, "three"]),
        ("mixed", '"3"', ["3"]),
    ],
)
def test_what_a_text_says(name, text, values):
    found = texts(name, text)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_a_name_given_again_adds_values():
    assert texts("lr", "0.1", "0.2,0.3", "1:2:lin:2") == [0.1, 0.2, 0.3, 1, 2]


# --- ranges ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3:1e-1:log:5", np.geomspace(1e-3, 1e-1, 5)),
        ("1e-1:1e-3:log:5", np.geomspace(1e-1, 1e-3, 5)),
        ("0:1:lin:4", np.linspace(0, 1, 4)),
        ("-1:1:lin:3", [-1, 0, 1]),
        ("5:1:lin:5", [5, 4, 3, 2, 1]),
        ("0.3:0.9:lin:1", [0.3]),
        ("0.3:0.9:log:2", [0.3, 0.9]),
        ("-1e308:1e308:lin:3", [-1e308, 0, 1e308]),
        ("1e-300:1e300:log:3", [1e-300, 1, 1e300]),
    ],
)
def test_a_range_is_numpys_with_six_digits(text, expected):
    found = texts("lr", text)
    assert found == pytest.approx(list(expected), rel=1e-5)
    assert found == [float(f"{value:.6g}") for value in found]


def test_the_ends_of_a_range_are_what_was_given():
    found = texts("lr", "0.123456789:0.987654321:log:3")
    assert (found[0], found[-1]) == (0.123456789, 0.987654321)


def test_values_that_six_digits_cannot_tell_apart_keep_theirs():
    found = texts("lr", "1:1.0000001:lin:5")
    assert found == pytest.approx(np.linspace(1, 1.0000001, 5), abs=1e-15)
    assert len(set(found)) == 5


def test_whole_numbers_are_rounded_and_distinct():
    assert texts("steps", "1:100:log:5") == [1, 3, 10, 32, 100]
    assert texts("steps", "1:3:lin:50") == [1, 2, 3]
    assert all(type(value) is int for value in texts("steps", "1:100:log:5"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1:2:lin:0", "1 or more"),
        ("1:2:lin:-3", "1 or more"),
        ("1:2:lin:2.5", "1 or more"),
        ("1:2:lin:many", "1 or more"),
        ("0:1:log:3", "lies above 0"),
        ("1:-1:log:3", "lies above 0"),
        ("a:1:lin:3", "both ends of a range are numbers"),
        ("nan:1:lin:3", "finite"),
        ("1:1e999:lin:3", "finite"),
        ("1:2:exp:3", "is no range: write lr=1e-3:1e-1:log:5 or lr=0:1:lin:5"),
        ("1:2:3", "is no range"),
        ("1:2", "is no range"),
        (":", "is no range"),
        ("1:2:lin:100000000000", "runs are more than 10,000"),
    ],
)
def test_a_range_that_makes_no_sense(text, why):
    assert why in refusal("lr", text)


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("lr", "fast", "give a number such as 0.01"),
        ("lr", "0.1,,0.2", "an empty value beside a ','"),
        ("lr", "0.1,", "an empty value"),
        ("lr", "[]", "lr has no values"),
        ("steps", "x", "give a whole number such as 100"),
        ("title", "a,", 'write JSON: title=["a,"]'),
        ("title", "[]", "title has no values"),
        ("hidden", "8;x", "give a list such as [8, 8]"),
        ("hidden", "8;;8", "an empty value beside a ';'"),
        ("places", "a", 'names with values such as {"a": 1}'),
    ],
)
def test_what_cannot_be_read(name, text, why):
    assert why in refusal(name, text)


def test_advice_about_json_is_given_where_text_is_meant():
    assert "JSON" not in refusal("lr", "1,,2")


# --- a file's entries ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry", "values"),
    [
        ("lr", 0.1, [0.1]),
        ("lr", [0.1, 1], [0.1, 1]),
        ("lr", "1e-3", [0.001]),  # text to YAML
        ("lr", ["1e-3", 1], [0.001, 1]),
        ("lr", {"from": 1, "to": 3, "lin": 3}, [1, 2, 3]),
        ("lr", {"from": "1e-2", "to": "1e-1", "log": 2}, [0.01, 0.1]),
        ("steps", {"from": 1, "to": 100, "log": 3}, [1, 10, 100]),
        ("title", "a,b", ["a,b"]),
        ("title", ["a,b", "c"], ["a,b", "c"]),
        ("hidden", [8, 8], [[8, 8]]),
        ("hidden", [[8, 8], [16]], [[8, 8], [16]]),
        ("places", {"from": 1, "to": 2}, [{"from": 1, "to": 2}]),
        ("places", [{"a": 1}, {"b": 2}], [{"a": 1}, {"b": 2}]),
        ("nothing", ["3", 4], ["3", 4]),
        ("nothing", None, [None]),
        ("unknown", {"from": 0, "to": 1, "lin": 2}, [0, 1]),
    ],
)
def test_what_an_entry_says(name, entry, values):
    assert from_value(KNOWN[name], entry) == values


@pytest.mark.parametrize(
    ("name", "entry", "why"),
    [
        ("lr", [], "lr has no values"),
        ("lr", {"from": 1, "to": 2}, "{from: 1e-3, to: 1e-1, log: 5}"),
        ("lr", {"from": 1, "to": 2, "lin": 2, "log": 2}, "{from: 1e-3, to: 1e-1, log: 5}"),
        ("lr", {"from": 1, "to": 2, "log": 0}, "1 or more"),
        ("lr", {"from": 1, "to": 2, "lin": True}, "1 or more"),
        ("lr", {"from": None, "to": 2, "lin": 2}, "both ends of a range are numbers"),
        ("title", {"from": 1, "to": 2, "lin": 2}, "a range is for numbers"),
        ("steps", "many", "give a whole number"),
    ],
)
def test_an_entry_that_cannot_be_read(name, entry, why):
    with pytest.raises(LabError) as refused:
        from_value(KNOWN[name], entry)
    assert why in str(refused.value)
