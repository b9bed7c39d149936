"""The description of a network that comes with its weights: checked before it is built.

Ultralytics builds a network from a dict of rows `[from, repeats, layer, arguments]`. It
evaluates `activation` as Python, looks `layer` up among everything its modules know
(functions, and layers that download), and takes numbers of any size. A description that
came in a file is therefore limited to what descriptions of real networks contain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from labkit.core.errors import LabError

# The layers of Ultralytics' own descriptions, YOLOv3 to YOLO26, without `TorchVision`,
# which fetches its weights.
_LAYERS = """
A2C2f AConv ADown AIFI Bottleneck BottleneckCSP C1 C2 C2PSA C2f C2fAttn C2fCIB C2fPSA C3
C3Ghost C3TR C3k2 C3x CBFuse CBLinear Classify Concat Conv ConvTranspose DWConv
DWConvTranspose2d Depth Detect ELAN1 Focus GhostBottleneck GhostConv HGBlock HGStem
ImagePoolingAttn Index OBB OBB26 PSA Pose Pose26 RTDETRDecoder RepC3 RepConv RepNCSPELAN4
ResNetLayer SCDown SPP SPPELAN SPPF Segment Segment26 SemanticSegment WorldDetect
YOLOEDetect YOLOESegment YOLOESegment26 nn.BatchNorm2d nn.Conv2d nn.ConvTranspose2d
nn.Identity nn.MaxPool2d nn.Upsample nn.ZeroPad2d v10Detect
"""
LAYERS = frozenset(_LAYERS.split())
WORDS = frozenset({"None", "True", "False", "nc", "kpt_shape", "nearest", "bilinear"})
ACTIVATION = re.compile(
    r"(torch\.)?nn\.(ReLU|ReLU6|LeakyReLU|SiLU|GELU|Mish|ELU|SELU|CELU|PReLU|Hardswish|Sigmoid"
    r"|Tanh|Softplus|Identity)\((inplace=True|inplace=False|[0-9.]{1,8})?\)"
)
NUMBERS = {"depth_multiple", "width_multiple", "reg_max", "channels", "ch"}
MOST_ROWS, MOST_REPEATS, LARGEST = 300, 100, 100_000


def checked(described: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with nothing in it but what describes layers: safe to build from.

    Args:
        described: Ultralytics' model YAML as a mapping, of unknown origin.

    Raises:
        LabError: what is in it that does not belong there, and where.
    """
    try:
        return _checked(described)
    except LabError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise LabError("it is not a list of layers as Ultralytics writes it") from None


def _checked(described: Mapping[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"nc": _number("nc", described["nc"], whole=True)}
    for name in sorted(NUMBERS & set(described)):
        good[name] = _number(name, described[name])
    if described.get("end2end") is not None:
        good["end2end"] = bool(described["end2end"])
    if (activation := described.get("activation")) is not None:
        if not ACTIVATION.fullmatch(activation):
            raise LabError(f"its activation {activation!r:.60} is not one of torch.nn's")
        good["activation"] = activation
    if (keypoints := described.get("kpt_shape")) is not None:
        good["kpt_shape"] = [_number("kpt_shape", number, whole=True) for number in keypoints]
    if scales := described.get("scales"):
        good["scales"] = {
            _word("scale", scale): [_number("scales", number) for number in numbers]
            for scale, numbers in scales.items()
        }
    for name in ("scale", "yaml_file", "text_model"):
        if name in described:
            good[name] = _word(name, described[name])
    before = 0
    for part in ("backbone", "head"):
        good[part] = [_row(before + i, *row) for i, row in enumerate(described[part])]
        before += len(good[part])
    if before > MOST_ROWS:
        raise LabError(f"it has {before} layers; at most {MOST_ROWS} are allowed")
    return good


def _row(index: int, sources: Any, repeats: Any, layer: Any, arguments: Any) -> list[Any]:
    where = f"layer {index}"
    if layer not in LAYERS:
        raise LabError(f"{where} is {layer!r:.60}, which is not one of Ultralytics' layers")
    if not 1 <= _number(where, repeats, whole=True) <= MOST_REPEATS:
        raise LabError(
            f"{where} is repeated {repeats} times; at most {MOST_REPEATS} times are allowed"
        )
    for source in sources if isinstance(sources, (list, tuple)) else [sources]:
        if not -max(index, 1) <= _number(where, source, whole=True) < max(index, 1):
            raise LabError(f"{where} takes its input from layer {source}, which is not before it")
    taken = list(sources) if isinstance(sources, (list, tuple)) else sources
    return [taken, repeats, layer, [_argument(where, value) for value in arguments]]


def _argument(where: str, value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value not in WORDS:
            raise LabError(f"{where} has the argument {value!r:.60}, which is not known")
        return value
    if isinstance(value, (list, tuple)) and depth < 3 and len(value) < 64:
        return [_argument(where, part, depth + 1) for part in value]
    return _number(where, value)


def _number(where: str, value: Any, whole: bool = False) -> Any:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        raise LabError(f"{where} has {value!r:.60} where a number belongs")
    if abs(value) > LARGEST:
        raise LabError(f"{where} has {value!r:.60}; the largest number is {LARGEST:,}")
    return value


def _word(where: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise LabError(f"{where} has {value!r:.60} where a word belongs")
    return value


def name_of(described: Mapping[str, Any]) -> str | None:
    """The architecture, from the name of the file it was described in: "yolo26n"."""
    stem = PurePath(str(described.get("yaml_file") or "").replace("\\", "/")).stem
    if not stem:
        return None
    scale = str(described.get("scale") or "")
    bare = re.fullmatch(r"((?:yolo|yoloe-)(?:v)?\d+)((?:-.*)?)", stem)
    return f"{bare[1]}{scale}{bare[2]}" if bare and scale else stem
