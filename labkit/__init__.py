"""labkit: an interactive lab for model weights. This is its public API, on one screen.

Names are loaded when they are first used, so that `import labkit` costs next to nothing
and `labkit lab` starts without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from labkit._version import __version__ as __version__

if TYPE_CHECKING:
    from labkit import batch as batch
    from labkit import figures as figures
    from labkit import views as views
    from labkit.errors import LabError as LabError
    from labkit.errors import RecipeError as RecipeError
    from labkit.findings import Finding as Finding
    from labkit.history import History as History
    from labkit.initialize import INITS as INITS
    from labkit.machine import doctor as doctor
    from labkit.networks import ACTIVATIONS as ACTIVATIONS
    from labkit.networks import NETWORKS as NETWORKS
    from labkit.neuron import Neuron as Neuron
    from labkit.optimize import OPTIMIZERS as OPTIMIZERS
    from labkit.optimize import SCHEDULES as SCHEDULES
    from labkit.panels import NeuronPanel as NeuronPanel
    from labkit.panels import RacePanel as RacePanel
    from labkit.panels import TrainPanel as TrainPanel
    from labkit.propagation import signals as signals
    from labkit.race import Race as Race
    from labkit.recipe import Recipe as Recipe
    from labkit.results import Table as Table
    from labkit.results import report as report
    from labkit.session import Session as Session
    from labkit.sweeps import grid as grid
    from labkit.sweeps import sweep as sweep
    from labkit.tasks import TASKS as TASKS
    from labkit.training import fit as fit
    from labkit.training import train as train
    from labkit.views import VIEWS as VIEWS
    from labkit.weights import anatomy as anatomy

_HOME = {
    # describe a run
    "Recipe": "recipe",
    "TASKS": "tasks",
    "NETWORKS": "networks",
    "ACTIVATIONS": "networks",
    "INITS": "initialize",
    "OPTIMIZERS": "optimize",
    "SCHEDULES": "optimize",
    # run it
    "train": "training",
    "fit": "training",
    "Session": "session",
    "Race": "race",
    "grid": "sweeps",
    "sweep": "sweeps",
    # what was recorded, and what it says
    "History": "history",
    "Finding": "findings",
    "signals": "propagation",
    "anatomy": "weights",
    # see it and touch it
    "VIEWS": "views",
    "TrainPanel": "panels",
    "RacePanel": "panels",
    "NeuronPanel": "panels",
    "Neuron": "neuron",
    # tell
    "report": "results",
    "Table": "results",
    "doctor": "machine",
    "LabError": "errors",
    "RecipeError": "errors",
}
_MODULES = ("batch", "figures", "views")
__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"labkit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    value = getattr(import_module(f"labkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
