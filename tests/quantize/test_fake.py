from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.core.errors import LabError
from labkit.core.ultralytics import ultralytics
from labkit.quantize import calibrate, fake_quantized, folded, grid
from labkit.quantize.fake import head_of, quantizable
from labkit.vision import evaluate, open_data, open_detector
from tests.quantize import networks
from tests.vision.finetuning import tiny

SIZE = 64
HEADS = [(head, kind) for head in ("one2many", "one2one") for kind in ("boxes", "scores")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_data(tiny.data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return networks.settled(tmp_path_factory.mktemp("w"))


def images() -> torch.Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def raw(detector) -> list[torch.Tensor]:
    outputs = detector.model(images())[1]
    return [outputs[head][kind] for head, kind in HEADS]


def copies(detector) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in detector.tensors.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_folding_changes_no_output_of_either_head_and_leaves_no_batchnorm(detector):
    before, wanted = copies(detector), raw(detector)
    found = folded(detector)
    for one, other in zip(raw(found), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    kinds = {type(module) for module in found.model.modules()}
    assert nn.BatchNorm2d not in kinds
    assert "fuse" not in vars(found.model.model[-1])
    assert same(copies(detector), before)
    assert same(copies(folded(found)), copies(found))


def test_a_folded_network_is_the_one_ultralytics_deploys(detector):
    """Ultralytics' own fuse, which drops a head, has the very same weights."""
    ultralytics()
    theirs = open_detector(detector.weights)
    theirs.put(detector.tensors)
    theirs.model.fuse(verbose=False)
    mine = folded(detector).tensors
    assert theirs.tensors
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.tensors.items())


@pytest.mark.parametrize("scheme", ["symmetric channel", "affine tensor percentile"])
def test_every_weight_is_on_its_grid_and_nothing_else_is(detector, scheme):
    before = copies(detector)
    whole, found = folded(detector).tensors, fake_quantized(detector, 3, scheme).tensors
    names = quantizable(folded(detector))
    assert names
    for name, tensor in found.items():
        wanted = grid(whole[name], 3, scheme).dequantized if name in names else whole[name]
        assert torch.equal(tensor, wanted), name
    assert not any(name.endswith("bias") for name in names)
    assert same(copies(detector), before)


def test_layers_and_head_are_chosen(detector):
    whole = folded(detector).tensors
    last = head_of(detector)
    assert last == "model.23"

    def changed(**more) -> set[str]:
        found = fake_quantized(detector, 2, **more).tensors
        return {name for name in found if not torch.equal(found[name], whole[name])}

    everything = changed()
    assert {name for name in everything if name.startswith(f"{last}.")}
    assert changed(head=False) == {n for n in everything if not n.startswith(f"{last}.")}
    one = changed(layers="model.2")
    assert one == {name for name in everything if name.startswith("model.2.")}
    name = "model.0.conv.weight"
    assert changed(layers=[name, "model.2"]) == {name, *one}
    with pytest.raises(LabError, match=r"model\.99"):
        fake_quantized(detector, 2, layers="model.99")
    with pytest.raises(LabError, match="choose from"):
        fake_quantized(detector, 1)


def test_per_channel_folding_changes_no_rounding_and_per_tensor_it_does(detector):
    """A channel's grid grows with it; a tensor's is that of its largest channel."""
    for scheme, equal in (("symmetric channel", True), ("symmetric tensor", False)):
        rounded_first = fake_quantized(detector, 4, scheme, "model.0", fold=False)
        folded_first = fake_quantized(detector, 4, scheme, "model.0").tensors
        weight = folded(rounded_first).tensors["model.0.conv.weight"]
        wanted = folded_first["model.0.conv.weight"]
        assert torch.allclose(weight, wanted, rtol=1e-4, atol=1e-6) is equal


def test_weights_that_are_not_finite_are_named(detector):
    bad = folded(detector)
    with torch.no_grad():
        bad.tensors["model.1.conv.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(LabError, match=r"model\.1\.conv\.weight: 1 of"):
        fake_quantized(bad, 8)


def test_transposed_convolutions_have_their_outputs_second():
    from labkit.quantize.fake import _for_weight
    from labkit.quantize.scheme import Scheme

    class One:
        model = nn.ModuleDict({"up": nn.ConvTranspose2d(3, 5, 2), "down": nn.Conv2d(3, 5, 2)})

    assert _for_weight(One, "up.weight", Scheme()).axis == 1
    assert _for_weight(One, "down.weight", Scheme()).axis == 0


def test_a_detector_with_rounded_activations_is_evaluated_like_any_other(detector, data):
    found = calibrate(detector, data, images=4, imgsz=SIZE)
    one = fake_quantized(detector, 8, activations=found)
    assert evaluate(one, data, imgsz=SIZE).images == 4
    differs = [not torch.equal(a, b) for a, b in zip(raw(one), raw(detector), strict=True)]
    assert all(differs)


def test_a_layer_without_a_range_is_named(detector, data):
    found = calibrate(detector, data, images=2, imgsz=SIZE)
    del found.ranges["model.1.conv"]
    with pytest.raises(LabError, match=r"model\.1\.conv has no range"):
        fake_quantized(detector, 8, activations=found)
