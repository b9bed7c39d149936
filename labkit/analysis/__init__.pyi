# modules that are public by name
from . import generalization as generalization
from . import landscape as landscape

# signals and gradients by depth
from .propagation import signals as signals
from .propagation import stds as stds
from .propagation import dead_shares as dead_shares
from .propagation import layer_by_layer as layer_by_layer
from .propagation import sum_spread as sum_spread

# a learning rate to start with
from .lr_range import range_test as range_test
from .lr_range import RangeTest as RangeTest
