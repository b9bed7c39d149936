from __future__ import annotations

import pytest
import torch

from labkit.core.errors import RecipeError
from labkit.core.ultralytics import silent, ultralytics
from tests.vision.finetuning import tiny

ultralytics()

from labkit.vision.finetuning.network import TrainedDetector, pick_precision  # noqa: E402

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> TrainedDetector:
    from labkit.vision.detector import open_detector

    opened = open_detector(tiny.weights(tmp_path_factory.mktemp("w") / "start.safetensors"))
    with silent():
        network = TrainedDetector(dict(opened.model.yaml), nc=3, verbose=False)
    network.load_state_dict(opened.model.state_dict())
    from ultralytics.cfg import get_cfg

    network.args = get_cfg()
    return network.train()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "img": torch.rand(2, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.3], [0.4, 0.6, 0.5, 0.5]]),
    }


def test_in_float32_it_is_ultralytics_own_loss(detector, batch):
    from ultralytics.nn.tasks import DetectionModel

    detector.precision = torch.float32
    ours, parts = detector.loss(batch)
    theirs, other = DetectionModel.loss(detector, batch)
    assert torch.equal(ours, theirs)
    assert parts.keys() == other.keys() if isinstance(parts, dict) else len(parts) == len(other)


def test_in_bfloat16_layers_are_and_the_loss_is_not(detector, batch, monkeypatch):
    seen = {}
    first = next(m for m in detector.modules() if isinstance(m, torch.nn.Conv2d))
    hook = first.register_forward_hook(lambda m, i, out: seen.update(layer=out.dtype))
    detector.criterion = None
    criterion = detector.init_criterion()

    def watched(preds, given):
        seen["loss"] = {t.dtype for t in torch.utils._pytree.tree_leaves(preds)
                        if isinstance(t, torch.Tensor)}  # fmt: skip
        return criterion(preds, given)

    monkeypatch.setattr(detector, "init_criterion", lambda: watched)
    detector.precision = torch.bfloat16
    try:
        loss, _ = detector.loss(batch)
    finally:
        hook.remove()
        detector.precision, detector.criterion = torch.float32, None
    assert seen == {"layer": torch.bfloat16, "loss": {torch.float32}}
    assert torch.isfinite(loss).all()


@pytest.mark.parametrize(
    ("wanted", "able", "found"),
    [
        ("float32", {"avx512_bf16": True}, torch.float32),
        ("auto", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", {"amx_bf16": True}, torch.bfloat16),
        ("auto", {"avx2": True}, torch.float32),
        ("bfloat16", {}, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_it(monkeypatch, wanted, able, found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert pick_precision(wanted, CPU) == found


@pytest.mark.parametrize(("native", "found"), [(True, torch.bfloat16), (False, torch.float32)])
def test_on_a_gpu_it_is_asked(monkeypatch, native, found):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert pick_precision("auto", GPU) == found


def test_a_gpu_without_it_refuses(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(RecipeError, match="this GPU has no bfloat16"):
        pick_precision("bfloat16", GPU)
