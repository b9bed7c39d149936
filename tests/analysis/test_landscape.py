from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit.analysis import stacked_losses
from labkit.analysis.landscape import around, between, filter_normalized, trajectory
from labkit.core.errors import LabError
from labkit.recipe.networks import ACTIVATIONS, NETWORKS
from labkit.recipe.recipe import Recipe
from labkit.training.layout import Layout, layout_of
from labkit.training.recorder import Recorder, Step
from labkit.training.trainer import Trainer, fit, initial_network

SMALL = Recipe(task="moons", samples=90, hidden=(7, 5), steps=40, device="cpu")
RECIPES = {
    "mlp": SMALL,
    "one layer": Recipe(task="digits", samples=120, hidden=(9,), activation="relu", steps=10),
    "no hidden layer": SMALL.replace(hidden=()),
    "deep": SMALL.replace(hidden=(4, 6, 3), activation="gelu"),
    "regression": Recipe(task="regression", samples=70, hidden=(6,), steps=10),
    "cnn": Recipe(
        task="digits", samples=40, network="cnn", hidden=(3, 4), activation="elu", steps=5
    ),
    "spoilt": SMALL.replace(label_noise=0.3, train_share=0.5),
}


def flat(recipe: Recipe) -> np.ndarray:
    """Its initial weights, with biases that are not all zero."""
    network = initial_network(recipe)
    with torch.no_grad():
        vector = nn.utils.parameters_to_vector(network.parameters())
        return (vector + 0.1 * torch.linspace(-1, 1, len(vector))).numpy()


@torch.no_grad()
def judge(recipe: Recipe, weights: np.ndarray, split: str = "train", samples: int | None = None):
    """Loss and accuracy of one network, by torch itself."""
    network, data = initial_network(recipe), recipe.data()
    nn.utils.vector_to_parameters(torch.tensor(weights), network.parameters())
    inputs = getattr(data, f"{split}_inputs")[:samples]
    targets = getattr(data, f"{split}_targets")[:samples]
    outputs = network(inputs)
    if not data.classes:
        return functional.mse_loss(outputs, targets).item(), None
    right = (outputs.argmax(1) == targets).float().mean().item()
    return functional.cross_entropy(outputs, targets).item(), right


def two_directions(recipe: Recipe, weights: np.ndarray, seed: int) -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    layout = layout_of(initial_network(recipe))
    drawn = [filter_normalized(torch.tensor(weights), layout, generator) for _ in range(2)]
    return [direction.numpy() for direction in drawn]


# --- the surface is what a loop over networks gives ------------------------------------


@pytest.mark.parametrize("block", [2**20, 300], ids=["one block", "many blocks"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_plane_is_what_single_networks_give(recipe, block, monkeypatch):
    monkeypatch.setattr(stacked_losses, "BLOCK", block)
    monkeypatch.setattr(stacked_losses, "_FEWEST", 16)
    weights = flat(recipe)
    found = around(recipe, weights, seed=3, span=0.8, resolution=5)
    across, up = two_directions(recipe, weights, 3)
    expected = [
        [judge(recipe, (weights + a * across + b * up).astype(np.float32))[0] for a in found.alpha]
        for b in found.beta
    ]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(found.loss) > 0.01, "a flat surface would agree with anything"
    assert found.samples == len(recipe.data().train_inputs)


@pytest.mark.parametrize("split", ["train", "val"])
def test_some_samples_of_a_split(split):
    weights = flat(SMALL)
    found = around(SMALL, weights, seed=0, resolution=3, split=split, samples=11)
    assert (found.split, found.samples) == (split, 11)
    assert found.loss[1, 1] == pytest.approx(judge(SMALL, weights, split, 11)[0], rel=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    before = torch.get_num_threads()
    expected = around(SMALL, flat(SMALL), seed=1, resolution=9).loss
    torch.set_num_threads(threads)
    try:
        np.testing.assert_array_equal(
            around(SMALL, flat(SMALL), seed=1, resolution=9).loss, expected
        )
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_a_network_that_cannot_be_stacked_is_evaluated_one_by_one(enter):
    class Doubled(nn.Linear):
        """No plain linear layer."""

        def forward(self, x):
            return super().forward(2 * x)

    def doubled(hidden, activation, data):
        """A layer of a kind of its own."""
        return nn.Sequential(Doubled(2, 4), activation(), nn.Linear(4, 2))

    enter(NETWORKS, "doubled")(doubled)
    recipe = SMALL.replace(network="doubled")
    weights = flat(recipe)
    found = around(recipe, weights, seed=0, resolution=3)
    across, up = two_directions(recipe, weights, 0)
    corner = judge(recipe, weights - across + up)[0]
    assert found.loss[2, 0] == pytest.approx(corner, rel=1e-5)
    line = between(recipe, weights, weights - across, points=2, beyond=0)
    assert line.val_accuracy.tolist() == pytest.approx(
        [judge(recipe, w, "val")[1] for w in (weights, weights - across)]
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    recipe = SMALL.replace(activation=activation)
    weights = flat(recipe)
    found = around(recipe, weights, seed=0, resolution=3)
    assert found.loss[1, 1] == pytest.approx(judge(recipe, weights)[0], rel=1e-5)


def test_large_losses_stay_exact_and_infinite_ones_do_no_harm():
    weights = 300 * flat(SMALL.replace(activation="relu"))
    recipe = SMALL.replace(activation="relu")
    found = around(recipe, weights, seed=0, resolution=3)
    assert found.loss[1, 1] > 1000, "e to this power is infinite"
    assert found.loss[1, 1] == pytest.approx(judge(recipe, weights)[0], rel=1e-5)
    far = around(recipe, weights, seed=0, span=1e37, resolution=3).loss
    assert far[1, 1] == found.loss[1, 1]
    assert not np.isfinite(far[0, 0])


def test_no_global_generator(global_rng_untouched):
    one, two = (around(SMALL, flat(SMALL), seed=5, resolution=3).loss for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, around(SMALL, flat(SMALL), seed=6, resolution=3).loss)


# --- directions ------------------------------------------------------------------------


def test_every_filter_of_a_direction_is_as_long_as_the_weights_own():
    layout = Layout(("conv.weight", "conv.bias", "out.weight"), ((3, 2, 3, 3), (3,), (2, 5)))
    weights = torch.arange(layout.total).float() + 1
    weights[layout.span("out.weight")][:5] = 0
    direction = filter_normalized(weights, layout, torch.Generator().manual_seed(0)).numpy()
    before, after = layout.split(weights.numpy()), layout.split(direction)
    for name in ("conv.weight", "out.weight"):
        own, drawn = before[name].reshape(len(before[name]), -1), after[name]
        drawn = drawn.reshape(len(drawn), -1)
        np.testing.assert_allclose(
            np.linalg.norm(drawn, axis=1), np.linalg.norm(own, axis=1), rtol=1e-5
        )
    assert not after["conv.bias"].any(), "biases are no filters"
    assert not after["out.weight"][0].any(), "a filter of zeros stays one"
    assert (np.sign(after["conv.weight"]) != np.sign(before["conv.weight"])).any()


# --- a run's own plane -----------------------------------------------------------------


@pytest.fixture(scope="module")
def run():
    return fit(SMALL.replace(steps=150, lr=0.03))


def test_the_plane_of_a_run_is_scikit_learns_pca(run):
    from sklearn.decomposition import PCA

    found = trajectory(run, SMALL, resolution=4)
    _, rows = run.snapshots()
    pca = PCA(n_components=2, svd_solver="full").fit(rows.astype(np.float64))
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.tolist(), rel=1e-4)
    expected = (rows - rows[-1]) @ pca.components_.T
    expected *= -np.sign(expected[0])
    np.testing.assert_allclose(found.path.alpha, expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(found.path.beta, expected[:, 1], atol=1e-4)
    assert (found.path.alpha[0], found.path.beta[0]) < (0, 0)


def test_the_path_has_its_own_losses_and_lies_on_the_grid(run):
    found = trajectory(run, SMALL, resolution=9)
    path = found.path
    assert path.steps.tolist() == list(range(151))
    for step in (0, 70, 150):
        assert path.loss[step] == pytest.approx(judge(SMALL, run.flat(step))[0], rel=1e-5)
    assert path.alpha[-1] == path.beta[-1] == 0
    for grid, along in ((found.alpha, path.alpha), (found.beta, path.beta)):
        assert grid[0] < along.min()
        assert along.max() < grid[-1]


def test_the_surface_of_a_plane_holds_the_runs_end(run):
    """A network evaluated by hand at a grid point, from scikit-learn's components."""
    from sklearn.decomposition import PCA

    found = trajectory(run, SMALL, resolution=5)
    _, rows = run.snapshots()
    pca = PCA(n_components=2, svd_solver="full").fit(rows.astype(np.float64))
    start = (rows[0] - rows[-1]) @ pca.components_.T
    across, up = -np.sign(start)[:, None] * pca.components_
    for row, column in ((0, 0), (2, 3), (4, 1)):
        weights = rows[-1] + found.alpha[column] * across + found.beta[row] * up
        expected = judge(SMALL, weights.astype(np.float32))[0]
        assert found.loss[row, column] == pytest.approx(expected, rel=1e-4)


def made(rows: np.ndarray):
    """A history of SMALL's network with given weights."""
    history = Trainer(SMALL, record=False).history
    recorder = Recorder(history)
    for step, row in enumerate(rows.astype(np.float32)):
        recorder.record(Step(step, 0.1, 0.1), row, np.zeros_like(row))
    return history


def test_a_run_along_a_straight_line_has_a_plane_too():
    start = flat(SMALL)
    rows = start + np.linspace(0, 1, 6)[:, None] * np.ones_like(start)
    found = trajectory(made(rows), SMALL, resolution=3)
    assert found.explained == pytest.approx((1, 0), abs=1e-6)
    np.testing.assert_allclose(found.path.beta, 0, atol=1e-5)
    length = np.sqrt(len(start))
    np.testing.assert_allclose(
        found.path.alpha, length * np.linspace(-1, 0, 6), rtol=1e-4, atol=1e-5
    )
    assert np.isfinite(found.loss).all()


def test_runs_without_a_plane():
    start = flat(SMALL)
    with pytest.raises(LabError, match="nothing is recorded yet"):
        trajectory(Trainer(SMALL, record=False).history, SMALL)
    with pytest.raises(LabError, match="never moved"):
        trajectory(made(np.stack([start] * 3)), SMALL)
    with pytest.raises(LabError, match="never moved"):
        trajectory(made(start[None]), SMALL)
    broken = np.stack([start] * 3)
    broken[1, 4] = np.inf
    with pytest.raises(LabError, match="became infinite"):
        trajectory(made(broken), SMALL)


# --- the line between two --------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "cnn", "regression", "no hidden layer"])
def test_a_line_is_what_single_networks_give(name, monkeypatch):
    monkeypatch.setattr(stacked_losses, "BLOCK", 500)
    monkeypatch.setattr(stacked_losses, "_FEWEST", 16)
    recipe = RECIPES[name]
    a = flat(recipe)
    b = flat(recipe.replace(seed=1))
    line = between(recipe, a, b, points=7)
    np.testing.assert_allclose(line.place, np.linspace(-0.25, 1.25, 7))
    for split in ("train", "val"):
        each = [judge(recipe, (a + t * (b - a)).astype(np.float32), split) for t in line.place]
        losses, accuracies = zip(*each, strict=True)
        np.testing.assert_allclose(getattr(line, f"{split}_loss"), losses, rtol=1e-5)
        if name == "regression":
            assert getattr(line, f"{split}_accuracy") is None
        else:
            np.testing.assert_allclose(getattr(line, f"{split}_accuracy"), accuracies, atol=1e-6)


# --- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": 0}, "span=0 is not allowed: give a number above 0"),
        ({"span": float("inf")}, "span=inf"),
        ({"resolution": 1}, "resolution=1 is not allowed: give a whole number from 2 to 501"),
        ({"resolution": 5000}, "resolution=5000"),
        ({"split": "test"}, "split='test' is not known: choose from train, val"),
        ({"samples": 0}, "samples=0 is not allowed"),
    ],
)
def test_bad_options_say_what_would_be_right(options, message):
    with pytest.raises(LabError, match=message):
        around(SMALL, flat(SMALL), seed=0, **options)


def test_weights_that_do_not_fit():
    good = flat(SMALL)
    with pytest.raises(LabError, match=r"weights: shape \(3,\), but .* has 73 weights"):
        around(SMALL, good[:3], seed=0)
    with pytest.raises(LabError, match="b: not all are finite"):
        between(SMALL, good, np.full_like(good, np.nan))
    with pytest.raises(LabError, match="points=1 is not allowed"):
        between(SMALL, good, good, points=1)
    with pytest.raises(LabError, match="beyond=-1 is not allowed"):
        between(SMALL, good, good, beyond=-1)
    other = fit(SMALL.replace(hidden=(3,), steps=2))
    with pytest.raises(LabError, match="the run's weights: shape"):
        trajectory(other, SMALL)
