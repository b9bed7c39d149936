from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.toys.neuron import LIMIT, Neuron

NEURONS = [
    Neuron(),
    Neuron(weight=-2.0, bias=1.0, noise=0.5, samples=7, seed=3),
    Neuron(noise=0.0, samples=2),
    Neuron(samples=1000, seed=9),
]
KNOBS = [(0.0, 0.0), (1.5, -0.5), (-3.0, 3.0)]

each = pytest.mark.parametrize("neuron", NEURONS, ids=str)


@each
def test_points_lie_around_the_line(neuron):
    x, y = neuron.points()
    assert x.shape == y.shape == (neuron.samples,)
    assert np.abs(x).max() <= 1
    errors = y - (neuron.weight * x + neuron.bias)
    assert np.abs(errors).max() <= 5 * neuron.noise
    if neuron.samples >= 1000:
        assert errors.std() == pytest.approx(neuron.noise, rel=0.1)
        assert errors.mean() == pytest.approx(0, abs=0.02)


def test_the_seed_alone_draws_the_points():
    again, other = Neuron(seed=4).points(), Neuron(seed=5).points()
    for one, two, three in zip(Neuron(seed=4).points(), again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)
    moved = Neuron(seed=4, weight=7, bias=2, noise=0)
    np.testing.assert_array_equal(Neuron(seed=4).points()[0], moved.points()[0])


@each
@pytest.mark.parametrize(("weight", "bias"), KNOBS)
def test_loss_and_gradient_are_torchs(neuron, weight, bias):
    """torch's mse_loss and autograd, in float64."""
    x, y = (torch.from_numpy(values) for values in neuron.points())
    w, b = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (weight, bias))
    loss = torch.nn.functional.mse_loss(w * x + b, y)
    loss.backward()
    assert float(neuron.loss(weight, bias)) == pytest.approx(loss.item(), rel=1e-12)
    expected = (w.grad.item(), b.grad.item())
    assert neuron.gradient(weight, bias) == pytest.approx(expected, rel=1e-12)


def test_many_lines_are_judged_at_once():
    neuron, rng = NEURONS[1], np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 4, 3))
    losses = neuron.loss(weight, bias)
    assert losses.shape == (4, 3)
    for place in np.ndindex(4, 3):
        assert losses[place] == pytest.approx(float(neuron.loss(weight[place], bias[place])))


@each
def test_the_surface_has_biases_as_rows_and_weights_as_columns(neuron):
    knob, losses = neuron.surface(resolution=13)
    assert (knob[0], knob[-1], len(knob), losses.shape) == (-LIMIT, LIMIT, 13, (13, 13))
    for row, column in [(0, 12), (3, 5), (12, 0)]:
        expected = float(neuron.loss(knob[column], knob[row]))
        assert losses[row, column] == pytest.approx(expected)


def test_descent_is_torchs_sgd():
    neuron, start, lr, steps = NEURONS[1], (2.0, -1.0), 0.3, 12
    path = neuron.descend(*start, lr, steps)
    assert path.shape == (steps + 1, 2)
    x, y = (torch.from_numpy(values) for values in neuron.points())
    knobs = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([knobs], lr=lr)
    expected = [knobs.tolist()]
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(knobs[0] * x + knobs[1], y).backward()
        optimizer.step()
        expected.append(knobs.tolist())
    np.testing.assert_allclose(path, expected, rtol=1e-12)


def test_no_steps_are_a_path_of_one_place():
    np.testing.assert_array_equal(Neuron().descend(1.0, 2.0, 0.3, 0), [[1.0, 2.0]])


@each
def test_nobody_does_better_than_the_best(neuron):
    best = neuron.best()
    least = float(neuron.loss(*best))
    assert neuron.gradient(*best) == pytest.approx((0, 0), abs=1e-12)
    rng = np.random.default_rng(1)
    assert least <= neuron.loss(*(best + rng.normal(size=(500, 2))).T).min()
    if neuron.samples > 2:
        downhill = neuron.descend(0, 0, 0.3, 400)[-1]
        np.testing.assert_allclose(downhill, best, atol=1e-6)


def test_without_noise_the_best_is_the_line_itself():
    neuron = Neuron(noise=0)
    assert neuron.best() == pytest.approx((1.5, -0.5), abs=1e-12)
    assert float(neuron.loss(1.5, -0.5)) == 0
