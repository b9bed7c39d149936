"""What code assigns: any Python is read, none is executed."""

from __future__ import annotations

import pytest

from labkit.batch.assignments import assignments
from labkit.batch.parameters import UNKNOWN


def defaults(code: str) -> dict[str, object]:
    return {name: parameter.default for name, parameter in assignments(code).items()}


def test_assignments_are_read_as_python_in_their_order():
    code = """
# a comment = nothing
interactive = True
text = "a = b"  # x = 3
other = 'it\\'s = "quoted"; import os'
longer = (
    "two "
    "parts"
)
lr: float = 1e-3
hidden: list[int] = [8, 8]
nothing = None
negative = -3; positive = +2
nested = {"a": [1, {"b": "="}]}
unicode = "λ = 0.1"
"""
    assert defaults(code) == {
        "interactive": True,
        "text": "a = b",
        "other": 'it\'s = "quoted"; import os',
        "longer": "two parts",
        "lr": 0.001,
        "hidden": [8, 8],
        "nothing": None,
        "negative": -3,
        "positive": 2,
        "nested": {"a": [1, {"b": "="}]},
        "unicode": "λ = 0.1",
    }
    assert list(defaults(code))[:2] == ["interactive", "text"]


def test_the_last_assignment_counts_as_in_python():
    assert defaults("x = 1\nx = 2") == {"x": 2}


def test_an_empty_cell_has_no_parameters():
    assert defaults("# nothing to choose") == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = y", {"x": UNKNOWN}),
        ("lr = 10 ** -3", {"lr": UNKNOWN}),
        ("from pathlib import Path\npath = Path('x')", {"path": UNKNOWN}),
        ("x = __import__('pathlib').Path('pwned').touch()", {"x": UNKNOWN}),
        ("x = [i for i in range(3)]", {"x": UNKNOWN}),
        ("x = f'{1}'", {"x": UNKNOWN}),
        ("x = float('nan')", {"x": UNKNOWN}),
        ("x = 1e999", {"x": UNKNOWN}),
        ("x = 1j", {"x": UNKNOWN}),
        ("x = b'bytes'", {"x": UNKNOWN}),
        ("x = {1, 2}", {"x": UNKNOWN}),
        ("x = {1: 2}", {"x": UNKNOWN}),
        ("x = '\\ud800'", {"x": UNKNOWN}),
        ("x = " + "[" * 60 + "]" * 60, {"x": UNKNOWN}),
        ("x: int", {"x": UNKNOWN}),
        ("x = 1\nx += 1", {"x": UNKNOWN}),
        ("x = y = 1", {"x": 1, "y": 1}),
        ("x, (y, z) = 1, (2, 'a')", {"x": 1, "y": 2, "z": "a"}),
        ("x, y = pair", {"x": UNKNOWN, "y": UNKNOWN}),
        ("x = (8, (8, 'a'))", {"x": [8, [8, "a"]]}),
        ("x = {'not a name': 1}", {"x": {"not a name": 1}}),
        ("x.a = 1\nx[0] = 1", {}),
        ("import os\nprint('hello')\n'a string alone'", {}),
        ("if True:\n    x = 1", {}),
        ("def x():\n    y = 1", {}),
        ("__builtins__ = 1", {}),
        ("%matplotlib inline\nx = 1", {"x": 1}),
        ("x = 1\n!ls\ny = !ls\nz = %pwd", {"x": 1, "y": UNKNOWN, "z": UNKNOWN}),
        ("x = 1\n?x\ny = 2;", {"x": 1, "y": 2}),
        ("x = '\\d'  # an old escape", {"x": "\\d"}),
    ],
)
def test_any_python_is_tolerated_and_nothing_is_executed(source, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert defaults(f"first = 1\n{source}") == {"first": 1, **found}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source", ["x = ", "x = 1 y = 2", "class = 1", "x = '", "if True:\nx = 1", "x = " + "(" * 500]
)
def test_what_is_not_python_is_said_to_be_none(source):
    with pytest.raises(SyntaxError):
        assignments(f"first = 1\n{source}")


@pytest.mark.parametrize(
    ("annotation", "types", "items"),
    [
        ("float", {float}, None),
        ("'float'", {float}, None),
        ("float | None", {float, type(None)}, None),
        ("Optional[int]", {int, type(None)}, None),
        ("typing.Union[int, 'str']", {int, str}, None),
        ("Literal['a', 'b']", {str}, None),
        ("list[float]", {list}, float),
        ("typing.List[str] | None", {list, type(None)}, str),
        ("tuple[int, ...]", {list}, int),
        ("Sequence[list[int]]", {list}, list),
        ("dict[str, int]", {dict}, None),
        ("Annotated[bool, 'on or off']", {bool}, None),
        ("Final[str]", {str}, None),
        ("Any", set(), None),
        ("Path", set(), None),
        ("int | Path", set(), None),
        ("'not an annotation at all'", set(), None),
        ("f(1)[2]", set(), None),
    ],
)
def test_an_annotation_says_the_type(annotation, types, items):
    parameter = assignments(f"x: {annotation} = None")["x"]
    assert parameter.types == types
    assert parameter.items == items


@pytest.mark.parametrize(
    ("code", "items"),
    [("[8, 8]", int), ("[0.1, 1]", float), ("['a']", str), ("[]", None), ("[1, 'a']", None)],
)
def test_a_list_tells_what_it_holds(code, items):
    assert assignments(f"x = {code}")["x"].items is items


def test_very_deep_code_is_refused():
    with pytest.raises(SyntaxError):
        assignments("x = " + "-" * 100_000 + "1")
