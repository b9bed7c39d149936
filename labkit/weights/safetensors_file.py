"""Reading `.safetensors`: a length, a JSON header, raw values (the safetensors format).

The library checks that every tensor lies inside the file and that no two overlap; what it
does not bound is how much header it will parse.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from labkit.core.errors import FileError
from labkit.weights.file import in_depth_order
from labkit.weights.save import FORMAT, KEY

# The header of a network of 10,000 tensors takes about 1 MB.
HEADER = 16 * 2**20


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata.

    Raises:
        FileError: it is not a safetensors file, or a damaged one.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise FileError(f"{path} is not a sound safetensors file: {error}") from None
    facts = _facts(path, metadata)
    order = facts.pop("order", None) or in_depth_order(tensors)
    if set(order) != set(tensors):
        raise FileError(f"{path} is damaged: its list of tensors is not that of its header")
    return {name: tensors[name] for name in order}, facts


def _check_header(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begins = file.read(1)
    if size < 8 or begins != b"{":
        raise FileError(f"{path} is not a safetensors file: it does not begin with a header")
    if length > size - 8:
        raise FileError(
            f"{path} is cut short: its header should have {length:,} bytes, the file has {size:,}"
        )
    if length > HEADER:
        raise FileError(
            f"{path}: a header of {length:,} bytes is refused; labkit reads up to {HEADER:,}"
        )


def _facts(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What labkit wrote, or what another program did, as it is."""
    if KEY not in metadata:
        return dict(metadata)
    try:
        facts = json.loads(metadata[KEY])
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise FileError(f"{path} is damaged: what labkit wrote into it cannot be read")
    return facts
