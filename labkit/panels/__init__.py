"""Widgets that edit a recipe, run it off the main thread, and repaint figures."""

from labkit.panels.neuron_panel import NeuronPanel
from labkit.panels.race_panel import RacePanel
from labkit.panels.train_panel import TrainPanel

__all__ = ["NeuronPanel", "RacePanel", "TrainPanel"]
