"""Cases of 10_quantization: tiny images, few candidates; the figures must fit together."""

from __future__ import annotations

from tests.notebooks.cases.case import Case, Results

GIVEN = ["ONNX Runtime int8 QAT", "OpenVINO int8 QAT"]  # of the notebook's own training


def what_holds(results: Results, candidates: list[str]) -> None:
    """However little was learnt."""
    assert 0 < results["map"] <= results["map50"] <= 1
    assert 0 <= results["rounded_map"] <= 1
    assert len(results["calibrated"]) == 3
    assert 0 < results["qat_moved"] < 1
    assert results["qat_seconds"] > 0
    assert results["problems"] == {}
    assert list(results["latency"]) == list(results["maps"]) == [*candidates, *GIVEN]
    assert results["eight_megabytes"] < 3, "weights of one byte each"
    onnx, openvino = (results["maps"][name] for name in GIVEN)
    assert abs(onnx - openvino) < 0.05, "the same network"


def fine_tuned_here(results: Results) -> None:
    what_holds(results, ["PyTorch fp32", "ONNX Runtime fp32"])
    assert results["weights"] == "the starter, fine-tuned here for 1 epochs"
    assert abs(results["qat_before"] - results["map"]) < 0.1, "8 bits hardly hurt"
    assert results["qat_after"] == results["eight_after"], "one run is both"


def the_starter_as_given(results: Results) -> None:
    what_holds(results, ["PyTorch fp32", "OpenVINO int8"])
    assert results["weights"] == "as given"
    assert results["qat_before"] < 0.5 * results["map"], "2 bits hurt"
    assert results["chosen"] in results["verdict"]


SMALL = {"image_size": 64, "images": 4, "epochs": 1}
EIGHT = {"qat_bits": 8, "candidates": ["ONNX Runtime fp32"]}
STARTER = {"weights": "starter", "data": "scenes", "other_data": "cells", "qat_bits": 2}
FIGURES = 10
CASES = [
    Case("10", {**SMALL, **EIGHT}, FIGURES, fine_tuned_here),
    Case(
        "10",
        {**SMALL, **STARTER, "candidates": ["OpenVINO int8"], "target": "size"},
        FIGURES,
        the_starter_as_given,
    ),
]
