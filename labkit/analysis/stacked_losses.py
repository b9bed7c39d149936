"""Losses of thousands of networks of one shape, whose weights lie in a plane or in rows.

They are evaluated as stacked tensors with a leading axis, block by block, so that a
block's numbers stay in a processor's cache. Weights in a plane are affine in its two
coordinates and all networks see the same inputs: what the first layer puts out is then a
sum of three products that are computed once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from labkit.core.threads import one_thread
from labkit.training.ensemble.stack import Stack, can_stack

BLOCK = 2**20  # numbers of one layer that are worked on at once: 4 MiB
_FEWEST = 64  # samples in a block; fewer waste the matrix product


def losses_in_plane(
    network: nn.Sequential,
    vectors: Sequence[Tensor],
    alpha: np.ndarray,
    beta: np.ndarray,
    inputs: Tensor,
    targets: Tensor,
) -> np.ndarray:
    """Mean losses of the networks in a plane: at origin + alpha * across + beta * up.

    Args:
        network: its shape; its own weights are of no account.
        vectors: origin, across and up, each with all weights, `(total,)`.
        alpha, beta: coordinates of the columns and of the rows.
        inputs, targets: the samples, `(n, ...)`; classes or, for regression, values.

    Returns:
        `(rows, columns)`: cross-entropy, or the mean squared error for values.
    """
    origin, across, up = vectors
    columns = torch.from_numpy(alpha).float()
    head, tail = _halves(network) if can_stack(network) else (network, None)
    if not tail or not list(tail.parameters()):  # one layer, or no chain of layers
        rows = (origin + b * up + columns[:, None] * across for b in beta.tolist())
        return np.stack([losses_of_rows(network, some, inputs, targets)[0] for some in rows])
    own = sum(parameter.numel() for parameter in head.parameters())  # the head's come first
    with torch.inference_mode():
        products = [_outputs_with(head, vector[:own], inputs) for vector in vectors]

    def row(place: float) -> np.ndarray:
        with one_thread(), torch.inference_mode():
            weights = origin[own:] + place * up[own:] + columns[:, None] * across[own:]
            return _losses_of_row(tail, weights, columns, place, products, targets)

    # Each row goes to one core: that is faster than all cores at one small product.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.stack(list(pool.map(row, beta.tolist())))


def _halves(network: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """A network up to its first layer with weights, and the rest, which works in place."""
    children = list(network.named_children())
    first = next(i for i, (_, module) in enumerate(children) if [*module.parameters()])
    for _, module in children:
        if hasattr(module, "inplace"):
            module.inplace = True  # type: ignore[assignment]
    head, tail = OrderedDict(children[: first + 1]), OrderedDict(children[first + 1 :])
    return nn.Sequential(head), nn.Sequential(tail)


def _outputs_with(head: nn.Sequential, weights: Tensor, inputs: Tensor) -> Tensor:
    """What a network puts out with given weights, samples last: `(units, ..., samples)`."""
    parameters = dict(head.named_parameters())
    parts = weights.split([parameter.numel() for parameter in parameters.values()])
    given = {
        name: part.view_as(parameter)
        for (name, parameter), part in zip(parameters.items(), parts, strict=True)
    }
    return functional_call(head, given, (inputs,)).movedim(0, -1).contiguous()


def _losses_of_row(
    tail: nn.Sequential,
    weights: Tensor,
    columns: Tensor,
    place: float,
    products: Sequence[Tensor],
    targets: Tensor,
) -> np.ndarray:
    """Mean losses `(columns,)` of one row, whose tails have `weights`."""
    start, across, up = products
    widest = max(start[..., 0].numel(), *(p.shape[0] for p in tail.parameters()), 1)
    total = np.zeros(len(columns))
    memory = start.new_empty(0)  # written over and over: fresh memory costs as much as the sums
    for some, block in _blocks(len(columns), len(targets), widest):
        stack = Stack(tail, len(columns[some]), torch.device("cpu"))
        stack.flat.copy_(weights[some])
        factors = columns[some].view(-1, *[1] * start.dim())
        shared = torch.add(start[..., block], up[..., block], alpha=place)
        first = memory.resize_(len(factors), *shared.shape)
        torch.addcmul(shared, factors, across[..., block], out=first)
        total[some] += _sums(stack.outputs(first), targets[block])[0]
    return total / len(targets)


def losses_of_rows(
    network: nn.Sequential, rows: Tensor, inputs: Tensor, targets: Tensor
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean losses and accuracies of many networks of one shape.

    Args:
        network: its shape; its own weights are of no account.
        rows: the weights of each, `(k, total)`.
        inputs, targets: as in `losses_in_plane`.

    Returns:
        Losses `(k,)`, and the shares of right answers `(k,)`, None for regression.
    """
    if not can_stack(network):
        return _one_by_one(network, rows, inputs, targets)
    widest = max(inputs[0].numel(), *(p.shape[0] for p in network.parameters()))
    losses, right = np.zeros(len(rows)), np.zeros(len(rows))
    turned = inputs.movedim(0, -1)[None]
    with one_thread(), torch.inference_mode():
        for some, block in _blocks(len(rows), len(targets), widest):
            stack = Stack(network, len(rows[some]), torch.device("cpu"))
            stack.flat.copy_(rows[some])
            outputs = stack.outputs(turned[..., block])
            loss, hits = _sums(outputs, targets[block], judge=True)
            losses[some] += loss
            right[some] += hits
    return losses / len(targets), None if targets.is_floating_point() else right / len(targets)


def _blocks(points: int, samples: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Slices of points and of samples, so that `width` numbers for each are a block's worth."""
    most = max(1, BLOCK // width)
    each = min(samples, max(_FEWEST, most // points))
    together = min(points, max(1, most // each))
    for point in range(0, points, together):
        for sample in range(0, samples, each):
            yield slice(point, point + together), slice(sample, sample + each)


def _sums(
    outputs: Tensor, targets: Tensor, *, judge: bool = False
) -> tuple[np.ndarray, np.ndarray | float]:
    """Summed losses and, if asked, right answers `(points,)` for `(points, outputs, samples)`."""
    hits: np.ndarray | float = 0.0
    if targets.is_floating_point():
        squares = (outputs - targets.T).square_().mean(1)
        return squares.sum(-1, dtype=torch.float64).numpy(), hits
    if judge:
        hits = (outputs.argmax(1) == targets).sum(-1).numpy()
    largest = outputs.amax(1, keepdim=True)
    wanted = outputs.gather(1, targets.expand(len(outputs), 1, -1))
    sums = outputs.sub_(largest).exp_().sum(1, keepdim=True)
    wanted.sub_(largest)  # first: where the answer is right this is exactly 0
    return (sums.log_() - wanted).sum((1, 2), dtype=torch.float64).numpy(), hits


def _one_by_one(
    network: nn.Sequential, rows: Iterable[Tensor], inputs: Tensor, targets: Tensor
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same as `losses_of_rows` for a network that cannot be stacked."""
    parameters = list(network.parameters())
    losses, hits = [], []
    with one_thread(), torch.no_grad():
        for row in rows:
            nn.utils.vector_to_parameters(row, parameters)
            outputs = network(inputs)[..., None].movedim(0, -1).movedim(-2, 0)
            loss, right = _sums(outputs, targets, judge=True)
            losses.append(float(loss[0]) / len(targets))
            hits.append(float(np.sum(right)) / len(targets))
    return np.array(losses), None if targets.is_floating_point() else np.array(hits)
