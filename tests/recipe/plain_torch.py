"""The same training in plain PyTorch, to compare weights with."""

from __future__ import annotations

import torch
from torch import optim
from torch.nn import functional

from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import Trainer, initial_network

LR, DECAY = 0.02, 0.03


def recipe_for(name: str, **changes) -> Recipe:
    decays = OPTIMIZERS[name].traits.get("weight_decay", True)
    return Recipe(
        task="blobs",
        samples=90,
        hidden=(6,),
        batch_size=16,
        steps=25,
        optimizer=name,
        lr=LR,
        weight_decay=DECAY if decays else 0.0,
        seed=4,
        device="cpu",
        **changes,
    )


def by_hand(recipe: Recipe, make, schedule=None) -> torch.Tensor:
    """Plain PyTorch: the same start, the same batches, torch's own optimizer."""
    network, data = initial_network(recipe), recipe.data()
    made = make(list(network.parameters()))
    optimizers = made if isinstance(made, list) else [made]
    scheduler = schedule(optimizers[0]) if schedule else None
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    batches: list[torch.Tensor] = []
    for _ in range(recipe.steps):
        if not batches:
            order = torch.randperm(len(data.train_inputs), generator=generator)
            batches = list(order.split(recipe.batch_size))
        batch = batches.pop(0)

        def closure(batch: torch.Tensor = batch) -> torch.Tensor:
            for optimizer in optimizers:
                optimizer.zero_grad()
            outputs = network(data.train_inputs[batch])
            loss = functional.cross_entropy(outputs, data.train_targets[batch])
            loss.backward()
            return loss

        closure()
        for optimizer in optimizers:
            optimizer.step(closure if isinstance(optimizer, optim.LBFGS) else None)
        if scheduler is not None:
            scheduler.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def trained(recipe: Recipe) -> torch.Tensor:
    trainer = Trainer(recipe)
    while not trainer.finished:
        trainer.advance()
    assert trainer.step == recipe.steps
    return trainer.flat
