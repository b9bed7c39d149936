from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.training import predict
from labkit.training.trainer import initial_network

PLANE = Recipe(task="blobs", samples=60, hidden=(5, 4))
CURVE = Recipe(task="regression", samples=60, hidden=(6,))
DIGITS = Recipe(task="digits", samples=100, network="cnn", hidden=(3,))


def network_of(recipe, seed):
    network = initial_network(recipe.replace(seed=seed))
    flat = torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    return network, flat


@pytest.mark.parametrize("recipe", [PLANE, CURVE, DIGITS], ids=lambda r: r.task)
def test_outputs_are_the_networks(recipe):
    for seed in (0, 1):  # the second finds the first one's network kept
        network, flat = network_of(recipe, seed)
        inputs = recipe.data().val_inputs
        expected = network(inputs).detach().numpy()
        np.testing.assert_allclose(
            predict.outputs(recipe, flat, inputs.numpy()), expected, rtol=1e-6
        )


def test_the_surface_is_the_networks_softmax_at_its_grid_points():
    network, flat = network_of(PLANE, 3)
    made = predict.probability_map(PLANE, flat, resolution=11)
    assert made.probabilities.shape == (3, 11, 11)
    for row, column in ((0, 0), (2, 7), (10, 4)):
        point = torch.tensor([[made.x[column], made.y[row]]])
        expected = torch.softmax(network(point), 1)[0].detach().numpy()
        np.testing.assert_allclose(made.probabilities[:, row, column], expected, rtol=1e-5)
    inputs = PLANE.data().train_inputs
    assert made.x[0] < inputs.min()
    assert inputs.max() < made.x[-1]


def test_the_curve_is_the_network_over_the_range_of_the_data():
    network, flat = network_of(CURVE, 0)
    made = predict.curve(CURVE, flat)
    expected = network(torch.from_numpy(made.x)[:, None])[:, 0].detach().numpy()
    np.testing.assert_allclose(made.y, expected, rtol=1e-5)


def test_predictions_are_of_the_first_validation_pictures():
    network, flat = network_of(DIGITS, 0)
    made = predict.predictions(DIGITS, flat, count=7)
    data = DIGITS.data()
    shares = torch.softmax(network(data.val_inputs[:7]), 1).detach()
    np.testing.assert_array_equal(made.images, data.val_inputs[:7, 0])
    np.testing.assert_array_equal(made.true, data.val_targets[:7])
    np.testing.assert_array_equal(made.predicted, shares.argmax(1))
    np.testing.assert_allclose(made.confidence, shares.max(1).values, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "recipe"),
    [
        (predict.probability_map, CURVE),
        (predict.probability_map, DIGITS),
        (predict.curve, PLANE),
        (predict.predictions, PLANE),
    ],
)
def test_a_task_it_cannot_show_is_named(function, recipe):
    with pytest.raises(ValueError, match=recipe.task):
        function(recipe, network_of(recipe, 0)[1])


def test_another_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="weights"):
        predict.probability_map(PLANE, np.zeros(1, np.float32))


def test_the_given_weights_are_neither_changed_nor_kept():
    _, flat = network_of(PLANE, 0)
    flat.setflags(write=False)
    before = predict.probability_map(PLANE, flat).probabilities.copy()
    predict.probability_map(PLANE, np.zeros_like(flat))
    np.testing.assert_array_equal(predict.probability_map(PLANE, flat).probabilities, before)


def test_a_surface_stays_when_the_next_is_made():
    flats = [network_of(PLANE, seed)[1] for seed in (0, 1)]
    first = predict.probability_map(PLANE, flats[0])
    copy = first.probabilities.copy()
    predict.probability_map(PLANE, flats[1])
    np.testing.assert_array_equal(first.probabilities, copy)


def test_threads_do_not_mix_their_weights():
    flats = [network_of(PLANE, seed)[1] for seed in range(4)]
    expected = [predict.probability_map(PLANE, flat, 15).probabilities for flat in flats]

    def work(k):
        return [predict.probability_map(PLANE, flats[k], 15).probabilities for _ in range(40)]

    with ThreadPoolExecutor(4) as pool:
        for k, results in enumerate(pool.map(work, range(4))):
            for found in results:
                np.testing.assert_array_equal(found, expected[k])


def test_diverged_weights_give_no_error():
    _, flat = network_of(PLANE, 0)
    made = predict.probability_map(PLANE, np.full_like(flat, np.nan))
    assert np.isnan(made.probabilities).all()
