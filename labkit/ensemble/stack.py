"""Networks of one shape stacked along a leading member axis: one call computes them all.

Weights are `(members, out, in)`; activations are `(members, units, samples)`, samples last,
because a matrix product of small matrices is several times faster along its longer side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.history import Layout

# Gradients of activations whose own kernel is faster than a small autograd graph:
# (gradient of the output, input, output) -> gradient of the input.
_BACKWARD: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.Identity: lambda gradient, z, a: gradient,
    nn.ReLU: lambda gradient, z, a: torch.ops.aten.threshold_backward(gradient, a, 0),
    nn.Tanh: lambda gradient, z, a: torch.ops.aten.tanh_backward(gradient, a),
    nn.Sigmoid: lambda gradient, z, a: torch.ops.aten.sigmoid_backward(gradient, a),
}

_ELEMENTWISE = (*_BACKWARD, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


def can_stack(network: nn.Module) -> bool:
    """Whether a network is a chain of linear layers, convolutions and layers without weights."""
    return isinstance(network, nn.Sequential) and all(
        type(module) in (nn.Linear, nn.Conv2d) or next(module.parameters(), None) is None
        for module in network
    )


class Stack:
    """Many networks of one architecture, their weights and gradients.

    Args:
        network: the architecture; `can_stack` says which will do.
        members: how many.
        device: where.

    Attributes:
        flat: all weights, `(members, total)`, a row each, laid out as the network's own
            parameters are one after another; other tensors are views of it.
        gradient: likewise, of each member's own loss; `loss_and_gradient` fills it.
    """

    def __init__(self, network: nn.Sequential, members: int, device: torch.device) -> None:
        named = list(network.named_parameters())
        self.layout = Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))
        network.requires_grad_(False)
        # Not `named_children`: it leaves out a module that stands in two places.
        every = network.named_modules(remove_duplicate=False)
        self._modules = [(name, module) for name, module in every if name]
        self.by_hand = not any(isinstance(module, nn.Conv2d) for module in network)
        self.flat = torch.zeros(members, self.layout.total, device=device)
        self.gradient = torch.zeros_like(self.flat)
        self._view()

    def _view(self) -> None:
        self._weights = self._split(self.flat)
        self._gradients = self._split(self.gradient)
        self._ones: Tensor | None = None

    def _split(self, flat: Tensor) -> dict[str, Tensor]:
        return {
            name: flat[:, self.layout.span(name)].view(-1, *shape)
            for name, shape in zip(self.layout.names, self.layout.shapes, strict=True)
        }

    def keep(self, rows: Tensor) -> None:
        """Go on with some members only."""
        self.flat, self.gradient = self.flat[rows], self.gradient[rows]
        self._view()

    def outputs(self, inputs: Tensor, rows: slice = slice(None)) -> Tensor:
        """What members say: `(members, outputs, samples)`.

        Args:
            inputs: `(members or 1, ..., samples)`, each sample as the network takes it.
            rows: which members; all by default.
        """
        weights = {name: tensor[rows] for name, tensor in self._weights.items()}
        return self._forward(inputs, weights)[-1]

    def loss_and_gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Each member's mean loss, `(members,)`; fills `gradient`.

        Args:
            inputs: as for `outputs`.
            targets: int64 classes `(members or 1, samples)`, for cross-entropy, or float32
                values `(members or 1, 1, samples)`, for the mean squared error.
        """
        if not self.by_hand:
            return self._by_autograd(inputs, targets)
        passed = self._forward(inputs, self._weights)
        losses, gradient = self._loss(passed[-1], targets)
        self._backward(passed, gradient)
        return losses

    def _forward(self, inputs: Tensor, weights: dict[str, Tensor]) -> list[Tensor]:
        """What goes into each module, and last what comes out."""
        members = len(next(iter(weights.values())))
        passed = [inputs.expand(members, *inputs.shape[1:])]
        for name, module in self._modules:
            passed.append(self._apply(name, module, passed[-1], weights))
        return passed

    def _apply(self, name: str, module: nn.Module, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        if isinstance(module, nn.Linear):
            weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
            if bias is None:
                return torch.bmm(weight, x)
            return torch.baddbmm(bias.unsqueeze(2), weight, x)
        if isinstance(module, nn.Conv2d):
            return _convolve(module, x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
        if isinstance(module, nn.Flatten):
            return x.flatten(1, -2)
        if isinstance(module, _ELEMENTWISE):
            return module(x)
        samples_first = x.movedim(-1, 1)
        folded = module(samples_first.flatten(0, 1))
        return folded.unflatten(0, samples_first.shape[:2]).movedim(1, -1)

    def _backward(self, passed: list[Tensor], gradient: Tensor) -> None:
        modules = self._modules
        first = next(i for i, (_, m) in enumerate(modules) if isinstance(m, nn.Linear))
        for i in range(len(modules) - 1, first - 1, -1):
            name, module = modules[i]
            x, y = passed[i], passed[i + 1]
            if isinstance(module, nn.Linear):
                # A product into a view of `gradient` would go member by member: copy instead.
                own = self._gradients[f"{name}.weight"]
                own.copy_(torch.bmm(gradient, x.transpose(1, 2)))
                if module.bias is not None:
                    torch.sum(gradient, 2, out=self._gradients[f"{name}.bias"])
                if i > first:
                    weight = self._weights[f"{name}.weight"]
                    gradient = torch.bmm(weight.transpose(1, 2), gradient)
            elif known := _BACKWARD.get(type(module)):
                gradient = known(gradient, x, y)
            else:
                with torch.enable_grad():
                    z = x.detach().requires_grad_()
                    after = self._apply(name, module, z, self._weights)
                    (gradient,) = torch.autograd.grad(after, z, gradient)

    def _loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses, and their gradients by the outputs."""
        if targets.is_floating_point():
            error = outputs - targets
            count = error[0].numel()
            return error.square().mean((1, 2)), error.mul_(2 / count)
        logs = torch.log_softmax(outputs, 1)
        classes = targets.expand(len(outputs), -1).unsqueeze(1)
        losses = logs.gather(1, classes).mean((1, 2)).neg_()
        if self._ones is None or self._ones.shape != classes.shape:
            self._ones = torch.full(classes.shape, -1.0, device=outputs.device)
        gradient = logs.exp_().scatter_add_(1, classes, self._ones)
        return losses, gradient.div_(classes.shape[-1])

    def _by_autograd(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            weights = {name: w.detach().requires_grad_() for name, w in self._weights.items()}
            outputs = self._forward(inputs, weights)[-1]
            losses = member_losses(outputs, targets)
            found = torch.autograd.grad(losses.sum(), list(weights.values()))
        for own, gradient in zip(self._gradients.values(), found, strict=True):
            own.copy_(gradient)
        return losses.detach()


def member_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of each member, `(members,)`; arguments as in `Stack.loss_and_gradient`."""
    if targets.is_floating_point():
        return (outputs - targets).square().mean((1, 2))
    classes = targets.expand(len(outputs), -1)
    return functional.cross_entropy(outputs, classes, reduction="none").mean(1)


def _convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Each member's own convolution, as one with a group for each member."""
    members = len(x)
    together = x.movedim(-1, 0).flatten(1, 2)  # (samples, members * channels, height, width)
    kernels = weight.flatten(0, 1)
    settings: dict[str, Any] = {
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": members * conv.groups,
    }
    flat_bias = None if bias is None else bias.flatten()
    y = functional.conv2d(together, kernels, flat_bias, **settings)
    return y.unflatten(1, (members, -1)).movedim(0, -1)
