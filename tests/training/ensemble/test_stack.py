"""Stacked networks against the same networks one by one, differentiated by autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from labkit.training.ensemble.stack import Stack, can_stack

MEMBERS, SAMPLES = 5, 7


class Double(nn.Module):
    """A layer without weights that the stack does not know."""

    def forward(self, x):
        return 2 * torch.softmax(x, dim=1)


def mlp(activation: nn.Module, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4), activation, nn.Linear(4, 5), activation,
        nn.Linear(5, outputs),
    )  # fmt: skip


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3, stride=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(2, 3),
    )  # fmt: skip


def no_bias() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False))


ACTIVATIONS = [
    nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity(), nn.LeakyReLU(0.2), nn.ELU(), nn.GELU(),
    nn.SiLU(), nn.Softplus(), Double(),
]  # fmt: skip
CASES = [
    *[pytest.param(mlp(a), (2, 3), id=type(a).__name__) for a in ACTIVATIONS],
    pytest.param(cnn(), (1, 6, 6), id="cnn"),
    pytest.param(no_bias(), (6,), id="no bias"),
    pytest.param(nn.Sequential(nn.Linear(6, 3)), (6,), id="one layer"),
]


def one_by_one(network, stack, inputs, targets):
    """Outputs, losses and gradients of each member through torch's own modules."""
    names = dict(network.named_parameters())
    outputs, losses, gradients = [], [], []
    for row, flat in enumerate(stack.flat):
        flat = flat.clone().requires_grad_()
        weights = {n: flat[stack.layout.span(n)].view(p.shape) for n, p in names.items()}
        x = inputs[row if len(inputs) > 1 else 0].movedim(-1, 0)
        y = targets[row if len(targets) > 1 else 0]
        output = torch.func.functional_call(network, weights, x)
        if y.is_floating_point():
            loss = functional.mse_loss(output, y.movedim(-1, 0))
        else:
            loss = functional.cross_entropy(output, y)
        loss.backward()
        outputs.append(output.T.detach())
        losses.append(loss.detach())
        gradients.append(flat.grad)
    return torch.stack(outputs), torch.stack(losses), torch.stack(gradients)


@pytest.mark.parametrize("shared", [True, False], ids=["shared data", "own data"])
@pytest.mark.parametrize(("network", "shape"), CASES)
def test_everything_is_what_torch_says_of_each(network, shape, shared):
    generator = torch.Generator().manual_seed(1)
    stack = Stack(network, MEMBERS, torch.device("cpu"))
    stack.flat.copy_(torch.randn(stack.flat.shape, generator=generator))
    rows = 1 if shared else MEMBERS
    x = torch.randn(rows, *shape, SAMPLES, generator=generator)
    y = torch.randint(0, 3, (rows, SAMPLES), generator=generator)
    outputs, losses, gradients = one_by_one(network, stack, x, y)
    torch.testing.assert_close(stack.outputs(x), outputs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stack.loss_and_gradient(x, y), losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stack.gradient, gradients, rtol=1e-4, atol=1e-6)


def test_training_keeps_signals_that_vanish():
    """A tanh that is right to 2e-7 would do for a look, and lose every gradient here."""
    generator = torch.Generator().manual_seed(4)
    network = no_bias()
    stack = Stack(network, MEMBERS, torch.device("cpu"))
    stack.flat.copy_(1e-6 * torch.randn(stack.flat.shape, generator=generator))
    x = torch.randn(1, 6, SAMPLES, generator=generator)
    y = torch.randint(0, 3, (1, SAMPLES), generator=generator)
    _, _, gradients = one_by_one(network, stack, x, y)
    stack.loss_and_gradient(x, y)
    torch.testing.assert_close(stack.gradient, gradients, rtol=1e-4, atol=0)


def test_regression():
    generator = torch.Generator().manual_seed(2)
    network = mlp(nn.Tanh(), outputs=1)
    stack = Stack(network, MEMBERS, torch.device("cpu"))
    stack.flat.copy_(torch.randn(stack.flat.shape, generator=generator))
    x = torch.randn(MEMBERS, 6, SAMPLES, generator=generator)
    y = torch.randn(1, 1, SAMPLES, generator=generator)
    _, losses, gradients = one_by_one(network, stack, x, y)
    torch.testing.assert_close(stack.loss_and_gradient(x, y), losses)
    torch.testing.assert_close(stack.gradient, gradients, rtol=1e-4, atol=1e-6)


def test_one_member_that_overflows_leaves_the_others_alone():
    generator = torch.Generator().manual_seed(3)
    stack = Stack(mlp(nn.ReLU()), 3, torch.device("cpu"))
    stack.flat.copy_(torch.randn(stack.flat.shape, generator=generator))
    x, y = torch.randn(1, 2, 3, SAMPLES, generator=generator), torch.zeros(1, SAMPLES).long()
    wanted = stack.loss_and_gradient(x, y)
    gradient = stack.gradient.clone()
    stack.flat[1] = math.inf
    losses = stack.loss_and_gradient(x, y)
    assert not torch.isfinite(losses[1])
    for row in (0, 2):
        assert losses[row] == wanted[row]
        assert torch.equal(stack.gradient[row], gradient[row])


def test_some_members_go_on():
    generator = torch.Generator().manual_seed(4)
    stack = Stack(mlp(nn.Tanh()), MEMBERS, torch.device("cpu"))
    stack.flat.copy_(torch.randn(stack.flat.shape, generator=generator))
    x, y = torch.randn(1, 2, 3, SAMPLES, generator=generator), torch.ones(1, SAMPLES).long()
    losses = stack.loss_and_gradient(x, y)
    gradient = stack.gradient.clone()
    rows = torch.tensor([3, 1])
    stack.keep(rows)
    assert torch.equal(stack.loss_and_gradient(x, y), losses[rows])
    assert torch.equal(stack.gradient, gradient[rows])


@pytest.mark.parametrize(
    ("network", "can"),
    [
        (mlp(nn.Tanh()), True),
        (cnn(), True),
        (nn.Linear(2, 2), False),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), False),
        (nn.Sequential(nn.Sequential(nn.Linear(2, 2))), False),
        (nn.Sequential(nn.Linear(2, 2), nn.PReLU()), False),
    ],
)
def test_what_can_be_stacked(network, can):
    assert can_stack(network) is can
