"""Make an OpenVINO file smaller: beside int8 weights, the XML that describes a graph is large.

OpenVINO infers all inner shapes when it reads a file, and names are for people. Leaving them
out changes no result; `slim` reads the file again and compares.
"""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from labkit.deploy.runtimes.sessions import OpenVinoSession

Element = ElementTree.Element


def slim(file: Path, image: np.ndarray) -> None:
    """Remove from `model.xml` what the runtime does not need.

    Args:
        file: the XML; its `.bin` stays as it is.
        image: an input, (1, 3, s, s) float32. Unless the shorter file gives the same output
            for it, bit for bit, the file stays as it was.
    """
    tree = ElementTree.parse(file)
    net = tree.getroot()
    _share_constants(net)
    kept = _read_by_results(net)
    for number, layer in enumerate(net.iter("layer")):
        if layer.get("type") not in ("Parameter", "Result"):
            layer.set("name", f"{number:x}")
        _shorten(layer, kept)
    for info in net.findall("rt_info"):
        net.remove(info)
    ElementTree.indent(tree, space="")
    text = ElementTree.tostring(net).replace(b"\n", b"").replace(b" />", b"/>")
    shorter = file.with_name(f"slim-{file.name}")
    weights = shorter.with_suffix(".bin")
    shorter.write_bytes(text)
    shutil.copyfile(file.with_suffix(".bin"), weights)
    try:
        if np.array_equal(_output(file, image), _output(shorter, image)):
            os.replace(shorter, file)
    except Exception:  # a shorter file that cannot be read: the long one stays
        pass
    finally:
        shorter.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)


def _output(file: Path, image: np.ndarray) -> np.ndarray:
    return OpenVinoSession(str(file), 1, INFERENCE_PRECISION_HINT="f32")(image)


def _shorten(layer: Any, kept: set[str]) -> None:
    """Remove comments for debuggers, names of inner tensors, and shapes that are inferred."""
    for info in layer.findall("rt_info"):
        layer.remove(info)
    if layer.get("type") == "Parameter":
        return
    for port in layer.iter("port"):
        if layer.get("id") not in kept:
            port.attrib.pop("names", None)
        for extent in port.findall("dim"):
            port.remove(extent)


def _read_by_results(net: Element) -> set[str]:
    """The ids of the layers whose outputs are those of the network: they keep their names."""
    results = {layer.get("id") for layer in net.iter("layer") if layer.get("type") == "Result"}
    return {
        edge.get("from-layer", "") for edge in net.iter("edge") if edge.get("to-layer") in results
    }


def _share_constants(net: Element) -> None:
    """Merge equal constants: a FakeQuantize has two ranges, which are often the same."""
    layers, edges = net.find("layers"), net.find("edges")
    assert layers is not None
    assert edges is not None
    first: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    for layer in list(layers):
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None:
            continue
        key = tuple(sorted(data.attrib.items()))
        number = layer.get("id", "")
        if key in first:
            same[number] = first[key]
            layers.remove(layer)
        first.setdefault(key, number)
    for edge in edges:
        source = edge.get("from-layer", "")
        edge.set("from-layer", same.get(source, source))
