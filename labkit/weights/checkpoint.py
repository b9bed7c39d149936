"""A `.pt` file as weights: Ultralytics' checkpoints, state dicts, whole networks."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from torch import Tensor

from labkit.core.errors import FileError
from labkit.weights import restricted
from labkit.weights.metadata import plain
from labkit.weights.restricted import Inert

# Where training programs keep a network in their checkpoint: Ultralytics' own choice first.
PLACES = ("ema", "model", "state_dict", "model_state_dict", "weights")
TASKS = {
    "Detection": "detect",
    "Segmentation": "segment",
    "Classification": "classify",
    "Pose": "pose",
    "OBB": "obb",
    "World": "detect",
    "YOLOE": "detect",
}
TENSORS, NESTING = 100_000, 64
NUMPY = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "u1": "<B", "b1": "<?"}


def read(file: BinaryIO, name: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and what the checkpoint says about them (see `metadata.fields`).

    Raises:
        FileError: see `restricted.load`, or there are no tensors in it.
    """
    size = file.seek(0, 2)
    file.seek(0)
    content = restricted.load(file, name)
    metadata = {k: v for k, v in content.items() if isinstance(k, str)} if _mapping(content) else {}
    network = next((metadata[k] for k in PLACES if _holds_tensors(metadata.get(k))), content)
    metadata = {
        k: _plain(v) for k, v in metadata.items() if k not in (*PLACES, "optimizer", "scaler")
    }
    if isinstance(network, Inert):
        attributes = {**network.state, **network.state.get("_modules", {})}
        if isinstance(inner := attributes.get("student_model"), Inert):
            network = inner
        tensors, buffers = _of_module(network, name)
        metadata = {**_attributes(network), **metadata, "buffers": buffers}
    else:
        found = network.items() if _mapping(network) else ()
        tensors = {str(k): v for k, v in found if isinstance(v, Tensor)}
        metadata = {k: v for k, v in metadata.items() if k not in tensors}
    if not tensors:
        raise FileError(f"{name} holds no network: there are no named tensors in it")
    if sum(tensor.nbytes for tensor in tensors.values()) > 4 * size:
        raise FileError(f"{name} is refused: its tensors would take many times its own size")
    return {k: tensor.detach().contiguous() for k, tensor in tensors.items()}, metadata


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _holds_tensors(value: Any) -> bool:
    if _mapping(value):
        return any(isinstance(item, Tensor) for item in value.values())
    return isinstance(value, Inert) and "_modules" in value.state


def _of_module(network: Inert, name: object) -> tuple[dict[str, Tensor], list[str]]:
    """Parameters and buffers by the names that `state_dict` would give them."""
    tensors: dict[str, Tensor] = {}
    buffers = []
    for prefix, module in _modules(network, name):
        transient = module.state.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            for own, value in _items(module.state.get(kind)):
                if isinstance(value, Tensor) and own not in transient:
                    tensors[prefix + own] = value
                    if kind == "_buffers":
                        buffers.append(prefix + own)
        if len(tensors) > TENSORS:
            raise FileError(f"{name} is refused: it has more than {TENSORS:,} tensors")
    return tensors, buffers


def _modules(network: Inert, name: object) -> Iterator[tuple[str, Inert]]:
    """Every module with its prefix, parents first, children in their order."""
    waiting = [("", network, 0)]
    seen = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if depth > NESTING or seen > TENSORS:
            raise FileError(f"{name} is refused: its modules are nested without end")
        yield prefix, module
        children = [
            (f"{prefix}{own}.", child, depth + 1)
            for own, child in _items(module.state.get("_modules"))
            if isinstance(child, Inert)
        ]
        waiting.extend(reversed(children))


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if _mapping(value):
        yield from ((str(key), item) for key, item in value.items())


def _attributes(network: Inert) -> dict[str, Any]:
    """What Ultralytics attaches to a network, and the task that its class is for."""
    metadata = {k: _plain(network.state.get(k)) for k in ("yaml", "names", "task", "stride")}
    kind = network.origin.rpartition(".")[2]
    metadata["task"] = metadata["task"] or TASKS.get(kind.removesuffix("Model"))
    if (args := _plain(network.state.get("args"))) and isinstance(args, dict):
        metadata["train_args"] = args
    return {k: v for k, v in metadata.items() if v is not None}


def _plain(value: Any) -> Any:
    return plain(value, resolve=_resolved)


def _resolved(value: Any) -> Any:
    """Plain data for what tensors, numpy, pathlib and namespaces would have held."""
    if isinstance(value, Tensor):
        return value.tolist() if value.numel() <= 16 else None
    if not isinstance(value, Inert):
        return None
    match value.origin.rpartition(".")[2], value.arguments:
        case "scalar", (Inert(arguments=(str(kind), *_)), bytes(raw)) if kind in NUMPY:
            try:
                return struct.unpack(NUMPY[kind], raw)[0]
            except struct.error:
                return None
        case (("PosixPath" | "WindowsPath" | "PurePosixPath" | "PureWindowsPath"), parts):
            return "/".join(str(part) for part in parts[:100]).replace("//", "/")
        case (("IterableSimpleNamespace" | "SimpleNamespace" | "Namespace"), _):
            return value.state
    return None
