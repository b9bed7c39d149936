from .search import search as search
from .candidates import Candidate as Candidate
from .candidates import default_candidates as default_candidates
from .choice import Choice as Choice
from .choice import Measured as Measured
from .artifact import save_artifact as save_artifact
from .qat import qat_candidates as qat_candidates
from .qat import qat_onnx as qat_onnx
