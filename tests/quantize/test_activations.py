from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.core.errors import LabError
from labkit.quantize import calibrate, fake_quantized, folded
from labkit.vision import open_data
from labkit.vision.evaluation import samples
from tests.quantize import networks
from tests.vision.finetuning import tiny

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_data(tiny.data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return networks.settled(tmp_path_factory.mktemp("w"))


@torch.no_grad()
def run(detector) -> None:
    generator = torch.Generator().manual_seed(1)
    detector.model(torch.rand(2, 3, SIZE, SIZE, generator=generator))


def test_ranges_are_what_layers_have_read(detector, data):
    own = folded(detector)
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0])
        )
        for name, module in own.model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        for _, batch in samples(data, split="train", limit=6, imgsz=SIZE).batches():
            own.model(batch.float() / 255)
    for handle in handles:
        handle.remove()
    found = calibrate(own, data, images=6, imgsz=SIZE)
    assert found.images == 6
    assert seen.keys() <= found.ranges.keys()
    for name, read in seen.items():
        low, high = found.ranges[name]
        values = torch.cat([one.flatten() for one in read])
        torch.testing.assert_close(float(low), float(values.min()), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(float(high), float(values.max()), rtol=1e-4, atol=1e-5)
    assert not any(module._forward_pre_hooks for module in own.model.modules())


def test_what_layers_read_is_rounded_as_torch_rounds(detector, data):
    read = {}

    def note(name):
        return lambda module, inputs: read.__setitem__(name, inputs[0].clone())

    plain = folded(detector)
    plain.model.get_submodule("model.0.conv").register_forward_pre_hook(note("plain"))
    run(plain)
    for bits, scheme in ((4, "affine"), (8, "symmetric"), ("e4m3", "symmetric percentile")):
        found = calibrate(detector, data, bits, f"{scheme} tensor", images=4, imgsz=SIZE)
        one = fake_quantized(detector, 8, layers="model.0", activations=found)
        one.model.get_submodule("model.0.conv").register_forward_pre_hook(note("rounded"))
        run(one)
        hooked = [name for name, m in one.model.named_modules() if m._forward_pre_hooks]
        assert hooked == ["model.0.conv"]
        low, high = (float(bound) for bound in found.ranges["model.0.conv"])
        values = read["plain"]
        if bits == 4:
            scale = torch.tensor(high - min(low, 0.0)) / 15
            wanted = torch.fake_quantize_per_tensor_affine(
                values, scale, (-min(low, 0.0) / scale).round().int(), 0, 15
            )
        elif bits == 8:
            scale = torch.tensor(max(-low, high)) / 127
            wanted = torch.fake_quantize_per_tensor_affine(
                values, scale, torch.tensor(0, dtype=torch.int32), -127, 127
            )
        else:
            scale = torch.tensor(max(-low, high)) / 448
            wanted = (values / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale
        torch.testing.assert_close(read["rounded"], wanted, rtol=1e-5, atol=1e-6)


def test_the_handles_take_the_rounding_away_again(detector, data):
    found = calibrate(detector, data, images=2, imgsz=SIZE)
    own = folded(detector)
    handles = found.attach(own, ["model.0.conv.weight", "model.0.conv.weight"])
    assert len(handles) == 1
    for handle in handles:
        handle.remove()
    assert not any(module._forward_pre_hooks for module in own.model.modules())


def test_values_that_are_not_finite_are_named(detector, data):
    bad = folded(detector)
    with torch.no_grad():
        bad.model.get_submodule("model.0.conv").weight[0] = float("nan")
    with pytest.raises(LabError, match=r"model\.1\.\S+ reads values that are NaN"):
        calibrate(bad, data, images=2, imgsz=SIZE)
    assert not any(module._forward_pre_hooks for module in bad.model.modules())


@pytest.mark.parametrize(
    ("settings", "reason"), [((1,), "choose from"), ((8, "affin"), "did you mean 'affine'")]
)
def test_what_has_no_grid_is_refused(detector, data, settings, reason):
    with pytest.raises(LabError, match=reason):
        calibrate(detector, data, *settings, images=1, imgsz=SIZE)
