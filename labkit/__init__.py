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
    from labkit import generalization as generalization
    from labkit import landscape as landscape
    from labkit import views as views
    from labkit import vision as vision
    from labkit import weights as weights
    from labkit.diagnosis.causes import diagnose as diagnose
    from labkit.diagnosis.findings import Finding as Finding
    from labkit.errors import LabError as LabError
    from labkit.errors import RecipeError as RecipeError
    from labkit.gradients.backprop import TinyNetwork as TinyNetwork
    from labkit.gradients.check import gradient_check as gradient_check
    from labkit.gradients.derivatives import check_derivative as check_derivative
    from labkit.gradients.losses import LOSSES as LOSSES
    from labkit.history import History as History
    from labkit.initialize import INITS as INITS
    from labkit.lr_range import RangeTest as RangeTest
    from labkit.lr_range import range_test as range_test
    from labkit.machine import doctor as doctor
    from labkit.networks import ACTIVATIONS as ACTIVATIONS
    from labkit.networks import NETWORKS as NETWORKS
    from labkit.neuron import Neuron as Neuron
    from labkit.optimize import OPTIMIZERS as OPTIMIZERS
    from labkit.optimize import SCHEDULES as SCHEDULES
    from labkit.panels import AnatomyPanel as AnatomyPanel
    from labkit.panels import BackpropPanel as BackpropPanel
    from labkit.panels import BreakPanel as BreakPanel
    from labkit.panels import DepthPanel as DepthPanel
    from labkit.panels import DetectPanel as DetectPanel
    from labkit.panels import FineTunePanel as FineTunePanel
    from labkit.panels import GradientPanel as GradientPanel
    from labkit.panels import LossPanel as LossPanel
    from labkit.panels import NeuronPanel as NeuronPanel
    from labkit.panels import OutlierPanel as OutlierPanel
    from labkit.panels import RacePanel as RacePanel
    from labkit.panels import SurfacePanel as SurfacePanel
    from labkit.panels import SweepPanel as SweepPanel
    from labkit.panels import TrainPanel as TrainPanel
    from labkit.propagation import dead_shares as dead_shares
    from labkit.propagation import layer_by_layer as layer_by_layer
    from labkit.propagation import signals as signals
    from labkit.propagation import stds as stds
    from labkit.propagation import sum_spread as sum_spread
    from labkit.race import Race as Race
    from labkit.recipe import Recipe as Recipe
    from labkit.results import Table as Table
    from labkit.results import report as report
    from labkit.session import Session as Session
    from labkit.surfaces.toys import SURFACES as SURFACES
    from labkit.surfaces.toys import surface as surface
    from labkit.surfaces.walks import walk as walk
    from labkit.surveys import survey as survey
    from labkit.sweeps import grid as grid
    from labkit.sweeps import sweep as sweep
    from labkit.tasks import TASKS as TASKS
    from labkit.training import fit as fit
    from labkit.training import train as train
    from labkit.views import VIEWS as VIEWS
    from labkit.weights import anatomy as anatomy
    from labkit.workshop.check import check_step as check_step
    from labkit.workshop.presets import PRESETS as PRESETS
    from labkit.workshop.question import Question as Question

_HOME = {
    # describe a run
    "Recipe": "recipe",
    "TASKS": "tasks",
    "NETWORKS": "networks",
    "ACTIVATIONS": "networks",
    "INITS": "initialize",
    "OPTIMIZERS": "optimize",
    "SCHEDULES": "optimize",
    "LOSSES": "gradients.losses",
    "SURFACES": "surfaces.toys",
    "surface": "surfaces.toys",
    # run it
    "train": "training",
    "fit": "training",
    "Session": "session",
    "Race": "race",
    "grid": "sweeps",
    "sweep": "sweeps",
    "range_test": "lr_range",
    "RangeTest": "lr_range",
    "walk": "surfaces.walks",
    # what was recorded, and what it says
    "History": "history",
    "Finding": "diagnosis.findings",
    "diagnose": "diagnosis.causes",
    "signals": "propagation",
    "stds": "propagation",
    "dead_shares": "propagation",
    "layer_by_layer": "propagation",
    "sum_spread": "propagation",
    "survey": "surveys",
    "gradient_check": "gradients.check",
    "check_derivative": "gradients.derivatives",
    "anatomy": "weights",
    # see it and touch it
    "VIEWS": "views",
    "TrainPanel": "panels",
    "RacePanel": "panels",
    "DepthPanel": "panels",
    "SurfacePanel": "panels",
    "NeuronPanel": "panels",
    "SweepPanel": "panels",
    "Neuron": "neuron",
    "LossPanel": "panels",
    "OutlierPanel": "panels",
    "BackpropPanel": "panels",
    "GradientPanel": "panels",
    "AnatomyPanel": "panels",
    "DetectPanel": "panels",
    "BreakPanel": "panels",
    "FineTunePanel": "panels",
    "TinyNetwork": "gradients.backprop",
    # guess first
    "Question": "workshop.question",
    # write it yourself
    "check_step": "workshop.check",
    # fail on purpose
    "PRESETS": "workshop.presets",
    # tell
    "report": "results",
    "Table": "results",
    "doctor": "machine",
    "LabError": "errors",
    "RecipeError": "errors",
}
_MODULES = ("batch", "figures", "generalization", "landscape", "views", "vision", "weights")
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
