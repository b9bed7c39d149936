"""Damage to weights, against torch's own pruning, closed forms and counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, nn
from torch.nn.utils.prune import L1Unstructured

from labkit.core.errors import LabError, RecipeError
from labkit.weights import DAMAGES, Damage, Perturbation, perturb, perturbed
from labkit.weights.names import layer_of


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def weights(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 2, 1)
        )
    return made.to(dtype).eval()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def one(kind: str, values: torch.Tensor, amount: float | None = None, seed: int = 0, **more):
    return perturb({"w": values}, None, kind, amount, generator(seed), **more)["w"]


# --- each kind ---------------------------------------------------------------------------


def test_noise_is_relative_to_the_tensors_own_spread():
    for size in (1.0, 1e-3):
        values = size * weights(200, 300)
        added = one("noise", values, 0.5) - values
        assert added.std().item() == pytest.approx(0.5 * values.std().item(), rel=0.02)
        assert abs(added.mean().item()) < 0.01 * size
        assert abs(torch.corrcoef(torch.stack([added.ravel(), values.ravel()]))[0, 1]) < 0.02


def test_scale_multiplies():
    values = weights(4, 5)
    assert torch.equal(one("scale", values, 2.5), 2.5 * values)


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_pruning_is_what_torch_prunes(amount):
    values = weights(16, 8, 3, 3)
    expected = L1Unstructured(amount).prune(values.clone())
    assert torch.equal(one("prune", values, amount), expected)


def test_pruning_takes_its_share_of_equal_weights():
    pruned = one("prune", torch.ones(10, 10), 0.3)
    assert (pruned == 0).sum() == 30


def test_shuffling_keeps_the_numbers_and_moves_them():
    values = weights(20, 50)
    for amount, moved in ((1.0, 1000), (0.25, 250), (0.0, 0)):
        shuffled = one("shuffle", values, amount)
        assert torch.equal(shuffled.ravel().sort().values, values.ravel().sort().values)
        assert (shuffled != values).sum() == moved


def test_reinitializing_draws_channels_anew_by_the_scheme():
    values = 100 + weights(64, 32, 3, 3)
    fresh = one("reinitialize", values, 1.0)
    assert fresh.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.02)  # He
    fresh = one("reinitialize", values, 1.0, scheme="lecun_uniform")
    bound = math.sqrt(3 / (32 * 9))
    assert fresh.abs().max().item() == pytest.approx(bound, rel=0.01)
    half = one("reinitialize", values, 0.5)
    kept = (half == values).flatten(1)
    assert kept.all(1).sum() == 32
    assert kept.any(1).sum() == 32


def test_zeroed_channels_are_whole_ones():
    values = weights(10, 4, 3, 3)
    zero = (one("zero channels", values, 0.3) == 0).flatten(1)
    assert zero.all(1).sum() == zero.any(1).sum() == 3
    alone = one("zero channels", values, channel=7)
    assert (alone == 0).flatten(1).all(1).nonzero().ravel().tolist() == [7]
    assert torch.equal(alone[:7], values[:7])


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_kind_has_a_range_a_harmless_amount_and_words(kind):
    entry = DAMAGES[kind]
    amount = entry.parameters()["amount"]
    unharmed = entry.traits["unharmed"]
    assert amount.low <= unharmed < amount.default <= amount.high
    assert amount.help
    assert entry.summary.endswith(".")
    values = weights(6, 5)
    assert torch.equal(one(kind, values, unharmed), values)
    for edge in (amount.low, amount.high):
        assert one(kind, values, edge).shape == values.shape
    with pytest.raises(RecipeError, match=r"amount=9(\.0)? is not allowed"):
        one(kind, values, 9)


@pytest.mark.parametrize("kind", [k for k in DAMAGES if k != "scale"])
def test_more_is_the_same_damage_taken_further(kind):
    """What a smaller amount changed, a larger one changes too."""
    values = weights(40, 12)
    low, high = (one(kind, values, amount, seed=5) for amount in (0.2, 0.6))
    if kind == "noise":
        assert torch.allclose((low - values) * 3, high - values, rtol=1e-4, atol=1e-5)
    else:
        assert ((low != values) <= (high != values)).all()
        assert (high != values).sum() > (low != values).sum() > 0


# --- named tensors -----------------------------------------------------------------------


def test_only_the_weights_of_the_chosen_layers_are_damaged():
    before = network().state_dict()
    for layers, expected in (
        (None, {"0.weight", "3.weight", "4.weight"}),
        ("all", {"0.weight", "3.weight", "4.weight"}),
        (["0", "4"], {"0.weight", "4.weight"}),
        ("1.running_var", {"1.running_var"}),
        (["3.bias", "0"], {"0.weight", "3.bias"}),
    ):
        after = perturb(before, layers, "scale", 2.0, generator())
        assert list(after) == list(before)
        assert {name for name in before if after[name] is not before[name]} == expected
        assert {name for name in before if not torch.equal(after[name], before[name])} == expected


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_originals_are_never_touched(kind):
    before = network().state_dict()
    kept = state(network())
    perturb(before, None, kind, None, generator())
    assert all(torch.equal(before[name], kept[name]) for name in kept)


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_generator_decides_and_nothing_else(kind):
    before = network().state_dict()
    torch.manual_seed(1)
    first = perturb(before, None, kind, None, generator(4))
    torch.manual_seed(2)
    again = perturb(before, None, kind, None, generator(4))
    assert all(torch.equal(first[name], again[name]) for name in before)
    if kind not in ("scale", "prune"):
        other = perturb(before, None, kind, None, generator(5))
        assert not torch.equal(first["0.weight"], other["0.weight"])


def test_matrices_that_are_buffers_are_left_alone():
    before = {"mask": torch.ones(3, 3), "weight": weights(3, 3)}
    after = perturb(before, None, "scale", 2.0, generator(), buffers={"mask"})
    assert after["mask"] is before["mask"]
    assert torch.equal(after["weight"], 2 * before["weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", DAMAGES)
def test_dtypes_stay(kind, dtype):
    values = weights(8, 6).to(dtype)
    damaged = one(kind, values, None)
    assert damaged.dtype is dtype
    assert not torch.equal(damaged, values)


def test_odd_shapes_and_layouts():
    turned = weights(3, 5, 4, 4).to(memory_format=torch.channels_last).transpose(0, 1)
    assert torch.equal(one("prune", turned, 0.5), L1Unstructured(0.5).prune(turned.contiguous()))
    empty = torch.zeros(0, 4)
    assert one("noise", empty, 1.0) is empty


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("0", "nois", 0.1), "did you mean 'noise'"),
        (("9", "noise", 0.1), "layer='9' is not known"),
        (("0", "noise", math.nan), "amount=nan is not allowed"),
        (("1.num_batches_tracked", "noise", 0.1), "holds int64 values"),
        (("0.bias", "reinitialize", 0.5), "0.bias is 8"),
    ],
)
def test_slips_are_named(arguments, said):
    with pytest.raises(LabError, match=said):
        perturb(network().state_dict(), *arguments, generator())


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("noise", {"channel": 1}, "not a field of 'noise'"),
        ("zero channels", {"channel": 8}, "channel=8 is not there: .* has 4"),
        ("reinitialize", {"scheme": "lsuv"}, "scheme='lsuv' cannot fill one tensor"),
    ],
)
def test_wrong_arguments_are_named(kind, more, said):
    with pytest.raises(LabError, match=said):
        perturb(network().state_dict(), "3", kind, None, generator(), **more)


def test_a_damage_is_checked_when_it_is_made_and_says_what_it_is():
    with pytest.raises(RecipeError, match="damage='pune' is not known"):
        Damage("pune")
    assert str(Damage("prune", 0.3, "0")) == "prune 0.3 in 0"
    assert str(Damage()) == "noise 0.2 in all layers"
    assert Damage("scale", 2, layers="0") == Damage("scale", 2, ("0",))


# --- networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_network_is_restored_bit_for_bit(dtype):
    model = network(dtype)
    before = state(model)
    tensors = dict(model.named_parameters())
    perturbation = Perturbation(model)
    for kind in DAMAGES:
        assert perturbation.apply(Damage(kind)) == ["0.weight", "3.weight", "4.weight"]
        assert not torch.equal(model[0].weight, before["0.weight"]), kind
        perturbation.restore()
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), (kind, name)
    assert all(tensors[name] is value for name, value in model.named_parameters())


def test_it_applies_what_perturb_makes():
    model, damage = network(), Damage("noise", 0.7, ("0", "4"), seed=11)
    expected = perturb(state(model), ["0", "4"], "noise", 0.7, generator(11))
    Perturbation(model).apply(damage)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_what_was_applied_before_does_not_matter():
    model, fresh = network(), network()
    perturbation = Perturbation(model)
    for damage in (Damage("shuffle"), Damage("prune", 0.9, "3"), Damage("scale", 3.0)):
        perturbation.apply(damage)
    perturbation.apply(Damage("noise", 0.1, "4"))
    Perturbation(fresh).apply(Damage("noise", 0.1, "4"))
    assert all(torch.equal(fresh.state_dict()[n], v) for n, v in model.state_dict().items())


def test_damages_add_up_in_their_order():
    model = network()
    first, second = Damage("scale", 2.0, "0"), Damage("prune", 0.5, "0.weight")
    perturbation = Perturbation(model)
    perturbation.apply(first)
    once = state(model)
    perturbation.apply(first, second)
    expected = L1Unstructured(0.5).prune(once["0.weight"].clone())
    assert torch.equal(model[0].weight, expected)
    assert perturbation.damages == (first, second)
    perturbation.apply(first)
    assert all(torch.equal(once[name], value) for name, value in model.state_dict().items())
    perturbation.restore()
    assert perturbation.damages == ()
    assert torch.equal(model[0].weight, network()[0].weight)


def test_a_refused_damage_leaves_everything_as_it_was():
    model = network()
    perturbation = Perturbation(model)
    perturbation.apply(Damage("scale", 2.0))
    now = state(model)
    with pytest.raises(LabError, match="layer='7'"):
        perturbation.apply(Damage("noise", layers="7"))
    assert perturbation.damages == (Damage("scale", 2.0),)
    assert all(torch.equal(now[name], value) for name, value in model.state_dict().items())


def test_the_block_ends_with_the_network_as_it_was():
    model = network()
    before = state(model)
    picture = torch.ones(1, 3, 9, 9)
    answer = model(picture)

    def broken() -> None:
        with perturbed(model, Damage("zero channels", 0.5), Damage("noise", 1.0)) as same:
            assert same is model
            assert not torch.allclose(model(picture), answer)
            raise RuntimeError("something inside goes wrong")

    with pytest.raises(RuntimeError):
        broken()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model(picture), answer)


def test_gradients_and_their_switches_are_kept():
    model = network()
    model[0].requires_grad_(False)
    model(torch.ones(1, 3, 9, 9)).sum().backward()
    gradient = model[3].weight.grad.clone()
    with perturbed(model, Damage("noise", 1.0)):
        assert not model[0].weight.requires_grad
        assert model[3].weight.requires_grad
        assert model[3].weight.is_leaf
        assert torch.equal(model[3].weight.grad, gradient)


def test_layers_of_a_network_can_be_named_as_the_lists_show_them():
    model = network()
    for name in model.state_dict():
        Perturbation(model).apply(Damage("scale", 2.0, layer_of(name)))
