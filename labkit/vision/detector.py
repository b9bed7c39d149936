"""A detector: a YOLO network that is ready to run, with the weights it was made from."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from labkit.core.formatting import file_size
from labkit.vision.network import build, build_random
from labkit.weights.find import STARTER_FILE

if TYPE_CHECKING:
    from labkit.core.table import Table
    from labkit.weights.file import Weights


@dataclass(frozen=True, eq=False)
class Detector:
    """A YOLO network in evaluation mode.

    Attributes:
        weights: what it was made from, as on disk.
        model: the network, Ultralytics' own class, float32.
        task: detect, segment, classify, pose or obb.
        names: of the classes, by number.
        imgsz: the side in pixels of the images it was trained on.
    """

    weights: Weights
    model: nn.Module
    task: str
    names: dict[int, str]
    imgsz: int

    @property
    def name(self) -> str:
        """What to call it: its file, else its architecture."""
        path = self.weights.path
        return path.name if path else self.weights.architecture or "network"

    @property
    def origin(self) -> str:
        """Whose weights these are, in a few words."""
        path = self.weights.path
        if path is None:
            return f"a {self.weights.format} in this session ({self.name})"
        if path.name == STARTER_FILE.name and path.resolve() == STARTER_FILE.resolve():
            return "the starter weights that come with labkit"
        return f"the file {path}"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors it computes with, by name; shared, not copied."""
        return self.model.state_dict()

    @torch.no_grad()
    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Compute with other tensors of the same shapes from now on; those not named stay."""
        own = self.tensors
        for name, tensor in tensors.items():
            own[name].copy_(tensor)

    def info(self, imgsz: int | None = None) -> Table:
        """What it is, in a table: architecture, classes, sizes, training, file.

        Args:
            imgsz: the side in pixels for which floating-point operations are counted.
        """
        from labkit.core.table import Table

        return Table({"what": what, "value": value} for what, value in self.facts(imgsz).items())

    def facts(self, imgsz: int | None = None) -> dict[str, object]:
        """The facts of `info`, by name."""
        weights, size = self.weights, imgsz or self.imgsz
        parameters = sum(p.numel() for p in self.model.parameters())
        buffers = sum(b.numel() for b in self.model.buffers())
        layers = sum(1 for m in self.model.modules() if not list(m.children()))
        found: dict[str, object] = {
            "architecture": weights.architecture or type(self.model).__name__,
            "task": self.task,
            "classes": f"{len(self.names)}: {', '.join(self.names.values())}"[:400],
            "layers": f"{layers:,}",
            "parameters": f"{parameters:,} learned numbers",
            "buffers": f"{buffers:,} measured numbers (BatchNorm's means and variances)",
            f"work per image of {size} px": f"{self.operations(size) / 1e9:.2f} GFLOP",
            "trained at": f"{self.imgsz} px",
            "format": weights.format,
        }
        if weights.size:
            found["on disk"] = file_size(weights.size)
        if weights.date:
            found["date"] = weights.date
        if weights.sha256:
            found["SHA-256"] = weights.sha256
        return found

    def operations(self, imgsz: int) -> int:
        """Floating-point operations for one image: two for each multiply-and-add."""
        from torch.utils.flop_counter import FlopCounterMode

        image = torch.zeros(1, 3, imgsz, imgsz, device=next(self.model.parameters()).device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            one_head(self.model)(image)
        return int(counter.get_total_flops())


def open_detector(source: Any) -> Detector:
    """A detector from anything that `labkit.weights.load` takes, or from loaded `Weights`.

    Args:
        source: a path, an Ultralytics model name (`yolo26n.pt`), `"starter"`, a network of
            Ultralytics, or `Weights`.

    Raises:
        LabError: the weights do not make a network (see `labkit.vision.network.build`).
        FileError: a file that cannot be read.
    """
    from labkit.weights.file import Weights
    from labkit.weights.load import load

    weights = source if isinstance(source, Weights) else load(source)
    return _detector(weights, build(weights))


def random_like(detector: Detector, seed: int = 0) -> Detector:
    """The same architecture with fresh random weights, as before any training."""
    network = build_random(detector.weights, seed)
    weights = dataclasses.replace(
        detector.weights,
        tensors={name: t.clone() for name, t in network.state_dict().items()},
        format="module",
        path=None,
        size=0,
        sha256="",
        date=None,
        about={},
    )
    return dataclasses.replace(_detector(weights, network), imgsz=detector.imgsz)


def _detector(weights: Weights, network: Any) -> Detector:
    # Convolutions on a CPU are faster with the channels innermost.
    network.to(memory_format=torch.channels_last)
    default = 224 if network.task == "classify" else 640
    size = weights.train_args.get("imgsz") or default
    return Detector(
        weights=weights,
        model=network,
        task=network.task,
        names=dict(network.names),
        imgsz=int(max(size) if isinstance(size, (list, tuple)) else size),
    )


def one_head(model: nn.Module, nms: bool = True) -> nn.Module:
    """The same network with only one of its heads: nothing is copied.

    YOLO26 (like YOLOv10) has two heads. With `nms` it is the one that proposes many boxes
    per object, which non-maximum suppression then thins out; this is Ultralytics' default.
    Without, it is the one that was trained to propose a single one. Networks with a single
    head stay as they are.
    """
    view = _shallow(model)
    layers = view.model = _shallow(view.model)
    last = str(len(layers) - 1)
    head: Any = _shallow(layers[-1])
    layers._modules[last] = head
    if getattr(head, "one2one_cv2", None) is not None:
        head.end2end = not nms
        head.fuse()
    return view


def _shallow(module: Any) -> Any:
    """A module of its own with the same children, parameters and buffers."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin
