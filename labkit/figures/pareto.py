"""Candidates for deployment: accuracy against latency and size, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit.figures import theme
from labkit.figures.axes import axis
from labkit.figures.base import Spec, figure

COLORS = {
    "torch": theme.VERMILLION,
    "onnxruntime": theme.BLUE,
    "openvino": theme.GREEN,
    "tensorrt": theme.PURPLE,
    "litert": theme.ORANGE,
}
NAMES = {
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "litert": "LiteRT",
}
SYMBOLS = {"fp32": "circle", "bf16": "square", "fp16": "square", "mixed": "diamond"}
SMALLEST, LARGEST = 9, 30  # pixels


@figure
def pareto(
    rows: Sequence[Mapping[str, Any]],
    *,
    chosen: str = "",
    floor: float | None = None,
    threads: int = 0,
    height: int = 420,
) -> Spec:
    """mAP50-95 against milliseconds, a mark per candidate; its area grows with the file size.

    The shape is the precision: circles fp32, squares 16 bits, triangles int8, diamonds mixed.
    The line joins the candidates that no other beats in latency and accuracy; a filled mark is on
    the front of latency, accuracy and size.

    Args:
        rows: of each candidate `name`, `runtime`, `precision`, `ms`, `map`, `mb` and `front`
            (whether nothing beats it in all three).
        chosen: the name of the one to mark.
        floor: the lowest mAP50-95 allowed, as a dotted line.
        threads: number of threads the latency was measured with, for the axis; 0 if unknown.
        height: in pixels.
    """
    data: list[dict[str, Any]] = []
    most = max((row["mb"] for row in rows), default=1.0) or 1.0
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        own = [row for row in rows if row["runtime"] == runtime]
        color = COLORS.get(runtime, theme.INK)
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": NAMES.get(runtime, runtime),
                "x": np.array([row["ms"] for row in own], np.float64),
                "y": np.array([row["map"] for row in own], np.float64),
                "text": [
                    f"{row['name']}<br>{row['ms']:.2f} ms, {row['mb']:.2f} MB, mAP50-95 "
                    f"{row['map']:.3f}"
                    for row in own
                ],
                "marker": {
                    "color": [theme.rgba(color, 0.9 if row["front"] else 0.25) for row in own],
                    "size": [
                        max(SMALLEST, LARGEST * float(np.sqrt(row["mb"] / most))) for row in own
                    ],
                    "symbol": [SYMBOLS.get(row["precision"], "triangle-up") for row in own],
                    "line": {"color": color, "width": 1.5},
                },
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    data.append(_front(rows))
    data.append(_chosen(rows, chosen))
    layout = theme.layout("mAP50-95 against latency of candidates", height=height)
    layout["xaxis"] = axis(_latency(threads), type="log", **_ticks(rows))
    layout["yaxis"] = axis("mAP50-95", _span(rows, floor))
    if floor is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": floor,
                "y1": floor,
                "line": {"color": theme.INK, "width": 1.5, "dash": "dot"},
            }
        ]
        layout["annotations"] = [
            {
                "xref": "paper",
                "x": 1,
                "xanchor": "right",
                "y": floor,
                "yanchor": "top",
                "showarrow": False,
                "text": "lowest allowed",
                "font": {"size": 11},
            }
        ]
    return {"data": data, "layout": layout}


def _latency(threads: int) -> str:
    used = {0: "", 1: ", 1 thread"}.get(threads, f", {threads} threads")
    return f"milliseconds per image{used}"


def _ticks(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Round numbers on a logarithmic axis: twice as fast is the same distance everywhere."""
    values = [row["ms"] for row in rows] or [1.0]
    low, high = min(values) / 1.15, max(values) * 1.15
    marks = [m * 10.0**e for e in range(-2, 5) for m in (1, 1.5, 2, 3, 4, 6, 8)]
    shown = [mark for mark in marks if low <= mark <= high]
    return {
        "range": [float(np.log10(low)), float(np.log10(high))],
        "tickvals": shown,
        "ticktext": [f"{mark:g}" for mark in shown],
    }


def _span(rows: Sequence[Mapping[str, Any]], floor: float | None) -> list[float]:
    """Limits that hold every candidate and the floor, with some room."""
    values = [row["map"] for row in rows] + ([floor] if floor is not None else [])
    high, low = max(values, default=1.0), min(values, default=0.0)
    room = max(0.01, 0.08 * (high - low))
    return [max(-0.02, low - room), high + room]


def _front(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A staircase through the candidates that are fastest for their accuracy."""
    best: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["ms"], -row["map"])):
        if not best or row["map"] > best[-1]["map"]:
            best.append(row)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "fastest for its accuracy",
        "x": np.array([row["ms"] for row in best], np.float64),
        "y": np.array([row["map"] for row in best], np.float64),
        "line": {"color": theme.INK, "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _chosen(rows: Sequence[Mapping[str, Any]], chosen: str) -> dict[str, Any]:
    found = [row for row in rows if row["name"] == chosen]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"chosen: {chosen}" if found else "chosen",
        "showlegend": bool(found),
        "x": [row["ms"] for row in found],
        "y": [row["map"] for row in found],
        "marker": {
            "size": LARGEST + 4,
            "symbol": "circle-open",
            "color": theme.WARNING,
            "line": {"color": theme.WARNING, "width": 2.5},
        },
        "hoverinfo": "skip",
    }
