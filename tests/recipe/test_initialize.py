from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import init

from labkit.core.errors import RecipeError
from labkit.recipe.initialize import INITS, initialize, weight_layers
from labkit.recipe.networks import NETWORKS
from labkit.recipe.recipe import Recipe

GAIN = 1.7
BIASED = {"pytorch"}

# What torch.nn.init gives with the same generator: name -> fill(weight, gain, generator).
TORCH = {
    "pytorch": lambda w, gain, g: init.kaiming_uniform_(w, math.sqrt(5), generator=g),
    "zeros": lambda w, gain, g: init.zeros_(w),
    "ones": lambda w, gain, g: init.ones_(w),
    "constant": lambda w, gain, g: init.constant_(w, 0.1),
    "uniform": lambda w, gain, g: init.uniform_(w, -0.5, 0.5, generator=g),
    "normal": lambda w, gain, g: init.normal_(w, 0.0, 0.5, generator=g),
    "trunc_normal": lambda w, gain, g: init.trunc_normal_(w, 0, 0.5, -1, 1, generator=g),
    "xavier_uniform": lambda w, gain, g: init.xavier_uniform_(w, generator=g),
    "xavier_normal": lambda w, gain, g: init.xavier_normal_(w, generator=g),
    "lecun_normal": lambda w, gain, g: init.normal_(w, 0, fan_in(w) ** -0.5, generator=g),
    "orthogonal": lambda w, gain, g: init.orthogonal_(w, gain, generator=g),
}
# The same, but the gain multiplies afterwards, so the last bit may differ.
TORCH_BUT_ROUNDING = {
    "kaiming_uniform": lambda w, gain, g: init.uniform_(
        w, -gain * math.sqrt(3 / fan_in(w)), gain * math.sqrt(3 / fan_in(w)), generator=g
    ),
    "kaiming_normal": lambda w, gain, g: init.normal_(w, 0, gain / fan_in(w) ** 0.5, generator=g),
    "lecun_uniform": lambda w, gain, g: init.uniform_(
        w, -math.sqrt(3 / fan_in(w)), math.sqrt(3 / fan_in(w)), generator=g
    ),
}
# Schemes that torch has no counterpart of, and that have tests of their own below.
BY_CLOSED_FORM = {"all_equal", "sparse", "identity", "lsuv"}

# (scheme, arguments) -> variance of a weight, from the fans and the gain.
VARIANCES = [
    ("pytorch", {}, lambda i, o, gain: 1 / (3 * i)),
    ("uniform", {"bound": 0.25}, lambda i, o, gain: 0.25**2 / 3),
    ("normal", {"std": 0.25}, lambda i, o, gain: 0.25**2),
    # a normal cut at ±2 standard deviations
    ("trunc_normal", {"std": 0.25}, lambda i, o, gain: 0.7737 * 0.25**2),
    ("xavier_uniform", {}, lambda i, o, gain: 2 / (i + o)),
    ("xavier_normal", {"factor": 3.0}, lambda i, o, gain: 9 * 2 / (i + o)),
    ("kaiming_uniform", {}, lambda i, o, gain: gain**2 / i),
    ("kaiming_uniform", {"mode": "fan_out", "factor": 2.0}, lambda i, o, gain: 4 * gain**2 / o),
    ("kaiming_normal", {}, lambda i, o, gain: gain**2 / i),
    ("kaiming_normal", {"mode": "fan_out", "factor": 0.5}, lambda i, o, gain: gain**2 / o / 4),
    ("lecun_normal", {}, lambda i, o, gain: 1 / i),
    ("lecun_uniform", {}, lambda i, o, gain: 1 / i),
    ("orthogonal", {"factor": 2.0}, lambda i, o, gain: 4 * gain**2 / max(i, o)),
    ("sparse", {"sparsity": 0.75, "std": 2.0}, lambda i, o, gain: 0.25 * 4),
    ("identity", {"factor": 2.0}, lambda i, o, gain: 4 * min(i, o) / (i * o)),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fan_in(weight: torch.Tensor) -> int:
    return weight[0].numel()


def one_layer(kind: str) -> nn.Sequential:
    """A hidden layer to be tested, and an output layer after it."""
    if kind == "linear":
        return nn.Sequential(nn.Linear(48, 64), nn.Linear(64, 10))
    return nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.Flatten(), nn.Linear(12 * 16, 10))


def inputs(kind: str) -> torch.Tensor:
    shape = (32, 48) if kind == "linear" else (32, 6, 4, 4)
    return torch.randn(shape, generator=generator(9))


def filled(kind: str, scheme: str, gain: float = GAIN, seed: int = 0, **arguments):
    network = one_layer(kind)
    initialize(
        network,
        scheme,
        gain=gain,
        inputs=inputs(kind),
        generator=generator(seed),
        arguments=arguments,
    )
    return network


@pytest.mark.parametrize("name", INITS)
def test_every_scheme_says_its_formula_and_source(name):
    entry = INITS[name]
    assert entry.formula
    assert entry.source
    assert entry.summary.endswith(".")
    assert len(INITS) >= 16


def test_every_scheme_has_an_oracle():
    covered = {*TORCH, *TORCH_BUT_ROUNDING, *BY_CLOSED_FORM}
    assert set(INITS) <= covered, "a new scheme needs an oracle here"


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("name", [*TORCH, *TORCH_BUT_ROUNDING])
def test_weights_are_torchs_with_the_same_generator(name, kind):
    weight = filled(kind, name)[0].weight
    expected = torch.empty_like(weight)
    {**TORCH, **TORCH_BUT_ROUNDING}[name](expected, GAIN, generator())
    if name in TORCH:
        assert torch.equal(weight, expected)
    else:
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-8)


def test_the_pytorch_scheme_is_what_torch_builds_by_default():
    """All layers, biases too, from the same seed: the layers' own construction."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = [one_layer(kind) for kind in ("linear", "conv")]
    g = generator(5)
    for kind, by_default in zip(("linear", "conv"), expected, strict=True):
        network = one_layer(kind)
        initialize(network, "pytorch", gain=GAIN, inputs=inputs(kind), generator=g)
        for (name, ours), theirs in zip(
            network.named_parameters(), by_default.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs), name


def test_pytorch_bounds():
    layer = filled("linear", "pytorch")[0]
    bound = 1 / math.sqrt(48)
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.9 * bound


@pytest.mark.parametrize(
    ("name", "arguments", "variance"),
    VARIANCES,
    ids=[f"{name}-{arguments}" for name, arguments, _ in VARIANCES],
)
def test_variance(name, arguments, variance):
    fans = (400, 500)
    network = nn.Sequential(nn.Linear(*fans), nn.Linear(500, 2))
    some = torch.zeros(2, 400)
    initialize(network, name, gain=GAIN, inputs=some, generator=generator(), arguments=arguments)
    weight = network[0].weight.double()
    assert weight.square().mean().item() == pytest.approx(variance(*fans, GAIN), rel=0.015)
    if name != "identity":
        assert abs(weight.mean().item()) < 4 * weight.std().item() / math.sqrt(weight.numel())


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_all_equal(kind):
    weight = filled(kind, "all_equal")[0].weight
    assert weight.unique().tolist() == pytest.approx([GAIN / math.sqrt(fan_in(weight))])
    assert len(weight.unique()) == 1


@pytest.mark.parametrize(("rows", "columns"), [(30, 50), (50, 30), (40, 40)])
def test_orthogonal(rows, columns):
    network = nn.Sequential(nn.Linear(columns, rows), nn.Linear(rows, 2))
    initialize(network, "orthogonal", gain=GAIN, inputs=torch.zeros(1), generator=generator())
    weight = network[0].weight.double()
    product = weight @ weight.T if rows <= columns else weight.T @ weight
    expected = GAIN**2 * torch.eye(min(rows, columns), dtype=torch.float64)
    torch.testing.assert_close(product, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_sparse_zeros_a_share_of_each_column(kind, sparsity):
    weight = filled(kind, "sparse", sparsity=sparsity, std=0.25)[0].weight.flatten(1)
    zeros = (weight == 0).sum(dim=0)
    assert zeros.unique().tolist() == [math.ceil(sparsity * len(weight))]
    if 0 < sparsity < 0.9:
        assert len({tuple(column.tolist()) for column in (weight == 0).T}) > 1, "not the same rows"
    if sparsity == 0.3 and kind == "linear":
        assert weight[weight != 0].std().item() == pytest.approx(0.25, rel=0.05)


def test_identity_copies_its_inputs():
    weight = filled("linear", "identity", factor=2.0)[0].weight
    assert torch.equal(weight, 2 * torch.eye(64, 48))
    layer = filled("conv", "identity")[0]
    pictures = inputs("conv")
    assert torch.equal(layer(pictures)[:, :6], pictures)
    assert not layer(pictures)[:, 6:].any()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_lsuv_gives_every_layer_unit_variance_on_digits(network, activation):
    recipe = Recipe(
        task="digits", network=network, activation=activation, hidden=(24, 12), samples=400
    )
    made, pictures = recipe.build_network(), recipe.data().train_inputs[:256]
    initialize(made, "lsuv", gain=GAIN, inputs=pictures, generator=generator())
    signal, variances = pictures, {}
    with torch.no_grad():
        for name, module in made.named_children():
            signal = module(signal)
            if isinstance(module, nn.Linear | nn.Conv2d):
                variances[name] = signal.var().item()
    assert len(variances) == 3
    assert variances == pytest.approx(dict.fromkeys(variances, 1.0), abs=0.02)


def test_lsuv_passes_by_what_is_no_weight_layer():
    network = nn.Sequential(nn.Linear(48, 8), nn.PReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
    initialize(network, "lsuv", gain=1.0, inputs=inputs("linear"), generator=generator())
    assert network[1].weight.item() == 0.25
    assert torch.equal(network[2].weight, torch.ones(8))


def test_lsuv_survives_a_signal_that_is_dead():
    network = nn.Sequential(nn.Linear(48, 8), nn.Linear(8, 2))
    dead = torch.zeros(16, 48)
    initialize(network, "lsuv", gain=1.0, inputs=dead, generator=generator())
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_hidden_layers_get_the_gain_and_the_output_layer_gets_one():
    network = nn.Sequential(nn.Linear(400, 500), nn.Linear(500, 600), nn.Linear(600, 700))
    initialize(network, "kaiming_normal", gain=GAIN, inputs=torch.zeros(1), generator=generator())
    scaled = [layer.weight.std().item() * math.sqrt(layer.in_features) for layer in network]
    assert scaled == pytest.approx([GAIN, GAIN, 1.0], rel=0.01)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("name", INITS)
def test_biases_start_at_zero(name, kind):
    biases = [layer.bias for _, layer in weight_layers(filled(kind, name))]
    assert len(biases) == 2
    assert all(bool(bias.any()) == (name in BIASED) for bias in biases)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("name", INITS)
def test_the_generator_is_all_that_matters(name, kind, global_rng_untouched):
    """Equal generators, equal weights, whatever torch's global one does in between."""
    networks = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            networks.append(one_layer(kind))
            torch.rand(1)
    some = inputs(kind)
    for network in networks:
        before = torch.get_rng_state()
        initialize(network, name, gain=GAIN, inputs=some, generator=generator(3))
        assert torch.equal(before, torch.get_rng_state()), "the global generator was used"
    one, two = (torch.cat([p.flatten() for p in network.parameters()]) for network in networks)
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", INITS)
def test_weights_are_finite_at_the_limits_of_every_argument(name):
    parameters = INITS[name].parameters()
    options = [p.choices or (p.low, p.default, p.high) for p in parameters.values()]
    for kind, values in itertools.product(["linear", "conv"], itertools.product(*options)):
        arguments = dict(zip(parameters, values, strict=True))
        with torch.random.fork_rng(devices=[]):
            network = filled(kind, name, **arguments)
        for parameter_name, parameter in network.named_parameters():
            assert torch.isfinite(parameter).all(), f"{parameter_name} with {arguments}"


def test_nothing_of_it_is_part_of_a_graph():
    for name in INITS:
        for parameter in filled("linear", name).parameters():
            assert parameter.is_leaf, name
            assert parameter.requires_grad, name


def test_an_unknown_scheme():
    with pytest.raises(RecipeError, match=r"init='ortogonal' .* did you mean 'orthogonal'\?"):
        initialize(
            one_layer("linear"), "ortogonal", gain=1.0, inputs=torch.zeros(1), generator=generator()
        )
