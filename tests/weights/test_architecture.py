"""Descriptions of networks: Ultralytics' own pass as they are, anything else is refused."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.core.errors import LabError
from labkit.weights.architecture import checked, name_of

FOLDER = Path(importlib.util.find_spec("ultralytics").origin).parent / "cfg" / "models"
OWN = sorted(FOLDER.rglob("*.yaml"))
NAMES = [str(path.relative_to(FOLDER)) for path in OWN]


def described(name: str = "26/yolo26.yaml") -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_ultralytics_own_descriptions(name):
    own = described(name)
    if any(row[2] == "TorchVision" for row in own["backbone"]):
        with pytest.raises(LabError, match="TorchVision"):  # it fetches weights
            checked(own)
    else:
        assert checked(own) == own


EVIL = "__import__('os').system('touch canary')"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation": EVIL}, "activation"),
        ({"activation": "nn.SiLU().__class__.__mro__[-1]"}, "activation"),
        ({"activation": "nn.ReLU(__import__('os'))"}, "activation"),
        ({"activation": 3}, "list of layers"),
        ({"nc": 10**9}, "nc"),
        ({"nc": "80"}, "nc"),
        ({"nc": True}, "nc"),
        ({"depth_multiple": float("inf")}, "depth_multiple"),
        ({"width_multiple": 10**6}, "largest number"),
        ({"scales": {"n": [EVIL, 1, 1]}}, "scales"),
        ({"scales": "n"}, "list of layers"),
        ({"kpt_shape": [17, 10**9]}, "kpt_shape"),
        ({"yaml_file": ["a"]}, "yaml_file"),
        ({"backbone": None}, "list of layers"),
        ({"backbone": [[-1, 1, "Conv"]]}, "list of layers"),
        ({"backbone": [[-1, 1, "Conv", [64, 3, 2]]] * 301}, "layers"),
        ({"backbone": [[-1, 1, "eval", [EVIL]]]}, "'eval'"),
        ({"backbone": [[-1, 1, "DetectionModel", ["http://x/evil.yaml"]]]}, "DetectionModel"),
        ({"backbone": [[-1, 1, "TorchVision", [512, "resnet18", "DEFAULT"]]]}, "TorchVision"),
        ({"backbone": [[-1, 1, "torch_safe_load", ["x.pt"]]]}, "torch_safe_load"),
        ({"backbone": [[-1, 1, "nn.Module.__init__", []]]}, "nn.Module"),
        ({"backbone": [[-1, 1, ["Conv"], []]]}, "list of layers"),
        ({"backbone": [[-1, 10**4, "Conv", [64]]]}, "repeated"),
        ({"backbone": [[-1, 0, "Conv", [64]]]}, "repeated"),
        ({"backbone": [[-1, 1, "Conv", [10**12]]]}, "largest number"),
        ({"backbone": [[-1, 1, "Conv", [EVIL]]]}, "argument"),
        ({"backbone": [[-1, 1, "Conv", ["layers"]]]}, "argument"),
        ({"backbone": [[-1, 1, "Conv", [[[[[[1]]]]]]]]}, "number belongs"),
        ({"backbone": [[5, 1, "Conv", [64]]]}, "layer 5"),
        ({"backbone": [[[-1, "x"], 1, "Concat", [1]]]}, "number belongs"),
    ],
)
def test_anything_else_is_refused(change, said):
    with pytest.raises(LabError, match=said):
        checked({**described(), **change})


def test_nothing_of_a_description_is_shared_and_the_unknown_is_left_out():
    given = {**described(), "scale": "n", "surprise": EVIL}
    before = copy.deepcopy(given)
    good = checked(given)
    assert "surprise" not in good
    good["backbone"][0][3][0] = 1
    good["scales"]["n"][0] = 9
    assert given == before


def test_a_description_that_contains_itself():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(LabError):
        checked({**described(), "backbone": [[-1, 1, "Conv", loop]]})
    for strange in (None, 3, "yaml", [1, 2], loop):
        with pytest.raises(LabError, match="list of layers"):
            checked(strange)


@pytest.mark.parametrize(
    ("file", "scale", "name"),
    [
        ("yolo26n.yaml", "n", "yolo26n"),
        ("yolo26.yaml", "n", "yolo26n"),
        ("ultralytics/cfg/yolov8-seg.yaml", "s", "yolov8s-seg"),
        ("C:\\models\\yolo11m-pose.yaml", "m", "yolo11m-pose"),
        ("custom.yaml", "", "custom"),
        ("", "n", None),
    ],
)
def test_the_name_of_an_architecture(file, scale, name):
    assert name_of({"yaml_file": file, "scale": scale}) == name
