"""What a fine-tuned network takes over from the weights it starts from, tensor by tensor.

The taking over is Ultralytics' own (`BaseModel.load`): tensors of equal name and shape are
copied; rows of the class head whose class has the same name are copied to where that class
is now; the rest keeps its fresh random values. What came of it is not read from a log, but
from the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.errors import LabError
from labkit.core.ultralytics import silent, ultralytics

if TYPE_CHECKING:
    from labkit.core.table import Table
    from labkit.vision.detector import Detector

COPIED, REMAPPED, NEW = "copied", "re-mapped", "new"


@dataclass(frozen=True)
class Transfer:
    """Which tensors were copied, re-mapped by class name, or newly initialized.

    Attributes:
        kinds: tensor name -> `copied`, `re-mapped` or `new`, in the network's order.
        sizes: tensor name -> how many numbers.
        classes: new class -> the old class whose rows it got; None where it got none.
        dropped: tensors of the old weights that the new network has no place for.
        by_position: the class rows were copied as they stood although the classes have
            other names (there were as many): they are a start like any other.
    """

    kinds: dict[str, str]
    sizes: dict[str, int]
    classes: dict[str, str | None] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    by_position: bool = False

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Transfer:
        """From what `dataclasses.asdict` and JSON made of one."""
        return cls(**{**plain, "dropped": tuple(plain["dropped"])})

    def named(self, kind: str) -> list[str]:
        """The tensors of one kind: `copied`, `re-mapped` or `new`."""
        return [name for name, found in self.kinds.items() if found == kind]

    def share(self, kind: str = COPIED) -> float:
        """The share of all numbers that are of a kind."""
        total = sum(self.sizes.values())
        return sum(self.sizes[name] for name in self.named(kind)) / max(1, total)

    def table(self) -> Table:
        """One row a kind: how many tensors and numbers, and the first names."""
        from labkit.core.table import Table

        rows = []
        for kind in (COPIED, REMAPPED, NEW):
            names = self.named(kind)
            if names:
                numbers = sum(self.sizes[name] for name in names)
                shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
                rows.append(
                    {"kind": kind, "tensors": len(names), "numbers": numbers, "names": shown}
                )
        return Table(rows)

    def __str__(self) -> str:
        counts = [f"{len(self.named(kind))} {kind}" for kind in (COPIED, REMAPPED, NEW)]
        text = f"Of {len(self.kinds)} tensors: {', '.join(counts)}."
        kept = [f"{new} from {old}" for new, old in self.classes.items() if old]
        if kept and self.named(REMAPPED):
            text += f" Class rows by name: {', '.join(kept)}."
        if self.by_position:
            text += (
                " The class rows were copied by position: there are as many classes as before, "
                "with other names."
            )
        return text


def build(
    detector: Detector, names: Mapping[int, str], *, pretrained: bool = True, seed: int = 0
) -> tuple[nn.Module, Transfer]:
    """A network for `names` that starts from a detector's weights, and what it took over.

    Args:
        detector: what to start from.
        names: the new classes.
        pretrained: False gives the same architecture from random weights.
        seed: of everything that is drawn anew.

    Raises:
        LabError: the detector is for another task than detection.
    """
    if detector.task != "detect":
        raise LabError(
            f"weights={detector.name!r} are for the task {detector.task}: fine-tuning is for "
            "detectors, such as starter or yolo26n.pt"
        )
    ultralytics()
    from labkit.vision.finetuning.network import TrainedDetector

    old: Any = detector.model
    with silent(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        described = deepcopy(old.yaml)
        network = TrainedDetector(
            described, ch=described.get("channels", 3), nc=len(names), verbose=False
        )
        network.names = dict(names)
        if pretrained:
            network.load(deepcopy(old), verbose=False)
    network.task = "detect"
    return network, _report(old, network, pretrained)


def class_rows(network: nn.Module) -> list[str]:
    """The names of the tensors with one row per class: the last layers of the class branches."""
    head: Any = network.model[-1]  # type: ignore[index]
    last = len(network.model) - 1  # type: ignore[arg-type]
    return [
        f"model.{last}.{branch}.{scale}.{len(layers) - 1}.{kind}"
        for branch in ("cv3", "one2one_cv3")
        for scale, layers in enumerate(getattr(head, branch, None) or ())
        for kind in ("weight", "bias")
    ]


def _report(old: Any, network: Any, pretrained: bool) -> Transfer:
    before: dict[str, Tensor] = old.state_dict()
    after: dict[str, Tensor] = network.state_dict()
    rows = set(class_rows(network))
    matches = _matches(old.names, network.names) if pretrained else {}
    kinds = {}
    for name, tensor in after.items():
        source = before.get(name)
        if pretrained and source is not None and _same(source, tensor):
            kinds[name] = COPIED
        elif (
            pretrained
            and name in rows
            and source is not None
            and _rows_moved(source, tensor, matches)
        ):
            kinds[name] = REMAPPED
        else:
            kinds[name] = NEW
    order = list(matches.items()) == [(k, k) for k in range(len(network.names))]
    copied_rows = any(kinds[name] == COPIED for name in rows)
    return Transfer(
        kinds,
        {name: tensor.numel() for name, tensor in after.items()},
        {
            str(name): str(old.names[matches[k]]) if k in matches else None
            for k, name in network.names.items()
        },
        tuple(name for name in before if name not in after) if pretrained else (),
        by_position=copied_rows and not order,
    )


def _matches(old: Mapping[int, str], new: Mapping[int, str]) -> dict[int, int]:
    """New class number -> old one of the same name, compared as Ultralytics does."""
    known = {str(name).strip().lower(): k for k, name in old.items()}
    found = {k: known.get(str(name).strip().lower()) for k, name in new.items()}
    return {k: number for k, number in found.items() if number is not None}


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.to(b.dtype), b)


def _rows_moved(old: Tensor, new: Tensor, matches: Mapping[int, int]) -> bool:
    if not matches or old.shape[1:] != new.shape[1:]:
        return False
    to, source = list(matches), list(matches.values())
    return torch.equal(old[source].to(new.dtype), new[to])
