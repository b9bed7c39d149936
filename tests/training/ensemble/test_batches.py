"""The batches of members, against torch's own permutations."""

from __future__ import annotations

import pytest
import torch

from labkit.recipe.recipe import Recipe
from labkit.training.ensemble import batches as module
from labkit.training.ensemble.batches import Batches, Samples

CPU = torch.device("cpu")
DATA = [Recipe(task="moons", samples=50, seed=seed).data() for seed in (0, 1)]


def expected(data, seed: int, size: int, count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    found: list[torch.Tensor] = []
    while len(found) < count:
        order = torch.randperm(len(data.train_inputs), generator=generator)
        found += data.train_inputs[order].split(size)
    return found[:count]


@pytest.mark.parametrize("block", [1, 16 * 2**20], ids=["a batch at once", "an epoch at once"])
@pytest.mark.parametrize(
    ("which", "seeds"), [([0, 0], [3, 3]), ([0, 0, 0], [3, 4, 3]), ([0, 1, 0], [3, 3, 5])]
)
def test_each_member_sees_its_own_order(which, seeds, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", block)
    samples = Samples([DATA[k] for k in which], CPU)
    batches = Batches(samples, seeds, 16)
    found = [next(batches)[0] for _ in range(8)]
    for row, (k, seed) in enumerate(zip(which, seeds, strict=True)):
        for inputs, wanted in zip(found, expected(DATA[k], seed, 16, 8), strict=True):
            own = inputs[row if len(inputs) > 1 else 0].movedim(-1, 0)
            assert torch.equal(own, wanted)


def test_members_that_leave_take_their_batches_with_them():
    samples = Samples([DATA[0], DATA[1], DATA[0]], CPU)
    batches = Batches(samples, [3, 4, 5], 16)
    next(batches)
    kept = torch.tensor([1, 2])
    samples.keep(kept)
    batches.keep(kept)
    found = [next(batches)[0] for _ in range(5)]
    for row, (k, seed) in enumerate([(1, 4), (0, 5)]):
        for inputs, wanted in zip(found, expected(DATA[k], seed, 16, 6)[1:], strict=True):
            assert torch.equal(inputs[row].movedim(-1, 0), wanted)
