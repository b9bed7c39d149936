from __future__ import annotations

import numpy as np
import pytest

from tests.diagnosis.runs import FALLING, kinds, record, the


@pytest.mark.parametrize(("end", "found"), [(1.4, False), (1.6, True)])
def test_a_loss_that_rose_by_half(end, found):
    history = record([1.0, 2.5, *[end] * 30])
    assert ("lr_too_high_diverging" in kinds(history)) is found
    if found:
        finding = the("lr_too_high_diverging", history)
        assert finding.evidence == {"step": 31, "lr": 0.1, "start": 1.0, "end": 1.6}
        for number in ("1 at the start", "2.5 at its worst", "1.6 at step 31", "0.1"):
            assert number in finding.message
        assert finding.changes == {}, "there is no recipe to change"


@pytest.mark.parametrize(("peak", "end", "found"), [(3.1, 1.0, 1), (2.9, 1.0, 0), (3.1, 0.5, 0)])
def test_a_leap_from_which_the_loss_came_back_no_lower_than_a_guess(peak, end, found):
    history = record([1.0, 1.0, peak, *[end] * 30])
    assert kinds(history) == ["lr_too_high_diverging"] * found
    if found:
        evidence = the("lr_too_high_diverging", history).evidence
        assert (evidence["step"], evidence["peak"], evidence["end"]) == (2, peak, end)


@pytest.mark.parametrize(("swing", "found"), [(0.04, False), (0.06, True)])
def test_a_loss_that_swings_by_a_twentieth(swing, found):
    """Between 0.5 and 0.5 + swing, one step up and one step down."""
    history = record([1.0, *[0.5, 0.5 + swing] * 20])
    assert kinds(history) == (["lr_too_high_oscillating"] if found else [])
    if found:
        evidence = the("lr_too_high_oscillating", history).evidence
        assert evidence["swing"] == pytest.approx(swing)
        assert evidence["rises"] == pytest.approx(0.5, abs=0.03)


def test_a_steep_fall_is_no_swing_and_neither_is_one_spike():
    assert kinds(record([10 * 0.8**step for step in range(40)])) == []
    assert kinds(record([*FALLING[:30], 5.0, *FALLING[30:]])) == []


def test_swings_around_nothing_are_those_of_a_run_that_learnt():
    assert kinds(record([1.0, *[0.01, 0.09] * 20])) == []


@pytest.mark.parametrize(("growth", "found"), [(1e-4, True), (1e-3, False)])
def test_short_steps_are_too_short_while_the_loss_falls_slowly(growth, found):
    slow = np.linspace(1, 0.97, 40)
    history = record(list(slow), growth=growth)
    assert kinds(history) == (["lr_too_low"] if found else [])
    if found:
        assert the("lr_too_low", history).evidence["update_ratio"] == pytest.approx(1e-4, rel=0.02)


def test_short_steps_are_right_at_the_end_of_the_way():
    assert kinds(record(FALLING, growth=1e-4)) == []
    assert kinds(record([0.7] * 40, growth=1e-4)) == [], "not falling any more"


@pytest.mark.parametrize(("rise", "found"), [(1.2, False), (1.5, True)])
def test_a_validation_loss_that_turned_up(rise, found):
    val = [*np.linspace(1, 0.5, 20), *np.linspace(0.5, 0.5 * rise, 20)]
    history = record(FALLING, val=val)
    assert kinds(history) == (["overfitting"] if found else [])
    if found:
        finding = the("overfitting", history)
        assert finding.evidence["step"] == 19
        assert finding.evidence["lowest"] == pytest.approx(0.5)
        assert finding.evidence["end"] == pytest.approx(val[-2])


def test_a_validation_loss_that_rises_with_the_training_loss_is_something_else():
    curve = [*np.linspace(1, 0.5, 20), *np.linspace(0.5, 0.75, 20)]
    assert "overfitting" not in kinds(record(curve))
