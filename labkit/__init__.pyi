from ._version import __version__ as __version__

# describe a run
from .recipe.recipe import Recipe as Recipe
from .recipe.tasks import TASKS as TASKS
from .recipe.networks import NETWORKS as NETWORKS
from .recipe.networks import ACTIVATIONS as ACTIVATIONS
from .recipe.initialize import INITS as INITS
from .recipe.optimize import OPTIMIZERS as OPTIMIZERS
from .recipe.schedules import SCHEDULES as SCHEDULES
from .toys.gradients.losses import LOSSES as LOSSES
from .toys.surfaces import SURFACES as SURFACES
from .toys.surfaces import surface as surface

# run it
from .training.trainer import train as train
from .training.trainer import fit as fit
from .training.session import Session as Session
from .training.race import Race as Race
from .training.sweeps import grid as grid
from .training.sweeps import sweep as sweep
from .analysis.lr_range import range_test as range_test
from .analysis.lr_range import RangeTest as RangeTest
from .toys.trajectories import walk as walk

# what was recorded, and what it says
from .training.history import History as History
from .training.findings import Finding as Finding
from .diagnosis.causes import diagnose as diagnose
from .analysis.propagation import signals as signals
from .analysis.propagation import stds as stds
from .analysis.propagation import dead_shares as dead_shares
from .analysis.propagation import layer_by_layer as layer_by_layer
from .analysis.propagation import sum_spread as sum_spread
from .diagnosis.init_survey import survey as survey
from .toys.gradients.check import gradient_check as gradient_check
from .toys.gradients.derivatives import check_derivative as check_derivative
from .weights import anatomy as anatomy

# see it and touch it
from .views import VIEWS as VIEWS
from .panels import TrainPanel as TrainPanel
from .panels import RacePanel as RacePanel
from .panels import DepthPanel as DepthPanel
from .panels import SurfacePanel as SurfacePanel
from .panels import NeuronPanel as NeuronPanel
from .panels import SweepPanel as SweepPanel
from .panels import LossPanel as LossPanel
from .panels import OutlierPanel as OutlierPanel
from .panels import BackpropPanel as BackpropPanel
from .panels import GradientPanel as GradientPanel
from .panels import AnatomyPanel as AnatomyPanel
from .panels import DetectPanel as DetectPanel
from .panels import BreakPanel as BreakPanel
from .panels import FineTunePanel as FineTunePanel
from .panels import QuantizePanel as QuantizePanel
from .toys.neuron import Neuron as Neuron
from .toys.gradients.backprop import TinyNetwork as TinyNetwork

# guess first
from .workshop.question import Question as Question

# write it yourself
from .workshop.check import check_step as check_step

# fail on purpose
from .workshop.presets import PRESETS as PRESETS

# tell
from .results import report as report
from .core.table import Table as Table
from .machine import doctor as doctor
from .core.errors import LabError as LabError
from .core.errors import RecipeError as RecipeError

# whole modules
from . import batch as batch
from . import figures as figures
from .analysis import generalization as generalization
from .analysis import landscape as landscape
from . import quantize as quantize
from . import views as views
from . import vision as vision
from . import weights as weights
