"""Loading weights: from a file of any format, a model's name, a network or a state dict."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from labkit.core.errors import FileError, LabError
from labkit.weights.file import Format, Weights, buffers_among, digest
from labkit.weights.metadata import fields, printable

SUFFIXES: dict[str, Format] = {
    ".pt": "pt",
    ".pth": "pt",
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".tflite": "tflite",
}


def load(source: Any) -> Weights:
    """Named tensors with their metadata; nothing in a file is ever executed.

    Args:
        source: the path of a `.pt`, `.safetensors`, `.onnx` or `.tflite` file; the name of
            a model that Ultralytics publishes ("yolo26n.pt", "yolo11n-seg"), fetched if it
            is not there; "starter" for the weights that come with labkit; a network; a
            state dict; or `Weights`.

    Raises:
        FileError: the file is missing, damaged, or asks for what labkit does not do.
        LabError: anything else as `source`.
    """
    if isinstance(source, Weights):
        return source
    if isinstance(source, nn.Module):
        return from_module(source)
    if isinstance(source, Mapping):
        return from_state_dict(source)
    if isinstance(source, (str, os.PathLike)):
        from labkit.weights.find import find

        return from_file(find(source))
    raise LabError(
        f"weights cannot be taken from {type(source).__name__}: "
        "give a path, the name of a model, a network or a state dict"
    )


def from_file(path: Path) -> Weights:
    """The weights in a file of one of the known formats.

    Raises:
        FileError: see `load`.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise FileError(f"{path}: labkit reads weights from {', '.join(SUFFIXES)} files")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            tensors, metadata = _read(kind, path, file)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from None
    except FileError as error:  # it may quote the file
        raise FileError(printable(error, most=400)) from None
    except MemoryError:
        raise FileError(f"{path} needs more memory than is available") from None
    buffers = metadata.pop("buffers", None)
    known = {str(name) for name in buffers} if isinstance(buffers, list) else buffers_among(tensors)
    return Weights(
        tensors=tensors,
        format=kind,
        sha256=sha256,
        size=size,
        path=path,
        buffers=frozenset(known) & tensors.keys(),
        **fields(metadata),
    )


def _read(kind: Format, path: Path, file: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if kind == "pt":
        from labkit.weights.checkpoint import read

        return read(file, path)
    if kind == "safetensors":
        from labkit.weights import safetensors_file

        return safetensors_file.read(path)
    if kind == "onnx":
        from labkit.weights import onnx_file

        return onnx_file.read(path)
    from labkit.weights import tflite_file

    return tflite_file.read(path)


def from_module(network: nn.Module) -> Weights:
    """A copy of a network's tensors, named as in its `state_dict`, and what is attached to it.

    Of Ultralytics' `YOLO` it is the network inside.
    """
    network = unwrapped(network)
    metadata = {name: getattr(network, name, None) for name in ("yaml", "names", "task")}
    metadata["stride"] = getattr(network, "stride", None)
    metadata["train_args"] = getattr(network, "args", None)
    held = network.state_dict()
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    return _in_memory(held, "module", frozenset(held.keys() - parameters), metadata)


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself: the one inside of Ultralytics' `YOLO`."""
    inner = getattr(network, "model", None)
    home = type(network).__module__
    wraps = home.startswith("ultralytics.") and home.endswith(".model")
    return inner if wraps and isinstance(inner, nn.Module) else network


def from_state_dict(held: Mapping[str, Any]) -> Weights:
    """A copy of named tensors.

    Raises:
        LabError: something in it is no tensor, or has no name.
    """
    for name, value in held.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LabError(
                f"a state dict has names and tensors; {name!r:.80} is {type(value).__name__}"
            )
    return _in_memory(held, "state dict", buffers_among(held), {})


def _in_memory(
    held: Mapping[str, Any], kind: Format, buffers: frozenset[str], metadata: dict[str, Any]
) -> Weights:
    tensors = {
        name: value.detach().cpu().clone()
        for name, value in held.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise LabError(f"the {kind} holds no tensors")
    if isinstance(stride := metadata.get("stride"), Tensor):
        metadata["stride"] = stride.tolist()
    return Weights(
        tensors=tensors,
        format=kind,
        sha256=digest(tensors),
        size=sum(tensor.nbytes for tensor in tensors.values()),
        buffers=buffers & tensors.keys(),
        **fields(metadata),
    )
