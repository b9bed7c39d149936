"""Networks of one shape stacked along a leading member axis: one call computes them all.

Weights are `(members, out, in)`; activations are `(members, units, samples)`, samples last,
because a matrix product of small matrices is several times faster along its longer side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.training.layout import Layout

Change = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor, Tensor], Tensor]

# Activations whose gradient needs their output alone: in place, and the gradient by a kernel
# of torch's own: (gradient of the output, output) -> gradient of the input.
_IN_PLACE: dict[type[nn.Module], tuple[Change, Backward]] = {
    nn.Identity: (lambda z: z, lambda gradient, a: gradient),
    nn.ReLU: (torch.relu_, lambda g, a: torch.ops.aten.threshold_backward(g, a, 0)),
    nn.Tanh: (torch.tanh_, torch.ops.aten.tanh_backward),
    nn.Sigmoid: (torch.sigmoid_, torch.ops.aten.sigmoid_backward),
}


def _quick_tanh(z: Tensor) -> Tensor:
    """In place, accurate to 2e-7, twice as fast as torch's on a CPU: 2 sigmoid(2 z) - 1.

    Accurate enough to evaluate a network, not to train it: values below 1e-7 are lost, and
    where the signal vanishes all values are that small.
    """
    return z.tanh_() if z.is_cuda else z.mul_(2).sigmoid_().mul_(2).sub_(1)


_ELEMENTWISE = (nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


# Of matrices with fewer multiplications than this, torch's batched product on a CPU is a plain
# loop over numbers (`baddbmm_cpu_kernel` in its LinearAlgebra.cpp).
_SCALAR = 400


class _Layer(NamedTuple):
    """A module, and what of the stacked tensors belongs to it, looked up once."""

    module: nn.Module
    linear: bool
    in_place: tuple[Change, Backward] | None
    weight: Tensor | None
    bias: Tensor | None  # of a linear layer (members, units, 1)
    weight_gradient: Tensor | None
    bias_gradient: Tensor | None


def can_stack(network: nn.Module) -> bool:
    """Whether a network is a chain of linear layers, convolutions and layers without weights."""
    return isinstance(network, nn.Sequential) and all(
        type(module) in (nn.Linear, nn.Conv2d) or next(module.parameters(), None) is None
        for module in network
    )


class Stack:
    """Many networks of one architecture, their weights and gradients.

    Args:
        network: the architecture; see `can_stack`.
        members: their number.
        device: where their weights are stored.

    Attributes:
        flat: all weights, `(members, total)`, a row each, laid out as the network's own
            parameters are one after another; other tensors are views of it.
        gradient: likewise, of each member's own loss; `loss_and_gradient` fills it.
    """

    def __init__(self, network: nn.Sequential, members: int, device: torch.device) -> None:
        named = list(network.named_parameters())
        self.layout = Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))
        network.requires_grad_(False)
        # Not `named_children`: it leaves out a module that is used twice.
        every = network.named_modules(remove_duplicate=False)
        self._modules = [(name, module) for name, module in every if name]
        self.by_hand = not any(isinstance(module, nn.Conv2d) for module in network)
        self.flat = torch.zeros(members, self.layout.total, device=device)
        self.gradient = torch.zeros_like(self.flat)
        self._view()

    def _view(self) -> None:
        self._weights = self._split(self.flat)
        self._gradients = self._split(self.gradient)
        self._layers = self._lay_out(self._weights)
        self._ones: Tensor | None = None

    def _split(self, flat: Tensor) -> dict[str, Tensor]:
        return {
            name: flat[:, self.layout.span(name)].view(-1, *shape)
            for name, shape in zip(self.layout.names, self.layout.shapes, strict=True)
        }

    def _lay_out(self, weights: dict[str, Tensor]) -> list[_Layer]:
        layers = []
        for number, (name, module) in enumerate(self._modules):
            linear = isinstance(module, nn.Linear)
            bias = weights.get(f"{name}.bias")
            layers.append(
                _Layer(
                    module,
                    linear,
                    # The first module must not change the samples themselves.
                    _IN_PLACE.get(type(module)) if number else None,
                    weights.get(f"{name}.weight"),
                    bias.unsqueeze(2) if linear and bias is not None else bias,
                    self._gradients.get(f"{name}.weight"),
                    self._gradients.get(f"{name}.bias"),
                )
            )
        return layers

    def keep(self, rows: Tensor) -> None:
        """Keep some members only."""
        self.flat, self.gradient = self.flat[rows], self.gradient[rows]
        self._view()

    def outputs(self, inputs: Tensor, rows: slice = slice(None)) -> Tensor:
        """The members' outputs, `(members, outputs, samples)`.

        Args:
            inputs: `(members or 1, ..., samples)`, each sample as the network takes it.
            rows: which members; all by default.
        """
        layers = self._layers
        if rows != slice(None):
            layers = self._lay_out({name: w[rows] for name, w in self._weights.items()})
        x = inputs
        for layer in layers:
            quick = layer.in_place and isinstance(layer.module, nn.Tanh)
            x = _quick_tanh(x) if quick else _apply(layer, x)
        return x

    def loss_and_gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Each member's mean loss, `(members,)`; fills `gradient`.

        Args:
            inputs: as for `outputs`.
            targets: int64 classes `(members or 1, samples)`, for cross-entropy, or float32
                values `(members or 1, 1, samples)`, for the mean squared error.
        """
        if not self.by_hand:
            return self._by_autograd(inputs, targets)
        passed = self._forward(inputs, self._layers)
        losses, gradient = self._loss(passed[-1], targets)
        self._backward(passed, gradient)
        return losses

    def _forward(self, inputs: Tensor, layers: list[_Layer]) -> list[Tensor]:
        """The input of each module, and last the output of the network."""
        passed = [inputs]
        for layer in layers:
            passed.append(_apply(layer, passed[-1]))
        return passed

    def _backward(self, passed: list[Tensor], gradient: Tensor) -> None:
        first = next(number for number, layer in enumerate(self._layers) if layer.linear)
        for number in range(len(self._layers) - 1, first - 1, -1):
            layer, x = self._layers[number], passed[number]
            if layer.linear:
                assert layer.weight is not None
                assert layer.weight_gradient is not None
                # A product into a view of `gradient` would go member by member: copy instead.
                if len(x) < len(gradient):  # all members see the same
                    product = (gradient.flatten(0, 1) @ x[0].T).view_as(layer.weight)
                else:
                    product = torch.bmm(gradient, x.transpose(1, 2))
                layer.weight_gradient.copy_(product)
                if layer.bias_gradient is not None:
                    layer.bias_gradient.copy_(gradient.sum(2))
                if number > first:
                    gradient = _passed_back(layer.weight, gradient)
            elif layer.in_place:
                gradient = layer.in_place[1](gradient, passed[number + 1])
            else:
                with torch.enable_grad():
                    z = x.detach().requires_grad_()
                    (gradient,) = torch.autograd.grad(_apply(layer, z), z, gradient)

    def _loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses, and their gradients by the outputs."""
        if targets.is_floating_point():
            error = outputs - targets
            count = error[0].numel()
            return error.square().mean((1, 2)), error.mul_(2 / count)
        logs = torch.log_softmax(outputs, 1)
        classes = targets.expand(len(outputs), -1).unsqueeze(1)
        losses = logs.gather(1, classes).squeeze(1).mean(1).neg_()
        if self._ones is None or self._ones.shape != classes.shape:
            self._ones = torch.full(classes.shape, -1.0, device=outputs.device)
        gradient = logs.exp_().scatter_add_(1, classes, self._ones)
        return losses, gradient.div_(classes.shape[-1])

    def _by_autograd(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            weights = {name: w.detach().requires_grad_() for name, w in self._weights.items()}
            outputs = self._forward(inputs, self._lay_out(weights))[-1]
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


def _apply(layer: _Layer, x: Tensor) -> Tensor:
    if layer.linear:
        assert layer.weight is not None
        if len(x) < len(layer.weight):  # all members see the same: one product for all
            y = (layer.weight.flatten(0, 1) @ x[0]).unflatten(0, layer.weight.shape[:2])
        else:
            y = torch.bmm(layer.weight, x)  # `baddbmm` takes longer than both
        return y if layer.bias is None else y.add_(layer.bias)
    if layer.in_place:
        return layer.in_place[0](x)
    module = layer.module
    if isinstance(module, nn.Conv2d):
        assert layer.weight is not None
        return _convolve(module, x, layer.weight, layer.bias)
    if isinstance(module, nn.Flatten):
        return x.flatten(1, -2)
    if isinstance(module, _ELEMENTWISE):
        return module(x)
    samples_first = x.movedim(-1, 1)
    folded = module(samples_first.flatten(0, 1))
    return folded.unflatten(0, samples_first.shape[:2]).movedim(1, -1)


def _passed_back(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a linear layer's inputs, `(members, in, samples)`."""
    outputs, inputs = weight.shape[1:]
    if outputs * inputs * gradient.shape[2] < _SCALAR:
        return (weight.unsqueeze(3) * gradient.unsqueeze(2)).sum(1)
    return torch.bmm(weight.transpose(1, 2), gradient)


def _convolve(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Each member's own convolution, as one with a group for each member."""
    members = len(weight)
    x = x.expand(members, *x.shape[1:])
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
