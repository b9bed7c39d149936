from ._version import __version__ as __version__

# describe a run
from .recipe import Recipe as Recipe
from .tasks import TASKS as TASKS
from .networks import NETWORKS as NETWORKS
from .networks import ACTIVATIONS as ACTIVATIONS
from .initialize import INITS as INITS
from .optimize import OPTIMIZERS as OPTIMIZERS
from .optimize import SCHEDULES as SCHEDULES
from .gradients.losses import LOSSES as LOSSES
from .surfaces.toys import SURFACES as SURFACES
from .surfaces.toys import surface as surface

# run it
from .training import train as train
from .training import fit as fit
from .session import Session as Session
from .race import Race as Race
from .sweeps import grid as grid
from .sweeps import sweep as sweep
from .lr_range import range_test as range_test
from .lr_range import RangeTest as RangeTest
from .surfaces.walks import walk as walk

# what was recorded, and what it says
from .history import History as History
from .diagnosis.findings import Finding as Finding
from .diagnosis.causes import diagnose as diagnose
from .propagation import signals as signals
from .propagation import stds as stds
from .propagation import dead_shares as dead_shares
from .propagation import layer_by_layer as layer_by_layer
from .propagation import sum_spread as sum_spread
from .surveys import survey as survey
from .gradients.check import gradient_check as gradient_check
from .gradients.derivatives import check_derivative as check_derivative
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
from .neuron import Neuron as Neuron
from .gradients.backprop import TinyNetwork as TinyNetwork

# guess first
from .workshop.question import Question as Question

# write it yourself
from .workshop.check import check_step as check_step

# fail on purpose
from .workshop.presets import PRESETS as PRESETS

# tell
from .results import report as report
from .results import Table as Table
from .machine import doctor as doctor
from .errors import LabError as LabError
from .errors import RecipeError as RecipeError

# whole modules
from . import batch as batch
from . import figures as figures
from . import generalization as generalization
from . import landscape as landscape
from . import quantize as quantize
from . import views as views
from . import vision as vision
from . import weights as weights
