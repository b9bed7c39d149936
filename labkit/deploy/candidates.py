"""Candidates: the ways of running a detector that a search compares, as plain data.

A candidate names a runtime, the builder that makes its file, the options of both. Nothing is
run here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.core.errors import LabError, unknown

FLOATS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Candidate:
    """One way of running a detector.

    Attributes:
        name: unique among all.
        runtime: torch, onnxruntime, openvino, litert or tensorrt.
        precision: fp32, bf16, fp16, int8, or mixed: int8 with some layers left in float.
        builder: a name in `labkit.deploy.runtimes.builders.BUILDERS`.
        build_options: for the builder; JSON values.
        options: for the runtime when it opens the file; JSON values.
        why: what it tries, in a few words.
        control: it is a point of comparison, and never chosen.
    """

    name: str
    runtime: str
    precision: str
    builder: str
    build_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    control: bool = False

    @property
    def is_float(self) -> bool:
        """Whether no weight is stored as an integer."""
        return self.precision in FLOATS

    @property
    def deploys(self) -> bool:
        """Whether it can be chosen; PyTorch's rows cannot, for they need Ultralytics' code."""
        return self.runtime != "torch" and not self.control


def default_candidates(
    *, sensitive: Sequence[str] = (), bf16: bool = False, nvidia: bool = False
) -> tuple[Candidate, ...]:
    """All that a search tries.

    Args:
        sensitive: names of layers ("model.10") that mixed precision leaves in float; without
            them there is no candidate in mixed precision.
        bf16: whether this processor computes in bfloat16.
        nvidia: whether there is an NVIDIA GPU.
    """
    found = [*_torch(bf16), *_onnxruntime(sensitive), *_openvino(bf16), *_litert()]
    if nvidia:
        found.append(
            Candidate(
                "TensorRT fp16", "tensorrt", "fp16", "onnx",
                options={"fp16": True}, why="NVIDIA's runtime, through ONNX Runtime",
            )
        )  # fmt: skip
    return tuple(found)


def control(of: Candidate, data: str) -> Candidate:
    """The same for ONNX Runtime, calibrated with plenty of images of `data`."""
    options = {**of.build_options, "images": "own"}
    return dataclasses.replace(
        of,
        name=f"{of.name}, control",
        build_options=options,
        why=f"calibrated on {data}",
        control=True,
    )


def _torch(bf16: bool) -> list[Candidate]:
    found = [Candidate("PyTorch fp32", "torch", "fp32", "torch", why="as it was trained")]
    if bf16:
        found.append(
            Candidate(
                "PyTorch bf16", "torch", "bf16", "torch",
                {"dtype": "bfloat16"}, {"autocast": "bfloat16"}, "torch.autocast",
            )
        )  # fmt: skip
    return found


def _onnxruntime(sensitive: Sequence[str]) -> list[Candidate]:
    def one(name: str, why: str, precision: str = "int8", **build_options: Any) -> Candidate:
        return Candidate(
            f"ONNX Runtime {name}", "onnxruntime", precision, "onnx-int8", build_options, why=why
        )

    found = [
        Candidate("ONNX Runtime fp32", "onnxruntime", "fp32", "onnx", why="as exported"),
        Candidate(
            "ONNX Runtime fp16", "onnxruntime", "fp16", "onnx-fp16", why="weights stored as fp16"
        ),
        one("int8", "unsigned activations, weights per channel, all operators"),
        one(
            "int8 first layer float",
            "three input channels do not fill a vector register",
            layers=["model.0"],
        ),
        one("int8 convolutions only", "all else in float", operators="convolutions"),
        one("int8 7-bit weights", "no saturation without VNNI", reduce_range=True),
        one("int8 per tensor", "one scale per weight tensor", per_channel=False),
        one("int8 signed activations", "the form for GPUs", activations="int8"),
        one("int8 percentile", "ranges that leave out outliers", calibration="percentile"),
        one("int8 head in float", "the last block not quantized", "mixed", keep="head"),
    ]
    if sensitive:
        found.append(
            one("mixed", f"float: {', '.join(sensitive)}", "mixed", layers=list(sensitive))
        )
    return found


def _openvino(bf16: bool) -> list[Candidate]:
    def one(
        name: str,
        precision: str,
        builder: str,
        why: str,
        compute: str = "f32",
        **build_options: Any,
    ) -> Candidate:
        options = {"INFERENCE_PRECISION_HINT": compute}
        return Candidate(
            f"OpenVINO {name}", "openvino", precision, builder, build_options, options, why
        )

    found = [
        one("fp32", "fp32", "openvino", "as converted"),
        one("fp16", "fp16", "openvino", "weights stored as fp16", compress=True),
        one("int8", "int8", "openvino-int8", "NNCF, preset mixed"),
        one("int8 symmetric", "int8", "openvino-int8", "NNCF, preset performance",
            preset="performance"),
        one("int8 outputs in float", "mixed", "openvino-int8", "the last convolutions too",
            preset="performance", keep="outputs"),
        one("int8 accuracy-controlled", "mixed", "openvino-int8",
            "NNCF gives layers back to float until the drop is small", controlled=True),
    ]  # fmt: skip
    if bf16:
        found.insert(2, one("bf16", "bf16", "openvino", "computes in bfloat16", "bf16",
                            compress=True))  # fmt: skip
        found.append(one("int8 + bf16", "int8", "openvino-int8", "what is not int8 in bfloat16",
                         "bf16"))  # fmt: skip
    return found


def _litert() -> list[Candidate]:
    return [
        Candidate("LiteRT fp32", "litert", "fp32", "litert", why="as converted"),
        Candidate("LiteRT int8", "litert", "int8", "litert-int8", why="weights and activations"),
    ]


def chosen(candidates: Sequence[Candidate], names: Collection[str] | None) -> list[Candidate]:
    """Those with one of the names or runtimes; all of them for None.

    Raises:
        LabError: a name that is neither.
    """
    if names is None:
        return list(candidates)
    if isinstance(names, str):
        names = (names,)
    known = {one.name for one in candidates} | {one.runtime for one in candidates}
    for name in names:
        if name not in known:
            raise LabError(unknown("candidates", name, sorted(known)))
    return [one for one in candidates if one.name in names or one.runtime in names]
