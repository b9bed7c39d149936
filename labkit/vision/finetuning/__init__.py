"""Fine-tuning a detector, and proof of what it changed.

Names are loaded when they are first used: torch and Ultralytics wait until then.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.vision.finetuning.experiments import Forgetting as Forgetting
    from labkit.vision.finetuning.experiments import HeadStart as HeadStart
    from labkit.vision.finetuning.experiments import forgetting as forgetting
    from labkit.vision.finetuning.experiments import head_start as head_start
    from labkit.vision.finetuning.freezing import FreezeProof as FreezeProof
    from labkit.vision.finetuning.records import EpochRecord as EpochRecord
    from labkit.vision.finetuning.records import FineTuned as FineTuned
    from labkit.vision.finetuning.records import StepRecord as StepRecord
    from labkit.vision.finetuning.records import Used as Used
    from labkit.vision.finetuning.run import finetune as finetune
    from labkit.vision.finetuning.run import open_run as open_run
    from labkit.vision.finetuning.run import resume as resume
    from labkit.vision.finetuning.spec import FineTune as FineTune
    from labkit.vision.finetuning.transfer import Transfer as Transfer

_HOME = {
    "FineTune": "spec",
    "finetune": "run",
    "resume": "run",
    "open_run": "run",
    "StepRecord": "records",
    "EpochRecord": "records",
    "Used": "records",
    "FineTuned": "records",
    "Transfer": "transfer",
    "FreezeProof": "freezing",
    "head_start": "experiments",
    "HeadStart": "experiments",
    "forgetting": "experiments",
    "Forgetting": "experiments",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.vision.finetuning' has no attribute {name!r}")
    value = getattr(import_module(f"labkit.vision.finetuning.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
