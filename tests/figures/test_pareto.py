from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import pareto
from labkit.panels.live_figure import pack


def row(name, ms, score, mb=4.0, runtime="onnxruntime", precision="fp32", front=False):
    return {
        "name": name, "ms": ms, "map": score, "mb": mb,
        "runtime": runtime, "precision": precision, "front": front,
    }  # fmt: skip


ROWS = [
    row("a", 10.0, 0.50, mb=16, front=True),
    row("b", 5.0, 0.45, mb=4, precision="int8", front=True),
    row("c", 7.0, 0.40, mb=1, runtime="openvino", precision="mixed"),
    row("d", 20.0, 0.50, runtime="somebody's", precision="fp16"),
]


def traces(spec) -> dict[str, dict]:
    go.Figure(spec)
    pack(spec)
    return {trace["name"]: trace for trace in spec["data"]}


def test_a_mark_is_a_candidate_of_its_runtime():
    found = traces(pareto.spec(ROWS))
    assert set(found) == {
        "ONNX Runtime", "OpenVINO", "somebody's", "fastest for its accuracy", "chosen",
    }  # fmt: skip
    marks = found["ONNX Runtime"]
    assert (marks["x"].tolist(), marks["y"].tolist()) == ([10, 5], [0.50, 0.45])
    assert marks["marker"]["symbol"] == ["circle", "triangle-up"]
    assert found["OpenVINO"]["marker"]["symbol"] == ["diamond"]
    assert found["somebody's"]["marker"]["symbol"] == ["square"]
    large, small = marks["marker"]["size"]
    assert (large / small) ** 2 == pytest.approx(16 / 4), "the area is the size of the file"
    assert marks["text"][1].startswith("b<br>5.00 ms, 4.00 MB, mAP50-95 0.450")


def test_marks_on_the_front_are_filled():
    def opacity(color):
        return float(color.rstrip(")").split(",")[-1])

    found = traces(pareto.spec(ROWS))
    filled = min(map(opacity, found["ONNX Runtime"]["marker"]["color"]))
    assert filled > 2 * opacity(found["OpenVINO"]["marker"]["color"][0])


def test_the_staircase_joins_what_no_other_beats():
    rng = np.random.default_rng(0)
    rows = [row(str(k), *pair) for k, pair in enumerate(rng.uniform(0.1, 1, (40, 2)))]
    line = traces(pareto.spec(rows))["fastest for its accuracy"]
    unbeaten = [
        one
        for one in rows
        if not any(
            other["ms"] <= one["ms"] and other["map"] >= one["map"] and other is not one
            for other in rows
        )
    ]
    unbeaten.sort(key=lambda one: one["ms"])
    np.testing.assert_array_equal(line["x"], [one["ms"] for one in unbeaten])
    np.testing.assert_array_equal(line["y"], [one["map"] for one in unbeaten])


def test_the_chosen_one_has_a_ring():
    ring = traces(pareto.spec(ROWS, chosen="b"))["chosen: b"]
    assert (ring["x"], ring["y"], ring["showlegend"]) == ([5], [0.45], True)
    assert not traces(pareto.spec(ROWS, chosen="gone"))["chosen"]["showlegend"]


@pytest.mark.parametrize("floor", [None, 0.1, 0.9])
def test_axes_hold_all_candidates_and_the_lowest_accuracy_allowed(floor):
    layout = pareto.spec(ROWS, floor=floor)["layout"]
    low, high = layout["yaxis"]["range"]
    values = [one["map"] for one in ROWS] + ([] if floor is None else [floor])
    assert low < min(values)
    assert max(values) < high
    left, right = (10**end for end in layout["xaxis"]["range"])
    assert left < 5 < 20 < right
    assert all(left <= tick <= right for tick in layout["xaxis"]["tickvals"])
    lines = [shape["y0"] for shape in layout.get("shapes", [])]
    assert lines == ([] if floor is None else [floor])


@pytest.mark.parametrize(
    ("threads", "ending"), [(0, "image"), (1, "image, 1 thread"), (4, "image, 4 threads")]
)
def test_the_axis_names_the_threads(threads, ending):
    title = pareto.spec(ROWS, threads=threads)["layout"]["xaxis"]["title"]["text"]
    assert title == f"milliseconds per {ending}"


def test_before_anything_was_measured_there_is_a_picture():
    assert traces(pareto.spec([], floor=0.3))["fastest for its accuracy"]["x"].size == 0
