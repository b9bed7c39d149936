"""A detector's History: statistics against numpy, snapshots within their memory."""

import numpy as np
import pytest
import torch
from torch import nn

from labkit.training.history import History
from labkit.training.statistics import STATISTICS
from labkit.vision.finetuning.recorder import DetectorRecorder, new_history
from labkit.vision.finetuning.records import StepRecord


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    network = nn.Module()
    network.model = layers
    network.to(memory_format=torch.channels_last)
    for parameter in layers[0].parameters():
        parameter.requires_grad_(False)
    return network


def train(network, steps=4, every=2):
    """Some steps of SGD; the recorder, and copies of all weights and gradients."""
    recorder = DetectorRecorder(network, new_history(network, {}), every)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    weights, gradients, updates = [_copy(network)], [None], [None]
    for step in range(1, steps + 1):
        images = torch.randn(2, 3, 8, 8)
        network.model(images).square().sum().backward()
        gradients.append({n: p.grad.numpy().copy() for n, p in _moving(network)})
        if recorder.due(step):
            recorder.before()
        optimizer.step()
        updates.append(recorder.after(step) if recorder.due(step) else None)
        recorder.record(StepRecord(step, 1, float(step), {}, 0.1, None, steps))
        optimizer.zero_grad()
        weights.append(_copy(network))
    recorder.record_epoch(steps, 2.5, 0.75)
    return recorder.history, weights, gradients, updates


def _moving(network):
    return [(n, p) for n, p in network.named_parameters() if p.requires_grad]


def _copy(network):
    return {n: p.detach().numpy().copy() for n, p in network.named_parameters()}


def test_statistics_are_those_of_the_weights(network):
    history, weights, gradients, updates = train(network)
    for name in weights[0]:
        steps, _ = history.statistic("norm", name)
        assert list(steps) == [0, 2, 4]
        now, before, first = weights[4][name], weights[3][name], weights[0][name]
        expected = {
            "mean": now.mean(),
            "std": now.std(),
            "min": now.min(),
            "max": now.max(),
            "norm": np.linalg.norm(now),
            "distance": np.linalg.norm(now - first),
            "update_ratio": np.linalg.norm(now - before) / np.linalg.norm(before),
            "gradient_norm": np.linalg.norm(gradients[4][name]) if name in gradients[4] else 0.0,
        }
        assert set(expected) == set(STATISTICS)
        for statistic, value in expected.items():
            assert history.statistic(statistic, name)[1][-1] == pytest.approx(value, rel=1e-4)
    layer = [n for n in weights[0] if n.startswith("model.2")]
    moved = sum(np.square(weights[4][n] - weights[3][n]).sum() for n in layer)
    whole = sum(np.square(weights[3][n]).sum() for n in layer)
    assert updates[4]["2"] == pytest.approx(np.sqrt(moved / whole), rel=1e-4)
    assert updates[4]["0"] == 0  # frozen
    assert updates[3] is None


def test_snapshots_are_the_weights(network):
    history, weights, _, _ = train(network)
    steps, flat = history.snapshots("model.0.weight")
    assert list(steps) == [0, 2, 4]
    np.testing.assert_array_equal(flat[1], weights[2]["model.0.weight"].ravel())
    np.testing.assert_array_equal(history.weights()["model.2.weight"], weights[4]["model.2.weight"])
    assert list(history.curve("loss")[1]) == [1, 2, 3, 4]


def test_a_file_gives_it_back(network, tmp_path):
    history, _, _, _ = train(network)
    again = History.load(history.save(tmp_path / "history"))
    for statistic in STATISTICS:
        for mine, theirs in zip(
            history.statistic(statistic, "model.2.bias"),
            again.statistic(statistic, "model.2.bias"),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, theirs)
    assert list(again.curve("val_accuracy")[1]) == [0.75]
    assert list(again.curve("train_loss")[1]) == [2.5]
