"""Weight files as people have them, in every format, small."""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from tests.weights.flatbuffer import tflite

MAKERS: dict[str, Callable[[], bytes]] = {}


def good(suffix: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        MAKERS[f"{make.__name__}.{suffix}"] = make
        return make

    return register


def write(folder: Path) -> list[Path]:
    paths = []
    for name, make in MAKERS.items():
        path = folder / name
        path.write_bytes(make())
        paths.append(path)
    return paths


def saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@good("pt")
def state_dict():
    return saved(network().state_dict())


@good("pth")
def state_dict_named_pth():
    return saved(network().state_dict())


@good("pt")
def state_dict_within_a_checkpoint():
    return saved({"epoch": 3, "state_dict": network().state_dict(), "optimizer": {"lr": 1}})


@good("pt")
def whole_module():
    return saved(network())


@good("pt")
def dtypes():
    names = "float64 float32 float16 bfloat16 int8 uint8 int16 int32 int64 bool complex64"
    kinds = [getattr(torch, name) for name in [*names.split(), "float8_e4m3fn", "float8_e5m2"]]
    return saved({str(kind): torch.ones(2, 3).to(kind) for kind in kinds})


@good("pt")
def one_storage_for_two():
    shared = torch.arange(12.0)
    return saved({"a": shared[:6].view(2, 3), "b": shared[6:], "c": shared.view(3, 4).t()})


@good("pt")
def ultralytics_detector():
    return saved({**checkpoint("yolo26n"), "best_fitness": np.float64(0.5), "path": Path("a/b")})


@good("pt")
def ultralytics_in_training():
    """`last.pt` of a run that goes on: the average of the weights, and the optimizer's state."""
    made = checkpoint("yolo11n")
    average = made["model"]
    optimizer = torch.optim.SGD(average.parameters(), momentum=0.9)
    metrics = {"fitness": np.float64(0.25), "rows": np.int64(3)}
    return saved(
        {**made, "model": None, "ema": average, "epoch": 2, "updates": 7, "scaler": {}}
        | {"optimizer": optimizer.state_dict(), "train_metrics": metrics}
    )


@good("pt")
def evil_network_description():
    """What it asks for is never built, so it does nothing: data like any other."""
    made = checkpoint("yolov8n")
    made["model"].yaml["activation"] = "__import__('os').system('touch canary')"
    return saved(made)


@good("pt")
def metadata_that_unfolds_without_end():
    """A list of two of the list before, sixty times: read as far as a reader would care."""
    nested: list[Any] = []
    for _ in range(60):
        nested = [nested, nested]
    return saved({"nested": nested, "w": torch.ones(2)})


@good("safetensors")
def plain():
    from safetensors.torch import save

    return save({name: t.clone() for name, t in network().state_dict().items()}, {"by": "hand"})


@good("onnx")
def initializers():
    values = network().state_dict()
    tensors = [onnx.numpy_helper.from_array(t.numpy(), name) for name, t in values.items()]
    graph = onnx.helper.make_graph([], "g", [], [], initializer=tensors)
    model = onnx.helper.make_model(graph)
    evil = "__import__('os').system('touch canary')"
    onnx.helper.set_model_props(model, {"names": "{0: 'cat'}", "stride": "32", "args": evil})
    return model.SerializeToString()


@good("tflite")
def made_by_hand():
    return tflite({"w": torch.ones(2, 3), "b": torch.zeros(3, dtype=torch.int8)})


@functools.cache
def built(architecture: str) -> Any:
    """Ultralytics' network of this name, with random weights."""
    from labkit.core.ultralytics import silent, ultralytics

    ultralytics()
    with silent():
        from ultralytics import YOLO

        return YOLO(f"{architecture}.yaml").model


def checkpoint(architecture: str) -> dict[str, Any]:
    """As Ultralytics' `strip_optimizer` leaves it: FP16, no gradients, a hundred arguments."""
    model = copy.deepcopy(built(architecture)).half().requires_grad_(False)
    from ultralytics.utils import DEFAULT_CFG_DICT

    return {
        "epoch": -1,
        "best_fitness": None,
        "model": model,
        "ema": None,
        "train_args": {**DEFAULT_CFG_DICT, "data": "coco.yaml", "epochs": 12},
        "date": "2026-02-03T04:05:06",
        "version": "8.4.0",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    }
