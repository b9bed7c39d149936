from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit.analysis import stacked_losses
from labkit.analysis.stacked_losses import losses_in_plane, losses_of_rows

NETWORKS = {
    "one layer": lambda outputs: nn.Sequential(nn.Linear(3, outputs)),
    "mlp": lambda outputs: nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.Linear(6, outputs)),
    "in place": lambda outputs: nn.Sequential(
        nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, outputs)
    ),
    # Not stacked: evaluated one by one.
    "normalized": lambda outputs: nn.Sequential(
        nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, outputs)
    ),
}


@pytest.fixture(params=["classes", "values"])
def task(request):
    """Outputs, inputs and targets of 37 samples."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(37, 3, generator=generator)
    if request.param == "values":
        return 1, inputs, torch.randn(37, 1, generator=generator)
    return 4, inputs, torch.randint(4, (37,), generator=generator)


@torch.no_grad()
def alone(network, weights, inputs, targets):
    """One network's loss and share of right answers, by torch itself."""
    nn.utils.vector_to_parameters(weights, network.parameters())
    outputs = network(inputs)
    if targets.is_floating_point():
        return functional.mse_loss(outputs, targets).item(), None
    right = (outputs.argmax(1) == targets).float().mean().item()
    return functional.cross_entropy(outputs, targets).item(), right


def drawn(network, count, seed=1):
    total = sum(p.numel() for p in network.parameters())
    return torch.randn(count, total, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [2**20, 60], ids=["one block", "many blocks"])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_rows_are_what_networks_give_one_by_one(make, block, task, monkeypatch):
    monkeypatch.setattr(stacked_losses, "BLOCK", block)
    monkeypatch.setattr(stacked_losses, "_FEWEST", 5)
    outputs, inputs, targets = task
    network = make(outputs)
    rows = drawn(network, 7)
    expected = [alone(make(outputs), row, inputs, targets) for row in rows]
    losses, right = losses_of_rows(network, rows, inputs, targets)
    np.testing.assert_allclose(losses, [loss for loss, _ in expected], rtol=1e-5)
    if targets.is_floating_point():
        assert right is None
    else:
        np.testing.assert_allclose(right, [share for _, share in expected], atol=1e-6)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_plane_has_columns_across_and_rows_up(make, task):
    outputs, inputs, targets = task
    network = make(outputs)
    origin, across, up = vectors = drawn(network, 3)
    alpha, beta = np.linspace(-1, 1, 4), np.array([0.0, 0.5])
    found = losses_in_plane(network, vectors, alpha, beta, inputs, targets)
    assert found.shape == (2, 4)
    for (row, column), loss in np.ndenumerate(found):
        weights = origin + float(alpha[column]) * across + float(beta[row]) * up
        expected, _ = alone(make(outputs), weights, inputs, targets)
        assert loss == pytest.approx(expected, rel=1e-4), (row, column)
