"""Training: a generator of steps, and a session that plays, pauses and rewinds it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit import networks, optimize
from labkit.diagnose import Finding, diverged
from labkit.errors import RecipeError
from labkit.executors import ThreadExecutor
from labkit.history import SNAPSHOT_BYTES, History, Layout, Step
from labkit.initialize import initialize
from labkit.networks import ACTIVATIONS
from labkit.parameters import parameters
from labkit.recipe import Recipe
from labkit.threads import one_thread

State = Literal["ready", "running", "paused", "stopped", "finished", "diverged"]

EVALUATIONS = 50  # how often in a run whole splits are evaluated
EVALUATION_SAMPLES = 1000  # at most so many of each split
LIVE_FIELDS = frozenset(name for name, p in parameters(Recipe).items() if p.live)


def pick_device(wanted: str) -> torch.device:
    """The device a recipe asks for; `auto` is a GPU when there is one.

    Raises:
        RecipeError: `cuda` where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device='cuda' is not there: this machine has no CUDA GPU; use 'auto'")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


class Trainer:
    """A network in training: `advance()` makes one step.

    All parameters are views of one flat vector and all gradients of another, so that
    recording a step is two copies, whatever the number of layers.

    Args:
        recipe: what to train.
        history: where to record; nothing is recorded without one.
        initial: a flat vector of weights to start from instead of the recipe's init.

    Raises:
        RecipeError: a device that is not there, or `initial` of another size.
    """

    def __init__(
        self, recipe: Recipe, history: History | None = None, *, initial: np.ndarray | None = None
    ) -> None:
        self.recipe = recipe
        self.device = pick_device(recipe.device)
        self.data = recipe.data().to(self.device)
        self.network = initial_network(recipe)
        self.layout = layout_of(self.network)
        self.network.to(self.device)
        self.flat, self.flat_gradient = _flatten(self.network)
        if initial is not None:
            if initial.shape != (self.layout.total,):
                raise RecipeError(
                    f"initial weights are {initial.shape}, the network has {self.layout.total}"
                )
            self.flat.copy_(torch.from_numpy(initial))
        self.initial = self.flat.cpu().numpy().copy()
        self.history = history
        self.step = 0
        self.finding: Finding | None = None
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
        self._schedule = optimize.Schedule(recipe.schedule, recipe.steps, recipe.schedule_args)
        self._constant = recipe.schedule == "constant"
        if history is not None and not len(history):
            self._record(Step(0, math.nan, recipe.lr, *self.evaluate()))

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.finding is not None or self.step >= self.recipe.steps

    def advance(self) -> Step | None:
        """Make one step.

        Returns:
            The step's record; None when the loss was not finite, in which case
            `finding` says so and no update was made.
        """
        inputs, targets = next(self._batches)
        lr = self.recipe.lr
        if not self._constant:
            lr *= self._schedule.factor
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
        loss = self._update(inputs, targets)
        if not math.isfinite(loss):
            self.finding = diverged(self.step + 1, loss, self.network, inputs, self.history)
            if self.history is not None:
                self.history.finding = self.finding.as_dict()
            return None
        self.step += 1
        if not self._constant:
            self._schedule.advance(loss)
        every = max(1, self.recipe.steps // EVALUATIONS)
        due = self.step % every == 0 or self.step == self.recipe.steps
        record = Step(self.step, loss, lr, *(self.evaluate() if due else ()))
        self._record(record)
        return record

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
        if self.history is None:
            return
        weights, gradients = self.history.next_rows()
        weights[:] = self.flat.cpu().numpy()
        gradients[:] = self.flat_gradient.cpu().numpy()
        self.history.record(step)

    def _shuffled_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end, each epoch in a new order; a last short one is kept."""
        generator = torch.Generator().manual_seed(self.recipe.seed + 1)
        inputs, targets = self.data.train_inputs, self.data.train_targets
        size = self.recipe.batch_size
        while True:
            order = torch.randperm(len(inputs), generator=generator).to(self.device)
            # One gather an epoch: each batch is then a view.
            x, y = inputs[order], targets[order]
            yield from zip(x.split(size), y.split(size), strict=True)

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float | None, float, float | None]:
        """Training loss and accuracy, validation loss and accuracy, of whole splits.

        Accuracies are None for regression. Splits longer than `EVALUATION_SAMPLES` are
        judged by their first so many samples (they are in random order).
        """
        data, some = self.data, slice(EVALUATION_SAMPLES)
        train = self._judge(data.train_inputs[some], data.train_targets[some])
        return (*train, *self._judge(data.val_inputs[some], data.val_targets[some]))

    def _judge(self, inputs: Tensor, targets: Tensor) -> tuple[float, float | None]:
        outputs = self.network(inputs)
        loss = self._loss(outputs, targets).item()
        if not self.data.classes:
            return loss, None
        return loss, (outputs.argmax(1) == targets).float().mean().item()

    def adjust(self, recipe: Recipe) -> None:
        """Take over a recipe that differs in live fields only (lr, steps)."""
        if recipe.steps != self.recipe.steps and not self._schedule.watches:
            self._schedule = optimize.Schedule(recipe.schedule, recipe.steps, recipe.schedule_args)
            for _ in range(min(self.step, recipe.steps)):
                self._schedule.advance(0.0)
        self.recipe = recipe


def initial_network(recipe: Recipe) -> nn.Sequential:
    """The recipe's network with its initial weights, on the CPU: they depend on nothing
    but the recipe's network, init and seed (and, for LSUV, its data)."""
    network = networks.build(recipe)
    initialize(
        network,
        recipe.init,
        gain=ACTIVATIONS[recipe.activation].traits["gain"],
        inputs=recipe.data().train_inputs,
        generator=torch.Generator().manual_seed(recipe.seed),
        arguments=recipe.init_args,
    )
    return network


def layout_of(network: nn.Module) -> Layout:
    """Names and shapes of a network's parameters."""
    named = list(network.named_parameters())
    return Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))


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


def new_history(recipe: Recipe, snapshot_bytes: int = SNAPSHOT_BYTES) -> History:
    """An empty history for a recipe's network."""
    layout = layout_of(networks.build(recipe))
    return History(layout, {"recipe": recipe.model_dump()}, snapshot_bytes=snapshot_bytes)


def train(recipe: Recipe, history: History | None = None) -> Iterator[Step]:
    """Train by a recipe, one step at a time.

    Args:
        recipe: what to train.
        history: where to record weights and statistics (`new_history(recipe)`).

    Yields:
        A `Step` after each update; ends early where the loss is no longer finite.
    """
    with one_thread():
        trainer = Trainer(recipe, history)
        while not trainer.finished:
            step = trainer.advance()
            if step is not None:
                yield step


def fit(recipe: Recipe) -> History:
    """Train to the end and give what was recorded."""
    history = new_history(recipe)
    for _ in train(recipe, history):
        pass
    return history


class Session:
    """A training run under somebody's hand: play, pause, step, stop, rewind.

    All methods may be called from any thread. Training runs on the executor's thread
    and stops between two steps, so weights are never caught half-updated.

    Args:
        recipe: what to train.
        executor: where training runs; its own thread by default. A synchronous one
            makes `play` return when the run is over.
        initial: flat weights to start from instead of the recipe's init.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        executor: Executor | None = None,
        initial: np.ndarray | None = None,
    ) -> None:
        self._executor = executor or ThreadExecutor("labkit-train")
        self._lock = threading.RLock()
        self._halt = threading.Event()
        self._work: Future[None] | None = None
        self._initial = initial
        self._stopped = False
        self._speed = 0.0
        self._begin(recipe)

    def _begin(self, recipe: Recipe) -> None:
        history = new_history(recipe)
        self.trainer = Trainer(recipe, history, initial=self._initial)
        self.history = history
        self._stopped = False
        self._speed = 0.0

    @property
    def recipe(self) -> Recipe:
        """The recipe in force, live changes included."""
        return self.trainer.recipe

    @property
    def finding(self) -> Finding | None:
        """Why the run ended early, if it did."""
        return self.trainer.finding

    @property
    def initial(self) -> np.ndarray:
        """The weights that rewind returns to, as one flat vector."""
        return self.trainer.initial

    @property
    def state(self) -> State:
        """What the session is doing."""
        if self.trainer.finding is not None:
            return "diverged"
        if self._work is not None and not self._work.done():
            return "running"
        if self.trainer.finished:
            return "finished"
        if self._stopped:
            return "stopped"
        return "paused" if self.trainer.step else "ready"

    @property
    def speed(self) -> float:
        """Steps per second, lately."""
        return self._speed

    def play(self) -> None:
        """Train on, to the end of the recipe. After `stop` it starts from the beginning."""
        with self._lock:
            if self.state in ("running", "diverged", "finished"):
                return
            if self._stopped:
                self.rewind()
            self._halt.clear()
            self._work = self._executor.submit(self._loop)

    def _loop(self) -> None:
        mark, since = self.trainer.step, time.perf_counter()
        while not self.trainer.finished and not self._halt.is_set():
            self.trainer.advance()
            elapsed = time.perf_counter() - since
            if elapsed > 0.25:
                self._speed = (self.trainer.step - mark) / elapsed
                mark, since = self.trainer.step, time.perf_counter()
        if self._speed == 0.0:
            elapsed = time.perf_counter() - since
            self._speed = (self.trainer.step - mark) / max(elapsed, 1e-9)

    def pause(self) -> None:
        """Stop between two steps; `play` goes on from there."""
        self._halt.set()  # before the lock too: a synchronous `play` holds it
        with self._lock:
            self._halt.set()
            self.wait()

    def stop(self) -> None:
        """End the run where it is; what it recorded stays."""
        with self._lock:
            self.pause()
            self._stopped = True

    def step(self, count: int = 1) -> None:
        """Make single steps, on the caller's thread."""
        with self._lock:
            self.pause()
            for _ in range(count):
                if self.trainer.finished:
                    return
                self.trainer.advance()

    def rewind(self) -> None:
        """Back to the very same initial weights, with an empty history."""
        with self._lock:
            self.pause()
            self._begin(self.recipe)

    def wait(self, timeout: float | None = None) -> None:
        """Until the run is over or paused. Raises what training raised, once."""
        work = self._work
        if work is None:
            return
        try:
            work.result(timeout)
        finally:
            if work.done() and self._work is work:
                self._work = None

    def run(self) -> History:
        """Play to the end.

        An interrupt (Ctrl-C, or Jupyter's stop button) pauses between two steps and is
        raised again; `play` resumes, `rewind` starts over.
        """
        self.play()
        try:
            self.wait()
        except KeyboardInterrupt:
            self.pause()
            raise
        return self.history

    def update(self, recipe: Recipe) -> bool:
        """Take over another recipe.

        Live fields (lr, steps) act on the run in progress, which goes on, and leave a
        mark in its history; any other change starts anew, paused.

        Returns:
            Whether it started anew.
        """
        with self._lock:
            old = self.recipe
            changed = {n for n in type(recipe).model_fields if getattr(old, n) != getattr(recipe, n)}
            if not changed:
                return False
            if changed <= LIVE_FIELDS:
                running = self.state == "running"
                self.pause()
                self.trainer.adjust(recipe)
                if self.trainer.step:
                    for name in sorted(changed):
                        before, after = getattr(old, name), getattr(recipe, name)
                        self.history.mark(f"{name} {before:g} → {after:g}")
                if running:
                    self.play()
                return False
            self.pause()
            self._begin(recipe)
            return True
