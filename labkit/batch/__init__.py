"""Notebooks run without a person: parameters checked first, results as data."""

from labkit.batch.parameters import NotebookParameter, read_parameters
from labkit.batch.run import Run, run_notebook

__all__ = ["NotebookParameter", "Run", "read_parameters", "run_notebook"]
