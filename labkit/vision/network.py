"""From weights to a network: the architecture they name, filled with their tensors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.core.threads import one_thread
from labkit.core.ultralytics import silent, ultralytics
from labkit.weights.architecture import checked

if TYPE_CHECKING:
    from labkit.weights.file import Weights

CLASSES = {
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "classify": "ClassificationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
}


def build(weights: Weights) -> nn.Module:
    """The network that `weights` are of, in evaluation mode, float32, on the CPU.

    It is built from the architecture that the file names and its tensors are copied in:
    nothing of the file is executed. The class names are attached as `.names`, as
    Ultralytics has them.

    Raises:
        LabError: the weights name no architecture, name one that Ultralytics cannot build
            from known layers, or hold other tensors than it has.
    """
    return _filled(architecture(weights), weights)


def build_random(weights: Weights, seed: int) -> nn.Module:
    """A network of the same architecture with fresh random weights. Raises as `build`."""
    return _network(architecture(weights), weights, seed).eval()


def architecture(weights: Weights) -> dict[str, Any]:
    """The model description (Ultralytics' model YAML as a dict) that weights belong to.

    Raises:
        LabError: they do not say, or what they say could run something else than layers.
    """
    if weights.task not in (None, *CLASSES):
        raise LabError(
            f"{_name(weights)} is for task {weights.task!r}. labkit runs {', '.join(CLASSES)}."
        )
    if weights.yaml_problem:
        raise LabError(f"the architecture in {_name(weights)} is refused: {weights.yaml_problem}")
    if weights.yaml is not None:
        described = deepcopy(dict(weights.yaml))
    elif weights.architecture:
        described = _shipped(weights.architecture, _name(weights))
        if weights.names:
            described["nc"] = len(weights.names)
    else:
        raise LabError(
            f"{_name(weights)} holds tensors and does not say of which network: load a checkpoint "
            'that Ultralytics has saved, a file that labkit has saved, or "starter".'
        )
    try:
        return checked(described)  # again: a caller may have changed what was loaded
    except LabError as error:
        raise LabError(f"the architecture in {_name(weights)} is refused: {error}") from None


def _shipped(name: str, of: str) -> dict[str, Any]:
    """The description of an architecture that comes with Ultralytics, by its name."""
    ultralytics()
    from ultralytics.nn.tasks import yaml_model_load

    # A name that is a path or an address would be followed.
    if re.fullmatch(r"yolo[a-z0-9-]{1,40}", name):
        with contextlib.suppress(OSError):
            found: dict[str, Any] = yaml_model_load(f"{name}.yaml")
            return found
    raise LabError(f"{of} is of architecture {name!r:.60}, which this Ultralytics does not have.")


def _filled(described: dict[str, Any], weights: Weights) -> nn.Module:
    # Imported out here: classes made on "meta" would keep their own tensors there.
    ultralytics()
    from ultralytics.nn import tasks  # noqa: F401

    # Shapes first, without memory: a description may ask for gigabytes.
    with one_thread(), torch.device("meta"):
        expected = _parsed(described, weights)
    _compare(expected, weights)
    network: Any = _network(described, weights, seed=0)
    _keep_class_width(network.model, described, weights)
    network.load_state_dict(dict(weights.tensors))
    found: nn.Module = network.eval()
    return found


def _parsed(described: dict[str, Any], weights: Weights) -> dict[str, Tensor]:
    ultralytics()
    from ultralytics.nn.tasks import parse_model

    try:
        with silent():
            layers, _ = parse_model(deepcopy(described), ch=_channels(described), verbose=False)
            _keep_class_width(layers, described, weights)
    except Exception as error:  # whatever a layer makes of arguments that do not fit
        raise LabError(
            f"The architecture in {_name(weights)} cannot be built: {str(error)[:200]}"
        ) from error
    return {f"model.{name}": tensor for name, tensor in layers.state_dict().items()}


def _keep_class_width(layers: Any, described: dict[str, Any], weights: Weights) -> None:
    """Give the class branches of a detection head the width that they have in the file.

    A description implies it by the number of classes; but when Ultralytics fine-tunes for
    fewer classes it keeps the width of the weights it starts from (`BaseModel.load`).
    """
    from ultralytics.nn.tasks import parse_model

    head = layers[-1]
    for branch in ("cv3", "one2one_cv3"):
        own = getattr(head, branch, None)
        if not isinstance(own, nn.ModuleList) or not isinstance(own[0], nn.Sequential):
            continue
        last = weights.tensors.get(f"model.{len(layers) - 1}.{branch}.0.{len(own[0]) - 1}.weight")
        if last is None or last.ndim != 4 or last.shape[1] == own[0][-1].in_channels:
            continue
        last_layer: Any = own[0][-1]
        width, classes = last.shape[1], last_layer.out_channels
        wider = {**deepcopy(described), "nc": width}  # as many classes imply this width
        donor, _ = parse_model(wider, ch=_channels(described), verbose=False)
        branches = getattr(donor[-1], branch)
        for layers_of_scale in branches:
            layers_of_scale[-1] = nn.Conv2d(layers_of_scale[-1].in_channels, classes, 1)
        setattr(head, branch, branches)


def _channels(described: Mapping[str, Any]) -> int:
    return int(described.get("channels") or described.get("ch") or 3)


def _compare(expected: Mapping[str, Tensor], weights: Weights) -> None:
    given = weights.tensors
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is not part of it" for name in given if name not in expected]
    problems += [
        f"{name} has shape {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise LabError(
            f"The tensors in {_name(weights)} do not fit its architecture "
            f"({weights.architecture or 'described in the file'}): "
            f"{'; '.join(problems[:3])}{more}."
        )


def _network(described: dict[str, Any], weights: Weights, seed: int) -> nn.Module:
    from ultralytics.nn import tasks

    task = weights.task or tasks.guess_model_task(described)
    if task not in CLASSES:
        raise LabError(f"{_name(weights)} is for task {task!r}. labkit runs {', '.join(CLASSES)}.")
    make = getattr(tasks, CLASSES[task])
    # Building draws random numbers: not from the generator of a training that runs meanwhile.
    with silent(), one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = make(deepcopy(described), ch=_channels(described), verbose=False)
    count = described["nc"]
    network.names = {k: str(weights.names.get(k, k)) for k in range(count)}
    network.task = task
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    found: nn.Module = network
    return found


def _name(weights: Weights) -> str:
    if weights.path is not None:
        return weights.path.name
    return weights.architecture or f"this {weights.format}"
