"""The range test: curves whose answer is known, and real recipes judged by real training."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.analysis.lr_range import MEDIAN, judge, range_test
from labkit.core.errors import RecipeError
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import Trainer, fit

LRS = np.geomspace(1e-5, 10, 200)
CENTRE, WIDTH = -2.0, 0.3
# 1/(1 + e^-z) falls half as fast as at its steepest where its square root's cosh is √2.
HALF_AS_FAST = 10 ** (CENTRE + WIDTH * 2 * np.arccosh(np.sqrt(2)))


def fall(lrs: np.ndarray, centre: float = CENTRE, width: float = WIDTH) -> np.ndarray:
    """From 1 to 0.2 around 10^centre, in the shape of a logistic curve."""
    return 1 - 0.8 / (1 + np.exp(-(np.log10(lrs) - centre) / width))


def explosion(lrs: np.ndarray, at: float = 0.3) -> np.ndarray:
    return 10 * (lrs / at) ** 4


def near(rate: float, factor: float = 1.25):
    """Within a factor, on either side."""
    return pytest.approx(np.log(rate), abs=np.log(factor))


# --- curves with a known answer --------------------------------------------------------


def test_the_suggestion_is_where_a_logistic_curve_still_falls_half_as_fast():
    test = judge(LRS, fall(LRS))
    assert np.log(test.suggestion) == near(HALF_AS_FAST)
    assert np.log(test.steepest) == near(10**CENTRE)


def test_it_is_not_the_minimum():
    losses = fall(LRS) + explosion(LRS)
    test = judge(LRS, losses)
    assert np.log(test.lowest) == near(LRS[losses.argmin()], 1.5)
    assert test.suggestion < test.lowest / 1.3
    assert test.zone[0] < test.steepest < test.suggestion < test.zone[1] == test.lowest


def test_the_slope_is_taken_against_the_logarithm_whatever_the_spacing():
    """Against the rate itself, evenly spaced rates would give another answer than factors."""
    low, high = 1e-2, 10.0
    by_factors, evenly = np.geomspace(low, high, 100), np.linspace(low, high, 800)
    found = [judge(lrs, fall(lrs, centre=0.0)).suggestion for lrs in (by_factors, evenly)]
    expected = HALF_AS_FAST / 10**CENTRE
    assert np.log(found) == pytest.approx(np.log(expected), abs=np.log(1.25))


@pytest.mark.parametrize("first", [0, 3, 12, 40, 90])
@pytest.mark.parametrize("wild", [1, MEDIAN // 2])
def test_wild_batches_change_nothing(first, wild):
    """The fall after a spike is the steepest there is, and means nothing."""
    losses = fall(LRS) + explosion(LRS)
    spoilt = losses.copy()
    spoilt[first : first + wild] *= 50
    calm, spiked = judge(LRS, losses), judge(LRS, spoilt)
    assert np.log(spiked.suggestion) == near(calm.suggestion, 1.1)


def test_a_first_transient_is_not_taken_for_learning():
    """The loss drops in the first steps at any rate, as where a bad output bias is mended."""
    losses = fall(LRS) + explosion(LRS) + 3 * np.exp(-np.arange(len(LRS)) / 2)
    assert np.log(judge(LRS, losses).suggestion) == near(HALF_AS_FAST)


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_it_little(seed):
    noise = np.random.default_rng(seed).normal(0, 0.08, len(LRS))
    test = judge(LRS, fall(LRS) + noise + explosion(LRS))
    assert np.log(test.suggestion) == near(HALF_AS_FAST, 2.5)


def test_smoothing_is_not_late():
    """A running mean over what came before would shift the curve to higher rates."""
    curve = 1 + fall(LRS)
    there, back = judge(LRS, curve).smoothed, judge(LRS, curve[::-1]).smoothed[::-1]
    np.testing.assert_allclose(there[40:-40], back[40:-40], atol=1e-6)
    line = 2 - 0.3 * np.log10(LRS)
    np.testing.assert_allclose(judge(LRS, line).smoothed[20:-8], line[20:-8], atol=2e-3)


def test_a_quick_first_gain_does_not_hide_the_second():
    losses = 2 * fall(LRS, -4, 0.15) + fall(LRS, -1.5, 0.4)
    test = judge(LRS, losses)
    assert np.log(test.steepest) == near(1e-4, 1.5)
    # Four fifths of the whole, 2.4, are the first part, 1.6, and two fifths of the second.
    assert np.log(test.suggestion) == near(10 ** (-1.5 + 0.4 * np.log(0.4 / 0.6)))
    assert "more slowly" in test.reason
    assert "more slowly" not in judge(LRS, fall(LRS)).reason


def test_what_comes_after_the_turn_does_not_count():
    """Behind an explosion the loss may fall further and faster than before: that is luck."""
    losses = fall(LRS) + 3 * np.exp(-(((np.log10(LRS) + 0.5) / 0.2) ** 2))
    losses -= 0.15 / (1 + np.exp(-(np.log10(LRS) - 0.2) / 0.05))
    assert losses.argmin() > np.searchsorted(LRS, 1.0)
    test = judge(LRS, losses)
    assert test.lowest < 0.3
    assert np.log(test.suggestion) == near(HALF_AS_FAST, 1.4)


@pytest.mark.parametrize(
    "losses",
    [np.full(200, 0.7), 1 + 0.5 * np.arange(200), np.linspace(1, 0.9999, 200)],
    ids=["flat", "rising", "as good as flat"],
)
def test_a_loss_that_never_falls_suggests_nothing_and_says_why(losses):
    test = judge(LRS, losses)
    assert (test.suggestion, test.lowest, test.steepest, test.zone) == (None, None, None, None)
    assert "never fell" in test.reason
    assert "larger batches" in test.reason


@pytest.mark.parametrize("noise", ["normal", "standard_cauchy", "laplace"])
def test_chance_suggests_nothing(noise):
    draw = [getattr(np.random.default_rng(seed), noise)(size=200) for seed in range(200)]
    found = [judge(LRS, 0.7 + 0.05 * values).suggestion is not None for values in draw]
    assert np.mean(found) <= 0.02


def test_a_loss_that_falls_to_the_end_says_that_the_test_was_too_short():
    test = judge(LRS, fall(LRS, centre=1.0))
    assert test.lowest == pytest.approx(10)
    assert "higher rates" in test.reason


def test_losses_that_are_no_numbers_are_left_out():
    losses = fall(LRS)
    losses[150:] = np.inf
    losses[160:] = np.nan
    test = judge(LRS, losses)
    assert np.log(test.suggestion) == near(HALF_AS_FAST)
    assert test.exploded
    assert np.isfinite(test.smoothed[20:150]).all()
    losses[5:] = np.nan
    test = judge(LRS, losses)
    assert test.suggestion is None
    assert "5 of 200" in test.reason


# --- training --------------------------------------------------------------------------

DIGITS = Recipe(task="digits", hidden=(16,), activation="relu", optimizer="sgd", device="cpu")


def test_losses_are_those_of_a_trainer_whose_rate_rises():
    """Each loss belongs to the rate of the update before it, not of the one after."""
    rates = np.geomspace(1e-3, 1e-1, 20)
    plain = DIGITS.replace(steps=21, lr=1e-1)
    trainer, expected = Trainer(plain), []
    for rate in [*rates, rates[-1]]:
        trainer.adjust(plain.replace(lr=float(min(rate, 1e-1))))
        expected.append(trainer.advance().loss)
    test = range_test(DIGITS, 1e-3, 1e-1, 20)
    np.testing.assert_allclose(test.lrs, rates)
    np.testing.assert_array_equal(test.losses, expected[1:])


def test_it_is_repeatable_and_uses_the_global_generator_nowhere(global_rng_untouched):
    first, second = (range_test(DIGITS, steps=30) for _ in range(2))
    np.testing.assert_array_equal(first.losses, second.losses)
    other = range_test(DIGITS.replace(seed=1), steps=30)
    assert not np.array_equal(first.losses, other.losses)


def test_the_recipes_own_rate_schedule_and_patience_do_not_matter():
    odd = DIGITS.replace(lr=3.0, schedule="cosine", patience=1, steps=7)
    np.testing.assert_array_equal(
        range_test(odd, steps=40).losses, range_test(DIGITS, steps=40).losses
    )
    assert odd.schedule == "cosine"


def test_it_stops_when_the_loss_explodes():
    recipe = Recipe(task="regression", optimizer="sgd", activation="relu", hidden=(32, 32))
    test = range_test(recipe, steps=200)
    assert test.exploded
    assert len(test.lrs) == len(test.losses) == len(test.smoothed) < 200
    assert test.lrs[-1] < 10
    assert test.suggestion < test.lowest


def test_weights_that_cannot_learn_suggest_nothing():
    test = range_test(DIGITS.replace(init="zeros", hidden=(8, 8)))
    assert test.suggestion is None
    assert "never fell" in test.reason


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"low": 1.0, "high": 0.1}, "low=1 must be below high=0.1"),
        ({"low": 1e-9}, "1e-05"),
        ({"high": 100.0}, "10"),
        ({"steps": 5}, "at least 20"),
    ],
)
def test_a_mistake_is_explained(given, part):
    with pytest.raises(RecipeError, match=part):
        range_test(DIGITS, **given)


def test_an_optimizer_without_a_learning_rate_is_explained():
    with pytest.raises(RecipeError, match="very first step"):
        range_test(DIGITS.replace(optimizer="rprop"))


REAL = {
    "digits sgd": Recipe(task="digits", hidden=(32,), activation="relu", optimizer="sgd"),
    "digits adam": Recipe(task="digits", hidden=(32,), activation="relu", optimizer="adam"),
    "moons momentum": Recipe(task="moons", optimizer="momentum"),
    "regression adam": Recipe(task="regression", optimizer="adam"),
}


@pytest.mark.parametrize("name", REAL)
def test_training_at_the_suggestion_is_nearly_the_best_of_a_sweep(name):
    """A tenth of what there was to gain, at the most, is lost to the best of many rates."""
    recipe = REAL[name].replace(steps=300, device="cpu")
    test = range_test(recipe)

    def ends(lr: float) -> tuple[float, float]:
        history = fit(recipe.replace(lr=lr))
        losses = history.curve("train_loss")[1]
        return losses[0], losses[-1] if history.finding is None else np.inf

    rates = np.geomspace(3e-3, 1, 6)
    results = [ends(float(lr)) for lr in rates]
    first, best = results[0][0], min(last for _, last in results)
    _, reached = ends(test.suggestion)
    assert reached - best <= 0.1 * (first - best)
    assert 1 / 30 < test.suggestion / rates[int(np.argmin([r[1] for r in results]))] < 30
