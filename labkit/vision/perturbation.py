"""What damage to weights does to a detector: its mAP by amount, and layer by layer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabError
from labkit.vision.detector import Detector
from labkit.vision.evaluation import Metrics, evaluate
from labkit.weights.names import layers as layers_of
from labkit.weights.perturb import DAMAGES, Damage, Perturbation, is_weight

if TYPE_CHECKING:
    from labkit.vision.data import DataSet

POINTS = 6  # amounts between none and all on a curve


def unharmed(kind: str) -> float:
    """The amount of a kind of damage that changes nothing."""
    return float(DAMAGES[kind].traits["unharmed"])


def amounts(kind: str, points: int = POINTS) -> list[float]:
    """Amounts for a curve: none, and then ever further apart to either end of the range.

    Most of what happens, happens early.

    Raises:
        RecipeError: an unknown kind.
    """
    knob = DAMAGES[kind].parameters()["amount"]
    none, low, high = unharmed(kind), knob.low, knob.high
    assert low is not None
    assert high is not None
    steps = [(k / points) ** 2 for k in range(1, points + 1)]
    below = [none - (none - low) * step for step in steps if none > low]
    above = [none + (high - none) * step for step in steps if high > none]
    return sorted({none, *(round(amount, 4) for amount in below + above)})


def damage_curve(
    detector: Detector,
    data: DataSet,
    kind: str = "noise",
    *,
    layers: Sequence[str] = (),
    values: Sequence[float] | None = None,
    seed: int = 0,
    split: str = "val",
    limit: int | None = 20,
    imgsz: int | None = None,
    **arguments: Any,
) -> Iterator[tuple[float, Metrics]]:
    """The detector's metrics at each amount of one kind of damage; the detector stays as it is.

    Args:
        detector, data, split, limit, imgsz: see `evaluate`.
        kind, layers, seed, arguments: see `labkit.weights.perturb.Damage`.
        values: the amounts; by default `amounts(kind)`.

    Yields:
        Each amount with its metrics, as soon as they are known.

    Raises:
        LabError: see `Damage`, `Perturbation.apply` and `evaluate`.
    """
    own = private(detector)
    perturbation = Perturbation(own.model)
    for amount in amounts(kind) if values is None else values:
        perturbation.apply(Damage(kind, amount, tuple(layers), seed, arguments))
        yield amount, evaluate(own, data, split, limit, imgsz)


def damage_by_layer(
    detector: Detector,
    data: DataSet,
    kind: str = "noise",
    amount: float | None = None,
    *,
    seed: int = 0,
    split: str = "val",
    limit: int | None = 20,
    imgsz: int | None = None,
    **arguments: Any,
) -> dict[str, Metrics]:
    """The detector's metrics after the same damage to one layer at a time.

    Args and errors: see `damage_curve`.

    Returns:
        For each layer with weights, from the first to the last, what is left.
    """
    own = private(detector)
    perturbation = Perturbation(own.model)
    found = {}
    for layer in damageable(own):
        perturbation.apply(Damage(kind, amount, (layer,), seed, arguments))
        found[layer] = evaluate(own, data, split, limit, imgsz)
    return found


def damageable(detector: Detector) -> list[str]:
    """The layers that have weights, from the first to the last."""
    return layers_of(name for name, tensor in detector.tensors.items() if is_weight(name, tensor))


def kind_of(detector: Detector, layer: str) -> str:
    """What a layer is: the class of its module, such as `Conv` or `C3k2`.

    Raises:
        LabError: no such layer.
    """
    try:
        return type(detector.model.get_submodule(layer)).__name__
    except AttributeError as error:
        raise LabError(f"{detector.name} has no layer {layer!r}.") from error


def private(detector: Detector) -> Detector:
    """The same detector with a network of its own, to be damaged while others use theirs."""
    return dataclasses.replace(detector, model=copy.deepcopy(detector.model))
