"""Which layer loses most with few bits: one at a time is quantized, all others stay float.

There are two measures. mAP is what counts, but on a few images it changes in steps, and at 8
bits many layers do not change it at all. The SQNR of the network's raw outputs (box and class
logits) changes with every layer, needs no labels, and costs one forward pass of a few images:
it ranks layers where mAP cannot tell them apart, and is the only measure without `measure_map`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError, unknown
from labkit.core.threads import one_thread
from labkit.quantize.fake import chosen_weights, folded, head_of, put_on_grid, quantizable
from labkit.quantize.scheme import Bits, Scheme, bits_text, checked_bits
from labkit.vision.detector import Detector, one_head
from labkit.vision.evaluation import Metrics, Samples, evaluate, samples
from labkit.vision.perturbation import kind_of
from labkit.weights.names import layer_of

if TYPE_CHECKING:
    from labkit.core.table import Table
    from labkit.quantize.activations import Activations
    from labkit.vision.data import DataSet

Each = Literal["layer", "tensor"]
Outputs = list[Tensor]

PROXY_IMAGES = 5


@dataclass(frozen=True)
class LayerSensitivity:
    """What happens to the detector when this alone is quantized.

    Attributes:
        name: of the layer (`model.10`) or of the tensor.
        kind: the class of the layer's module, such as `Conv` or `C3k2`.
        weights: how many numbers are rounded.
        sqnr: of the network's raw outputs against float, in dB; lower is worse.
        map50, map: with this layer quantized; None if mAP was not measured.
        drop: of mAP50-95; None likewise.
        head: whether it is the last block, or belongs to it.
    """

    name: str
    kind: str
    weights: int
    sqnr: float
    map50: float | None = None
    map: float | None = None
    drop: float | None = None
    head: bool = False

    def row(self) -> dict[str, object]:
        """The facts as a table row."""
        known = {"mAP50": self.map50, "mAP50-95": self.map, "drop": self.drop}
        return {
            "layer": self.name,
            "kind": self.kind,
            "weights": self.weights,
            "output SQNR (dB)": self.sqnr,
            **{name: value for name, value in known.items() if value is not None},
        }


@dataclass(frozen=True)
class Sensitivity:
    """Layer by layer, and all of them at once.

    Attributes:
        bits, scheme: of the weights' grids.
        activations: bits of the layers' inputs, or None for float.
        layers: those measured so far, from the input to the output.
        total: how many there will be.
        before, whole, but_head: metrics of the float detector, with all layers quantized, and
            with all but the head; None if mAP was not measured.
        whole_sqnr, but_head_sqnr: of the raw outputs, in dB.
    """

    bits: Bits
    scheme: Scheme
    activations: Bits | None
    layers: tuple[LayerSensitivity, ...]
    total: int
    before: Metrics | None
    whole: Metrics | None
    but_head: Metrics | None
    whole_sqnr: float
    but_head_sqnr: float

    def ranked(self, by: Literal["sqnr", "drop"] = "sqnr") -> list[LayerSensitivity]:
        """The layers, those that lose most first; equal drops in order of SQNR.

        Raises:
            LabError: a measure that does not exist, or drops if mAP was not measured.
        """
        if by not in ("sqnr", "drop"):
            raise LabError(unknown("by", by, ("sqnr", "drop")))
        if by == "drop" and any(one.drop is None for one in self.layers):
            raise LabError("mAP was not measured: ask for measure_map=True, or rank by sqnr.")
        return sorted(
            self.layers,
            key=lambda one: (-(one.drop or 0.0) if by == "drop" else 0.0, one.sqnr),
        )

    def table(self) -> Table:
        """One row per layer, in order of depth."""
        from labkit.core.table import Table

        return Table(one.row() for one in self.layers)

    def words(self) -> list[str]:
        """What was found, in sentences."""
        if not self.layers:
            return ["no layer has been measured yet."]
        read = "" if self.activations is None else f", inputs at {bits_text(self.activations)}"
        words = [f"Weights at {bits_text(self.bits)} ({self.scheme}){read}, one layer at a time:"]
        worst = self.ranked()[:3]
        words.append(
            "most error at the outputs: "
            + ", ".join(f"{one.name} ({one.kind}, {one.sqnr:.1f} dB)" for one in worst)
        )
        if self.before and self.whole and self.but_head:
            lost = self.ranked("drop")[0]
            assert lost.drop is not None
            words.append(
                f"largest drop of mAP50-95: {lost.name} ({lost.kind}), {lost.drop:+.3f}"
                if lost.drop > 0
                else "no layer alone lowers mAP50-95"
            )
            words.append(
                f"mAP50-95: {self.before.map:.3f} in float, {self.whole.map:.3f} with all layers "
                f"at once, {self.but_head.map:.3f} with the head left in float "
                f"({self.before.images} images)"
            )
        return words


def sensitivity(
    detector: Detector,
    data: DataSet,
    bits: Bits = 8,
    scheme: Scheme | str = "symmetric channel",
    *,
    layers: str | Iterable[str] | None = None,
    each: Each = "layer",
    head: bool = True,
    activations: Activations | None = None,
    measure_map: bool = True,
    split: str = "val",
    limit: int | None = 20,
    imgsz: int | None = None,
    nms: bool = True,
    on_progress: Callable[[Sensitivity], object] | None = None,
) -> Sensitivity:
    """Quantize one layer at a time and measure what it does; the detector stays as it is.

    Args:
        detector: of task detect. BatchNorm is folded first, in a copy.
        data, split, limit, imgsz, nms: see `evaluate`; only the head that `nms` selects is
            measured.
        bits, scheme: see `labkit.quantize.grid`.
        layers: names of layers or tensors, or prefixes that end at a dot; None for all.
        each: "layer" for the blocks of the architecture (`model.10`), "tensor" for every
            convolution by itself (`model.10.cv1.conv.weight`).
        head: whether the last block is among them.
        activations: from `calibrate`: a layer's inputs are rounded with its weights.
        measure_map: whether mAP is measured as well: an evaluation per layer.
        on_progress: is called with the result so far, first without any layer, then with one
            more each time; an exception that it raises ends the measuring.

    Raises:
        LabError: see `grid`, `evaluate` and `labkit.weights.names.select`.
    """
    if each not in ("layer", "tensor"):
        raise LabError(unknown("each", each, ("layer", "tensor")))
    bits, scheme = checked_bits(bits), Scheme.of(scheme)
    report = on_progress or (lambda _: None)
    own = folded(detector)
    own = dataclasses.replace(own, model=one_head(own.model, nms))
    size = imgsz or detector.imgsz
    known = samples(data, split=split, limit=limit, imgsz=size)
    float_outputs = raw_outputs(own.model, known)

    def measured(names: Sequence[str]) -> tuple[float, Metrics | None]:
        before = put_on_grid(own, names, bits, scheme)
        handles = activations.attach(own, names) if activations else []
        try:
            ratio = outputs_sqnr(float_outputs, raw_outputs(own.model, known))
            metrics = evaluate(own, data, split, limit, size, nms=nms) if measure_map else None
        finally:
            own.put(before)
            for handle in handles:
                handle.remove()
        return ratio, metrics

    groups: dict[str, list[str]] = {}
    for name in chosen_weights(own, layers, head=head):
        groups.setdefault(layer_of(name) if each == "layer" else name, []).append(name)
    before = evaluate(own, data, split, limit, size, nms=nms) if measure_map else None
    whole_sqnr, whole = measured(quantizable(own))
    but_head_sqnr, but_head = measured(chosen_weights(own, None, head=False))
    last = head_of(own)
    result = Sensitivity(
        bits, scheme, activations.bits if activations else None, (), len(groups),
        before, whole, but_head, whole_sqnr, but_head_sqnr,
    )  # fmt: skip
    report(result)
    for group, names in groups.items():
        ratio, metrics = measured(names)
        one = LayerSensitivity(
            name=group,
            kind=kind_of(own, layer_of(names[0])),
            weights=sum(own.model.get_parameter(name).numel() for name in names),
            sqnr=ratio,
            map50=metrics.map50 if metrics else None,
            map=metrics.map if metrics else None,
            drop=before.map - metrics.map if before and metrics else None,
            head=layer_of(names[0]) == last,
        )
        result = dataclasses.replace(result, layers=(*result.layers, one))
        report(result)
    return result


@torch.inference_mode()
def raw_outputs(network: nn.Module, known: Samples, images: int = PROXY_IMAGES) -> Outputs:
    """Box and class logits of a few images, before they are decoded.

    Raises:
        LabError: a network without such outputs.
    """
    _, batch = next(known.batches(images))
    device = next(network.parameters()).device
    with one_thread():
        outputs = network(batch.to(device).float() / 255)
    raw = outputs[1] if isinstance(outputs, tuple) else None
    raw = raw.get("one2one", raw) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not {"boxes", "scores"} <= raw.keys():
        raise LabError(f"{type(network).__name__} gives no box and class logits to compare.")
    return [raw["boxes"].float(), raw["scores"].float()]


def outputs_sqnr(wanted: Outputs, given: Outputs) -> float:
    """Signal to noise in dB, of the mean noise-to-signal ratio of boxes and classes.

    Each is measured by itself, so that neither outweighs the other by its size.
    """
    shares = [
        float((b - a).double().square().sum() / a.double().square().sum().clamp(min=1e-30))
        for a, b in zip(wanted, given, strict=True)
    ]
    noise = sum(shares) / len(shares)
    if not math.isfinite(noise):
        return -math.inf
    return -10 * math.log10(noise) if noise else math.inf


def bits_curve(
    detector: Detector,
    data: DataSet,
    bits: Sequence[Bits] = (2, 3, 4, 5, 6, 8),
    schemes: Sequence[Scheme | str] = ("symmetric channel", "symmetric tensor"),
    *,
    layers: str | Iterable[str] | None = None,
    head: bool = True,
    activations: Activations | None = None,
    split: str = "val",
    limit: int | None = 20,
    imgsz: int | None = None,
    nms: bool = True,
) -> Iterator[tuple[Scheme, Bits, Metrics]]:
    """The detector's metrics with all chosen layers at each number of bits, scheme by scheme.

    Args and errors: see `sensitivity`.

    Yields:
        Each scheme and number of bits with the metrics, as soon as they are known.
    """
    wanted = [(Scheme.of(scheme), checked_bits(one)) for scheme in schemes for one in bits]
    own = folded(detector)
    own = dataclasses.replace(own, model=one_head(own.model, nms))
    names = chosen_weights(own, layers, head=head)
    if activations:
        activations.attach(own, names)
    for scheme, one in wanted:
        before = put_on_grid(own, names, one, scheme)
        metrics = evaluate(own, data, split, limit, imgsz or detector.imgsz, nms=nms)
        own.put(before)
        yield scheme, one, metrics
