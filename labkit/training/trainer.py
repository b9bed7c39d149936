"""Training: one step at a time, as a generator of plain records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.core.errors import RecipeError
from labkit.core.threads import one_thread
from labkit.recipe import optimize
from labkit.recipe.initialize import initialize
from labkit.recipe.networks import ACTIVATIONS
from labkit.recipe.recipe import Recipe
from labkit.recipe.schedules import Schedule
from labkit.training.device import pick_device
from labkit.training.evaluation import EVALUATION_SAMPLES, Patience, evaluation_interval
from labkit.training.findings import Finding, diverged
from labkit.training.history import History
from labkit.training.layout import Layout, layout_of
from labkit.training.recorder import Recorder, Step
from labkit.training.recording import SNAPSHOT_BYTES

Initial = np.ndarray | Callable[[Layout], np.ndarray | None] | None
"""Weights to start from: a flat vector, or a function that gives one for a layout, or None."""


class Trainer:
    """A network in training: `advance()` makes one step.

    All parameters are views of one flat vector and all gradients of another, so that
    recording a step is two copies, whatever the number of layers.

    Args:
        recipe: what to train.
        record: whether every step is recorded; without it the history stays empty.
        initial: weights to start from instead of the recipe's init, as one flat vector; or
            a function that gives them for the network's layout, None for the recipe's own.
        snapshot_bytes: see `History`.

    Attributes:
        history: what was recorded, about the recipe as it was at the beginning.
        initial: the weights that it started from, `(layout.total,)`.
        step: how many updates have been made.
        finding: why the loss is no longer finite, or None.
        stopped_early: whether the recipe's patience ended the run.

    Raises:
        RecipeError: a device that is not there, or `initial` of another size.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        record: bool = True,
        initial: Initial = None,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        self.recipe = recipe
        self.device = pick_device(recipe.device)
        self.data = recipe.data().to(self.device)
        self.network = initial_network(recipe)
        self.layout = layout_of(self.network)
        self.network.to(self.device)
        self.flat, self.flat_gradient = _flatten(self.network)
        if callable(initial):
            initial = initial(self.layout)
        if initial is not None:
            if initial.shape != (self.layout.total,):
                raise RecipeError(
                    f"initial weights are {initial.shape}, the network has {self.layout.total}"
                )
            self.flat.copy_(torch.from_numpy(initial))
        self.initial = self.flat.cpu().numpy().copy()
        about = {"recipe": recipe.model_dump()}
        self.history = History(self.layout, about, snapshot_bytes=snapshot_bytes)
        self.recorder = Recorder(self.history)
        self._recording = record
        # On the CPU an array shares a tensor's memory, so one view serves all steps.
        views = {id(t): t.numpy() for t in (self.flat, self.flat_gradient) if not t.is_cuda}
        self._seen = lambda tensor: views[id(tensor)] if views else tensor.cpu().numpy()
        self.step = 0
        self.finding: Finding | None = None
        self.patience = Patience(recipe.patience)
        self.stopped_early = False
        self._loss = functional.cross_entropy if self.data.classes else functional.mse_loss
        self._batches = self._shuffled_batches()
        entry = recipe.entry("optimizer")
        self._closure = bool(entry.traits.get("closure"))
        self._optimizers = optimize.build(
            recipe.optimizer,
            list(self.network.parameters()),
            recipe.lr,
            recipe.weight_decay,
            recipe.optimizer_args,
        )
        self._schedule = Schedule(recipe.schedule, recipe.steps, recipe.schedule_args)
        self._constant = recipe.schedule == "constant"
        self._lr = math.nan  # what the optimizers have now
        if record or recipe.patience:
            start = Step(0, math.nan, recipe.lr, *self.evaluate())
            self._patience_over(start)
            self._record(start)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        ended = self.finding is not None or self.stopped_early
        return ended or self.step >= self.recipe.steps

    def run(self) -> Iterator[Step]:
        """Make all steps that are left, one at a time, and give their records."""
        with one_thread():
            while not self.finished:
                step = self.advance()
                if step is not None:
                    yield step

    def advance(self) -> Step | None:
        """Make one step.

        Returns:
            The step's record; None when the loss was not finite, in which case
            `finding` is set and no update was made.
        """
        inputs, targets = next(self._batches)
        lr = self.recipe.lr
        if not self._constant:
            lr *= self._schedule.factor
        if lr != self._lr:
            self._lr = lr
            for optimizer in self._optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = lr
        loss = self._update(inputs, targets)
        if not math.isfinite(loss):
            self._diverge(self.step + 1, loss, inputs)
            return None
        self.step += 1
        if not self._constant:
            self._schedule.advance(loss)
        last = self.step == self.recipe.steps
        due = last or self.step % evaluation_interval(self.recipe.steps) == 0
        most = None if last else EVALUATION_SAMPLES
        record = Step(self.step, loss, lr, *(self.evaluate(most) if due else ()))
        self._record(record)
        if record.train_loss is not None and not math.isfinite(record.train_loss):
            # The update itself broke the weights: the next batch would only confirm it.
            self._diverge(self.step, record.train_loss, self.data.train_inputs)
        elif due and self._patience_over(record) and not last:
            self.stopped_early = True
            self.recorder.mark(self.patience.text)
        return record

    def _patience_over(self, record: Step) -> bool:
        assert record.val_loss is not None  # callers have evaluated
        return self.patience.over(record.step, record.val_loss)

    def _diverge(self, step: int, loss: float, inputs: Tensor) -> None:
        self.finding = diverged(step, loss, self.network, inputs, self.history)
        self.history.finding = self.finding.as_dict()

    def _update(self, inputs: Tensor, targets: Tensor) -> float:
        if self._closure:
            return self._update_by_closure(inputs, targets)
        self.flat_gradient.zero_()
        loss = self._loss(self.network(inputs), targets)
        loss.backward()
        value = loss.item()
        if math.isfinite(value):
            for optimizer in self._optimizers:
                optimizer.step()
        return value

    def _update_by_closure(self, inputs: Tensor, targets: Tensor) -> float:
        def closure() -> Tensor:
            self.flat_gradient.zero_()
            loss = self._loss(self.network(inputs), targets)
            loss.backward()
            return loss

        loss = closure()
        if math.isfinite(loss.item()):
            for optimizer in self._optimizers:
                optimizer.step(closure)  # type: ignore[arg-type]
        return loss.item()

    def _record(self, step: Step) -> None:
        if self._recording:
            self.recorder.record(step, self._seen(self.flat), self._seen(self.flat_gradient))

    def _shuffled_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """An endless stream of batches, each epoch in a new order; a last short one is kept."""
        generator = torch.Generator().manual_seed(self.recipe.seed + 1)
        inputs, targets = self.data.train_inputs, self.data.train_targets
        size = self.recipe.batch_size
        while True:
            order = torch.randperm(len(inputs), generator=generator).to(self.device)
            # One gather an epoch: each batch is then a view.
            x, y = inputs[order], targets[order]
            yield from zip(x.split(size), y.split(size), strict=True)

    @torch.no_grad()
    def evaluate(
        self, most: int | None = EVALUATION_SAMPLES
    ) -> tuple[float, float | None, float, float | None]:
        """Training loss and accuracy, validation loss and accuracy.

        Accuracies are None for regression. Splits longer than `most` are evaluated on their
        first `most` samples (they are in random order); None takes all.
        """
        data, some = self.data, slice(most)
        train = self._evaluate_split(data.train_inputs[some], data.train_targets[some])
        return (*train, *self._evaluate_split(data.val_inputs[some], data.val_targets[some]))

    def _evaluate_split(self, inputs: Tensor, targets: Tensor) -> tuple[float, float | None]:
        outputs = self.network(inputs)
        loss = self._loss(outputs, targets).item()
        if not self.data.classes:
            return loss, None
        return loss, (outputs.argmax(1) == targets).float().mean().item()

    def adjust(self, recipe: Recipe) -> None:
        """Change to a recipe that differs in live fields only (lr, steps)."""
        if recipe.steps != self.recipe.steps and not self._schedule.watches:
            self._schedule = Schedule(recipe.schedule, recipe.steps, recipe.schedule_args)
            for _ in range(min(self.step, recipe.steps)):
                self._schedule.advance(0.0)
        self.recipe = recipe


def initial_network(recipe: Recipe) -> nn.Sequential:
    """The recipe's network with its initial weights, on the CPU: they depend on nothing
    but the recipe's network, init and seed (and, for LSUV, its data).
    """
    network = recipe.build_network()
    initialize(
        network,
        recipe.init,
        gain=ACTIVATIONS[recipe.activation].traits["gain"],
        inputs=recipe.data().train_inputs,
        generator=torch.Generator().manual_seed(recipe.seed),
        arguments=recipe.init_args,
    )
    return network


def _flatten(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Make all parameters views of one vector, and their gradients of another."""
    parameters = list(network.parameters())
    flat = nn.utils.parameters_to_vector(parameters).detach().clone()
    nn.utils.vector_to_parameters(flat, parameters)
    gradient = torch.zeros_like(flat)
    offset = 0
    for parameter in parameters:
        parameter.grad = gradient[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
    return flat, gradient


def train(recipe: Recipe) -> Iterator[Step]:
    """Train by a recipe, one step at a time; weights and statistics are not recorded.

    (`fit` and `Session` record them.)

    Args:
        recipe: what to train.

    Yields:
        A `Step` after each update; ends early where the loss is no longer finite, or
        where the recipe's patience is over.
    """
    with one_thread():
        yield from Trainer(recipe, record=False).run()


def fit(recipe: Recipe) -> History:
    """Train to the end and give what was recorded."""
    with one_thread():
        trainer = Trainer(recipe)
        for _ in trainer.run():
            pass
        return trainer.history
