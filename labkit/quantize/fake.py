"""A whole detector whose numbers are rounded to few bits, and still computed as float32.

It rounds as a deployed integer network does:

* BatchNorm is folded into the convolution before it first, as every runtime and exporter does:
  weights times gamma / sigma. With a grid per channel that changes no rounding (the grid is
  scaled with the channel); with one per tensor it does, for it spreads the channels' sizes.
* Weights are put on grids; biases stay float32 (runtimes keep them in 32 bits).
* Activations are rounded, on request, where a convolution or a linear layer reads them. What
  runs between (attention's products, sums, the decoding of boxes) stays float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.core.ultralytics import silent
from labkit.quantize.grid import grid
from labkit.quantize.scheme import Bits, Scheme, checked_bits
from labkit.vision.detector import Detector
from labkit.vision.perturbation import private
from labkit.weights.names import select
from labkit.weights.perturb import is_weight

if TYPE_CHECKING:
    from labkit.quantize.activations import Activations


def folded(detector: Detector) -> Detector:
    """The same detector with BatchNorm folded into its convolutions, in a network of its own.

    A network with two heads keeps both, so that either can be measured.
    """
    own = private(detector)
    network: Any = own.model
    head = network.model[-1]
    with silent():
        if hasattr(head, "fuse"):
            head.fuse = lambda: None  # it would remove one of the two heads
        try:
            network.fuse(verbose=False)
        finally:
            head.__dict__.pop("fuse", None)
    return own


def head_of(detector: Detector) -> str:
    """The name of the last block, which turns features into boxes and classes."""
    network: Any = detector.model
    return f"model.{len(network.model) - 1}"


def quantizable(detector: Detector) -> list[str]:
    """The names of the weights that are quantized: those that multiply inputs."""
    return [name for name, p in detector.model.named_parameters() if is_weight(name, p)]


def fake_quantized(
    detector: Detector,
    bits: Bits = 8,
    scheme: Scheme | str = "symmetric channel",
    layers: str | Iterable[str] | None = None,
    *,
    head: bool = True,
    activations: Activations | None = None,
    fold: bool = True,
) -> Detector:
    """A detector that computes with rounded weights; the given one is not changed.

    Args:
        detector: any.
        bits, scheme: see `labkit.quantize.grid`. Channels are output channels.
        layers: names of layers or tensors, or prefixes that end at a dot; None for all.
        head: whether the last block is rounded as well; many schemes leave it in float.
        activations: from `labkit.quantize.activations.calibrate`, to round the
            inputs of the chosen layers as well; None for weights alone.
        fold: whether BatchNorm is folded first, as in every deployed network.

    Raises:
        LabError: bits, a scheme or a layer that do not exist, or weights that are not finite.
    """
    own = folded(detector) if fold else private(detector)
    chosen = chosen_weights(own, layers, head=head)
    put_on_grid(own, chosen, bits, scheme)
    if activations is not None:
        activations.attach(own, chosen)
    return own


def chosen_weights(
    detector: Detector, layers: str | Iterable[str] | None, *, head: bool = True
) -> list[str]:
    """The weights of some layers, with or without those of the head.

    Raises:
        LabError: a layer that does not exist.
    """
    chosen = select(quantizable(detector), layers)
    if not head:
        last = f"{head_of(detector)}."
        chosen = [name for name in chosen if not name.startswith(last)]
    return chosen


@torch.no_grad()
def put_on_grid(
    detector: Detector, names: Iterable[str], bits: Bits, scheme: Scheme | str
) -> dict[str, Tensor]:
    """Round weights in place.

    Returns:
        The weights as they were, by name.
    """
    bits, scheme = checked_bits(bits), Scheme.of(scheme)
    before = {}
    for name in names:
        weight = detector.model.get_parameter(name)
        try:
            rounded = grid(weight, bits, _for_weight(detector, name, scheme)).dequantized
        except LabError as error:
            raise LabError(f"{name}: {error}") from None
        before[name] = weight.detach().clone()
        weight.copy_(rounded)
    return before


def _for_weight(detector: Detector, name: str, scheme: Scheme) -> Scheme:
    """The scheme with its channels along the outputs of the module that owns the weight."""
    owner = detector.model.get_submodule(name.rpartition(".")[0])
    transposed = isinstance(owner, (nn.ConvTranspose1d, nn.ConvTranspose2d)) and owner.groups == 1
    return dataclasses.replace(scheme, axis=1) if transposed else scheme
