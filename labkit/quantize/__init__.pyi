# the microscope
from .grid import grid as grid
from .grid import Grid as Grid
from .scheme import Scheme as Scheme
from .fake import fake_quantized as fake_quantized
from .fake import folded as folded
from .activations import calibrate as calibrate
from .activations import Activations as Activations
from .sensitivity import sensitivity as sensitivity
from .sensitivity import Sensitivity as Sensitivity
from .sensitivity import LayerSensitivity as LayerSensitivity
from .sensitivity import bits_curve as bits_curve

# quantization-aware training
from .qat import qat_detector as qat_detector
