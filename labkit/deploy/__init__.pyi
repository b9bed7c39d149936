from .search import search as search
from .candidates import Candidate as Candidate
from .candidates import default_candidates as default_candidates
from .choice import Choice as Choice
from .choice import Measured as Measured
