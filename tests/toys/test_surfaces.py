from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labkit.core.errors import RecipeError
from labkit.toys.surfaces import SURFACES, Surface, surface

# The formulas, written again with numpy from the papers.
ORACLES = {
    "ravine": lambda x, y: (x**2 + 100 * y**2) / 2,
    "saddle": lambda x, y: x**2 / 2 + (y * y - 1) ** 2 / 4,
    "rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x * x) ** 2,
    "beale": lambda x, y: (
        (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2
    ),
    "himmelblau": lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    "plateau": lambda x, y: -np.expm1(-(x**2 + y**2) / 2),
}
MINIMA = [(name, place) for name in SURFACES for place in Surface(name).minima]
SADDLES = [(name, place) for name in SURFACES for place in Surface(name).saddles]


def hessian(ground: Surface, place: tuple[float, float]) -> np.ndarray:
    at = torch.tensor(place, dtype=torch.float64)
    return torch.autograd.functional.hessian(ground.value, at).numpy()


def test_every_surface_has_an_oracle():
    assert set(SURFACES) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
def test_values_are_those_of_the_formula(name):
    ground = Surface(name)
    x, y, losses = ground.grid(41)
    expected = ORACLES[name](*np.meshgrid(x, y))
    np.testing.assert_allclose(losses, expected, rtol=1e-10, atol=1e-10)
    assert (x[0], x[-1]) == ground.limits[0]
    assert (y[0], y[-1]) == ground.limits[1]
    assert ground.loss((x[5], y[7])) == pytest.approx(losses[7, 5]), "rows are y"


@pytest.mark.parametrize(("name", "place"), MINIMA)
def test_minima_are_minima(name, place):
    ground = Surface(name)
    assert ground.loss(place) == pytest.approx(0, abs=1e-20)
    assert ground.gradient(place) == pytest.approx((0, 0), abs=1e-6)
    assert np.linalg.eigvalsh(hessian(ground, place)).min() > 1e-2


@pytest.mark.parametrize(("name", "place"), SADDLES)
def test_saddles_are_saddles(name, place):
    ground = Surface(name)
    assert ground.gradient(place) == pytest.approx((0, 0), abs=1e-6)
    low, high = np.linalg.eigvalsh(hessian(ground, place))
    assert low < -1e-2 < 1e-2 < high


@pytest.mark.parametrize("name", SURFACES)
def test_no_place_in_view_is_lower_than_the_minima(name):
    assert Surface(name).grid(201)[2].min() >= 0


@pytest.mark.parametrize("name", SURFACES)
def test_all_that_matters_is_in_view(name):
    ground = Surface(name)
    (left, right), (low, high) = ground.limits
    for x, y in (*ground.minima, *ground.saddles, ground.start):
        assert left < x < right
        assert low < y < high
    slope = math.hypot(*ground.gradient(ground.start))
    assert slope > 1e-4, "a walk from there would not begin"


@pytest.mark.parametrize("condition", [1.0, 7.0, 200.0])
@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0])
def test_a_ravine_has_the_condition_number_it_is_given_however_it_is_turned(condition, angle):
    ground = surface("ravine", condition=condition, angle=angle)
    low, high = np.linalg.eigvalsh(hessian(ground, (0.0, 0.0)))
    assert (low, high / low) == pytest.approx((1.0, condition))
    # Its start turns with it: the loss there, and the slope's length, stay the same.
    straight = surface("ravine", condition=condition)
    assert ground.loss(ground.start) == pytest.approx(straight.loss(straight.start))
    slopes = [math.hypot(*one.gradient(one.start)) for one in (ground, straight)]
    assert slopes[0] == pytest.approx(slopes[1])
    (left, right), (low, high) = ground.limits
    assert left < ground.start[0] < right
    assert low < ground.start[1] < high


def test_a_turned_ravine_runs_along_its_angle():
    ground = surface("ravine", condition=50, angle=30)
    _, vectors = np.linalg.eigh(hessian(ground, (0.0, 0.0)))
    along = vectors[:, 0] * np.sign(vectors[0, 0])
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(30)


def test_arguments_change_the_surface():
    assert surface("rosenbrock", b=1).loss((0.0, 2.0)) == pytest.approx(1 + 4)
    narrow, wide = surface("plateau", width=0.5), surface("plateau", width=2.0)
    assert narrow.loss((1.0, 0.0)) == pytest.approx(-math.expm1(-2))
    assert wide.loss((1.0, 0.0)) == pytest.approx(-math.expm1(-1 / 8))


def test_surfaces_are_values():
    assert surface("ravine", condition=100) == Surface("ravine"), "the default says nothing"
    assert hash(surface("ravine", condition=50)) == hash(Surface("ravine", {"condition": 50.0}))
    assert surface("ravine", condition=50) != Surface("ravine")
    ground = Surface("beale")
    assert surface(ground) is ground


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: surface("ravin"), "did you mean 'ravine'"),
        (lambda: surface("ravine", conditon=5), "did you mean 'condition'"),
        (lambda: surface("ravine", condition=0), "from 1 to 200"),
        (lambda: surface("beale", condition=5), "condition is not a field of 'beale'"),
    ],
)
def test_mistakes_are_answered(make, part):
    with pytest.raises(RecipeError, match=part):
        make()
