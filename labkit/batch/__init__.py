"""Notebooks run headless (nobody at the keyboard): parameters checked first, results as data."""

from labkit.batch.driver import Run, resume, run_batch, run_notebook, status
from labkit.batch.folder import Folder
from labkit.batch.grid import grid
from labkit.batch.job import Limits
from labkit.batch.parameters import NotebookParameter
from labkit.batch.results import load
from labkit.batch.schedule import Batch
from labkit.batch.source import read_parameters

__all__ = [
    "Batch",
    "Folder",
    "Limits",
    "NotebookParameter",
    "Run",
    "grid",
    "load",
    "read_parameters",
    "resume",
    "run_batch",
    "run_notebook",
    "status",
]
