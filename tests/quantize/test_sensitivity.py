from __future__ import annotations

import math

import pytest
import torch

from labkit.core.errors import LabError
from labkit.quantize import bits_curve, calibrate, fake_quantized, sensitivity
from labkit.quantize.fake import head_of, quantizable
from labkit.quantize.sensitivity import outputs_sqnr, raw_outputs
from labkit.vision import evaluate, open_data
from labkit.vision.detector import one_head
from labkit.vision.evaluation import samples
from labkit.weights.names import layer_of
from tests.quantize.networks import settled
from tests.vision import networks
from tests.vision.finetuning import tiny

SIZE = 64


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    return open_data(tiny.data(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def tiny_detector(tmp_path_factory):
    return settled(tmp_path_factory.mktemp("w"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return networks.data_set(tmp_path_factory.mktemp("drawn"), val=4, size=SIZE)


def test_it_finds_the_one_layer_that_is_not_on_its_grid_yet(tiny_detector, tiny_data):
    """All others are rounded before: rounding them again changes next to nothing."""
    names = dict.fromkeys(map(layer_of, quantizable(tiny_detector)))
    others = [name for name in names if name != "model.4"]
    rounded = fake_quantized(tiny_detector, 4, layers=others)
    found = sensitivity(rounded, tiny_data, 4, imgsz=SIZE, measure_map=False)
    first, second, *_ = found.ranked()
    assert first.name == "model.4"
    assert second.sqnr > first.sqnr + 40
    assert found.whole_sqnr == pytest.approx(first.sqnr, abs=0.1)
    assert found.before is found.whole is found.layers[0].map is None
    with pytest.raises(LabError, match="measure_map=True"):
        found.ranked("drop")
    with pytest.raises(LabError, match="did you mean 'sqnr'"):
        found.ranked("snr")


def test_each_layer_is_quantized_alone_and_the_detector_stays_as_it_is(tiny_detector, tiny_data):
    before = {name: tensor.clone() for name, tensor in tiny_detector.tensors.items()}
    found = sensitivity(tiny_detector, tiny_data, 4, imgsz=SIZE, measure_map=False)
    known = samples(tiny_data, imgsz=SIZE)
    names = list(dict.fromkeys(map(layer_of, quantizable(tiny_detector))))
    assert [one.name for one in found.layers] == names
    assert [one.name for one in found.layers if one.head] == [head_of(tiny_detector)]
    assert found.total == len(names)

    def outputs(detector) -> list[torch.Tensor]:
        _, batch = next(known.batches())
        with torch.no_grad():
            raw = detector.model(batch.float() / 255)[1]["one2many"]
        return [raw["boxes"], raw["scores"]]

    wanted = outputs(tiny_detector)
    for one in (found.layers[0], found.layers[5], found.layers[-1]):
        given = outputs(fake_quantized(tiny_detector, 4, layers=one.name))
        assert one.sqnr == pytest.approx(outputs_sqnr(wanted, given), abs=0.1)
    whole = outputs(fake_quantized(tiny_detector, 4))
    assert found.whole_sqnr == pytest.approx(outputs_sqnr(wanted, whole), abs=0.1)
    assert all(torch.equal(before[name], t) for name, t in tiny_detector.tensors.items())


def test_map_is_evaluates(data):
    one = networks.detector()
    found = sensitivity(one, data, 3, layers=["model.0", "model.23"], limit=4, imgsz=SIZE)
    before = evaluate(one, data, imgsz=SIZE)
    assert before.map > 0
    assert found.before.map == pytest.approx(before.map, abs=1e-3)
    for layer in found.layers:
        wanted = evaluate(fake_quantized(one, 3, layers=layer.name), data, imgsz=SIZE)
        assert (layer.map50, layer.map) == pytest.approx((wanted.map50, wanted.map), abs=1e-6)
        assert layer.drop == pytest.approx(found.before.map - wanted.map, abs=1e-6)
    whole = evaluate(fake_quantized(one, 3), data, imgsz=SIZE)
    but_head = evaluate(fake_quantized(one, 3, head=False), data, imgsz=SIZE)
    assert found.whole.map == pytest.approx(whole.map, abs=1e-6)
    assert found.but_head.map == pytest.approx(but_head.map, abs=1e-6)
    assert [layer.head for layer in found.layers] == [False, True]
    drops = [layer.drop for layer in found.ranked("drop")]
    assert drops == sorted(drops, reverse=True)
    words = " ".join(found.words())
    assert f"{found.whole.map:.3f} with all layers" in words
    assert len(found.table()) == 2


def test_it_is_watched_layer_by_layer_and_tensor_by_tensor(tiny_detector, tiny_data):
    layers = ["model.0", "model.2"]
    more = {"layers": layers, "imgsz": SIZE, "measure_map": False}
    steps = []
    last = sensitivity(tiny_detector, tiny_data, 4, on_progress=steps.append, **more)
    assert last is steps[-1]
    assert [len(step.layers) for step in steps] == [0, 1, 2]
    assert {step.total for step in steps} == {2}
    assert "no layer" in steps[0].words()[0]
    fine = sensitivity(tiny_detector, tiny_data, 4, each="tensor", **more)
    names = [name for name in quantizable(tiny_detector) if layer_of(name) in layers]
    assert [one.name for one in fine.layers] == names
    assert sum(one.weights for one in fine.layers) == sum(o.weights for o in steps[-1].layers)
    assert fine.layers[0].sqnr == steps[-1].layers[0].sqnr  # a layer of one tensor


def test_the_head_is_left_out_and_either_head_is_measured(tiny_detector, tiny_data):
    more = {"imgsz": SIZE, "measure_map": False, "each": "tensor"}
    last = f"{head_of(tiny_detector)}."
    without = sensitivity(tiny_detector, tiny_data, 4, head=False, **more)
    assert not any(one.head or one.name.startswith(last) for one in without.layers)
    many = sensitivity(tiny_detector, tiny_data, 4, layers=last[:-1], **more)
    single = sensitivity(tiny_detector, tiny_data, 4, layers=last[:-1], nms=False, **more)
    assert not any("one2one" in one.name for one in many.layers)
    assert all("one2one" in one.name for one in single.layers)
    assert all(math.isfinite(one.sqnr) for one in (*many.layers, *single.layers))


def test_activations_are_rounded_with_the_layer_and_only_then(tiny_detector, tiny_data):
    seen = calibrate(tiny_detector, tiny_data, 4, images=4, imgsz=SIZE)
    more = {"layers": "model.0", "imgsz": SIZE, "measure_map": False}
    weights = sensitivity(tiny_detector, tiny_data, 16, **more)
    both = sensitivity(tiny_detector, tiny_data, 16, activations=seen, **more)
    assert both.activations == 4
    assert both.layers[0].sqnr < weights.layers[0].sqnr - 20
    assert "inputs at 4 bits" in both.words()[0]


def test_bits_curve_is_evaluates_at_each(data):
    one = networks.detector()
    found = list(bits_curve(one, data, (3, "bf16"), ("affine tensor",), limit=4, imgsz=SIZE))
    assert [(str(s), bits) for s, bits, _ in found] == [
        ("affine tensor min-max", 3),
        ("affine tensor min-max", "bf16"),
    ]
    for scheme, bits, metrics in found:
        wanted = evaluate(fake_quantized(one, bits, scheme), data, imgsz=SIZE)
        assert metrics.map == pytest.approx(wanted.map, abs=1e-6)


def test_more_bits_are_less_error_at_the_outputs(tiny_detector, tiny_data):
    known = samples(tiny_data, imgsz=SIZE)
    wanted = raw_outputs(one_head(tiny_detector.model), known)
    ratios = [
        outputs_sqnr(
            wanted, raw_outputs(one_head(fake_quantized(tiny_detector, bits).model), known)
        )
        for bits in (2, 4, 6, 8, 16)
    ]
    assert ratios == sorted(ratios)
    assert ratios[-1] > ratios[0] + 40


def test_a_ratio_of_nothing_and_of_nan():
    one = [torch.ones(3), torch.ones(3)]
    assert outputs_sqnr(one, one) == math.inf
    assert outputs_sqnr(one, [torch.ones(3), torch.full((3,), math.nan)]) == -math.inf
    assert outputs_sqnr(one, [torch.ones(3) * 1.1, torch.ones(3) * 1.1]) == pytest.approx(
        20, abs=0.01
    )


def test_slips_are_told(tiny_detector, tiny_data, data):
    with pytest.raises(LabError, match="did you mean 'layer'"):
        sensitivity(tiny_detector, tiny_data, each="layers", imgsz=SIZE)
    with pytest.raises(LabError, match=r"model\.99"):
        sensitivity(tiny_detector, tiny_data, layers="model.99", imgsz=SIZE, measure_map=False)
    with pytest.raises(LabError, match="Fine-tune it"):
        sensitivity(tiny_detector, data, imgsz=SIZE)
