from __future__ import annotations

import pytest

from labkit.panels.rate_rows import RateRows

COLORS = {"sgd": "#111111", "adam": "#222222"}


@pytest.fixture
def rows() -> RateRows:
    seen: list[tuple[str, str]] = []
    made = RateRows(
        lambda slider, name: seen.append(("slider", name)),
        lambda button, name: seen.append(("button", name)),
    )
    made.seen = seen
    return made


def test_each_optimizer_has_a_row_of_its_colour(rows):
    assert rows.show((("sgd", 0.01), ("adam", 0.0123)), COLORS)
    assert {name: slider.value for name, slider in rows.rates.items()} == {
        "sgd": 0.01,
        "adam": 0.0123,
    }
    for row, color in zip(rows.children, COLORS.values(), strict=True):
        assert color in row.children[0].value
        assert not row.children[-1].disabled
    assert rows.seen == [
        ("slider", "sgd"),
        ("button", "sgd"),
        ("slider", "adam"),
        ("button", "adam"),
    ]


def test_other_rates_move_the_sliders_that_are_there(rows):
    rows.show((("sgd", 0.01), ("adam", 0.1)), COLORS)
    before = rows.rates["sgd"]
    assert not rows.show((("sgd", 0.5), ("adam", 0.1)), COLORS)
    assert rows.rates["sgd"] is before
    assert before.value == 0.5


def test_the_last_one_cannot_be_removed(rows):
    assert rows.show((("sgd", 0.01),), COLORS)
    assert rows.children[0].children[-1].disabled
