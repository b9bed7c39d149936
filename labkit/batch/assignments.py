"""What the code of a `parameters` cell assigns: read as Python, never executed."""

from __future__ import annotations

import ast
import warnings
from typing import Any, Final

from labkit.batch.parameters import UNKNOWN, NotebookParameter, check_json


def assignments(code: str) -> dict[str, NotebookParameter]:
    """The variables that code assigns, in order, with their defaults and types.

    A default may hold any character, an annotation counts, the last assignment of a name
    wins. Other statements (imports, magics) are left alone.

    Raises:
        SyntaxError: it is not Python.
    """
    found: dict[str, NotebookParameter] = {}
    try:
        statements = _parsed(code)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from None
    for statement in statements:
        for parameter in _assigned(statement):
            if not parameter.name.startswith("__"):
                found[parameter.name] = parameter
    return found


def _parsed(source: str) -> list[ast.stmt]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `"\d"` in a default
        try:
            return ast.parse(source).body
        except SyntaxError:  # `%matplotlib inline` is none to IPython, whose import takes a while
            from IPython.core.inputtransformer2 import TransformerManager

            return ast.parse(TransformerManager().transform_cell(source)).body


def _assigned(statement: ast.stmt) -> list[NotebookParameter]:
    """The variables that a statement assigns; none where it is something else."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            types, items = _annotation(annotation)
            default = UNKNOWN if value is None else _default(value)
            return [NotebookParameter(name, default, types, items or _items(default))]
        case ast.Assign(targets=targets, value=value):
            return [found for target in targets for found in _targets(target, value)]
        case ast.AugAssign(target=ast.Name(id=name)):
            return [NotebookParameter(name)]
    return []


def _targets(target: ast.expr, value: ast.expr) -> list[NotebookParameter]:
    match target, value:
        case ast.Name(id=name), _:
            default = _default(value)
            return [NotebookParameter(name, default, None, _items(default))]
        case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
            pairs = zip(names, values, strict=True)
            return [found for pair in pairs for found in _targets(*pair)]
        case ast.Tuple(elts=names), _:
            return [NotebookParameter(name.id) for name in names if isinstance(name, ast.Name)]
    return []


def _default(value: ast.expr) -> Any:
    """A literal as JSON holds it, tuples as lists; else `UNKNOWN`."""
    try:
        default = _as_lists(ast.literal_eval(value))
        check_json("", default)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return UNKNOWN
    return default


def _as_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return value


def _items(default: Any) -> type | None:
    """What a list holds: the type of its items; float where some are whole."""
    kinds = {type(item) for item in default} if type(default) is list else set()
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 else None


NAMED: Final[dict[str, type]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    **dict.fromkeys(("list", "List", "tuple", "Tuple", "Sequence", "Iterable"), list),
    **dict.fromkeys(("dict", "Dict", "Mapping"), dict),
    "None": type(None),
}
Types = frozenset[type] | None


def _annotation(node: ast.expr) -> tuple[Types, type | None]:
    """The JSON types that an annotation allows, and those of a list's items; None: unknown."""
    match node:
        case ast.Constant(value=None):
            return frozenset({type(None)}), None
        case ast.Constant(value=str(text)):
            try:
                return _annotation(ast.parse(text, mode="eval").body)
            except (SyntaxError, ValueError):
                return None, None
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (frozenset({NAMED[name]}), None) if name in NAMED else (None, None)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _either([left, right])
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "Optional":
                return _either([*parts, ast.Constant(None)])
            if name == "Union":
                return _either(parts)
            if name in ("Annotated", "Final"):
                return _annotation(parts[0])
            if name == "Literal":
                kinds = [type(part.value) for part in parts if isinstance(part, ast.Constant)]
                return (frozenset(kinds) if len(kinds) == len(parts) else None), None
            if NAMED.get(name) is list:
                item, _ = _annotation(parts[0])
                return frozenset({list}), next(iter(item)) if item and len(item) == 1 else None
            return (frozenset({NAMED[name]}), None) if name in NAMED else (None, None)
    return None, None


def _either(parts: list[ast.expr]) -> tuple[Types, type | None]:
    found = [_annotation(part) for part in parts]
    items = next((item for _, item in found if item), None)
    kinds = [types for types, _ in found if types is not None]
    return (frozenset().union(*kinds) if len(kinds) == len(found) else None), items
