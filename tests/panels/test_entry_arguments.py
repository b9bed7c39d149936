from __future__ import annotations

from typing import Annotated

import ipywidgets as widgets
import pytest

from labkit.core.parameters import knob
from labkit.core.registry import Registry
from labkit.panels.entry_arguments import EntryArguments

REGISTRY = Registry("thing")


@REGISTRY.register("round")
def _round(*, size: Annotated[float, knob(0.0, 2.0, step=0.1)] = 1.0, filled: bool = False) -> None:
    """A disc."""


@REGISTRY.register("plain")
def _plain() -> None:
    """Nothing to set."""


@pytest.fixture
def box() -> EntryArguments:
    return EntryArguments(lambda widget, name: widget.add_class(f"seen-{name}"))


def test_arguments_come_and_go_with_the_entry(box):
    box.show(REGISTRY["round"], {"size": 0.5})
    assert {name: field.value for name, field in box.fields.items()} == {
        "size": 0.5,
        "filled": False,
    }
    assert box.children == tuple(box.fields.values())
    assert box.fields["size"]._dom_classes == ("seen-size",)
    box.show(REGISTRY["plain"], {})
    assert (box.fields, box.children) == ({}, ())


def test_the_same_entry_keeps_its_widgets(box):
    box.show(REGISTRY["round"], {"size": 0.5})
    before = box.fields["size"]
    box.show(REGISTRY["round"], {})
    assert box.fields["size"] is before
    assert before.value == 1.0, "what is not given has its default"


def test_an_entry_registered_anew_has_new_widgets(box, enter):
    def make(*, size: float = 3.0) -> None:
        """Another one of that name."""

    enter(REGISTRY, "again")(make)
    box.show(REGISTRY["again"], {})
    REGISTRY.unregister("again")

    def other(*, width: float = 4.0) -> None:
        """Another one of that name."""

    REGISTRY.register("again")(other)
    box.show(REGISTRY["again"], {})
    assert {name: field.value for name, field in box.fields.items()} == {"width": 4.0}


def test_arguments_can_be_left_out_and_made_another_way():
    box = EntryArguments(
        lambda widget, name: None,
        make=lambda parameter, value: widgets.FloatText(value, description=parameter.name.upper()),
        without=("filled",),
    )
    box.show(REGISTRY["round"], {})
    (field,) = box.children
    assert (field.description, field.value) == ("SIZE", 1.0)
