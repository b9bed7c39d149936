"""Cases of 10_quantization: tiny images, few candidates; what is told must hold together."""

from __future__ import annotations

from tests.notebooks.cases.case import Case, Results

GIVEN = ["ONNX Runtime int8 QAT", "OpenVINO int8 QAT"]  # of the notebook's own training


def what_holds(results: Results, candidates: list[str]) -> None:
    """However little was learnt."""
    assert 0 < results["map"] <= results["map50"] <= 1
    assert results["rounded_map"] < 1.2 * results["map"]
    assert len(results["calibrated"]) == 3
    assert results["qat_before"] < results["map"], "few bits hurt"
    assert 0 < results["qat_moved"] < 1
    assert results["qat_seconds"] > 0
    assert results["problems"] == {}
    assert list(results["latency"]) == list(results["maps"]) == [*candidates, *GIVEN]
    assert results["chosen"] in results["verdict"]
    assert results["eight_megabytes"] < 3, "weights of one byte each"
    onnx, openvino = (results["maps"][name] for name in GIVEN)
    assert abs(onnx - openvino) < 0.05, "the same network"


FLOAT_AND_INT8 = ["ONNX Runtime fp32", "ONNX Runtime int8"]
OPENVINO = ["PyTorch fp32", "OpenVINO int8"]


def fine_tuned_here(results: Results) -> None:
    what_holds(results, FLOAT_AND_INT8)
    assert results["weights"] == "the starter, fine-tuned here for 1 epochs"


def the_starter_as_given(results: Results) -> None:
    what_holds(results, OPENVINO)
    assert results["weights"] == "as given"
    assert results["map50"] > 0.2, "it knows what it was taught"
    assert results["qat_bits"] == 2


SMALL = {"image_size": 64, "images": 4, "epochs": 1}
STARTER = {"weights": "starter", "data": "scenes", "other_data": "cells", "qat_bits": 2}
FIGURES = 10
CASES = [
    Case("10", {**SMALL, "candidates": FLOAT_AND_INT8}, FIGURES, fine_tuned_here),
    Case(
        "10",
        {**SMALL, **STARTER, "candidates": OPENVINO, "target": "size"},
        FIGURES,
        the_starter_as_given,
    ),
]
