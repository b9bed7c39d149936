# images with boxes
from .data import DataSet as DataSet
from .data import open_data as open_data
from .example_images import examples as examples
from .example_images import side_by_side as side_by_side

# a network that is ready to run
from .detector import Detector as Detector
from .detector import open_detector as open_detector
from .detector import random_like as random_like

# what it finds, and how well
from .detections import Detections as Detections
from .detections import predict as predict
from .detections import photographs as photographs
from .detections import read_image as read_image
from .evaluation import Metrics as Metrics
from .evaluation import evaluate as evaluate

# what is in it, and what damage does to it
from .edges import edge_shares as edge_shares
from .perturbation import damage_curve as damage_curve
from .perturbation import damage_by_layer as damage_by_layer

# teach it something else
from .finetuning import FineTune as FineTune
from .finetuning import finetune as finetune
from .finetuning import FineTuned as FineTuned
from .finetuning import resume as resume
from .finetuning import open_run as open_run
from .finetuning import best_run as best_run
from .finetuning import head_start as head_start
from .finetuning import forgetting as forgetting
