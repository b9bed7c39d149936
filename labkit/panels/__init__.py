"""Widgets that edit a recipe, run it off the main thread, and repaint figures."""

from labkit.panels.backprop_panel import BackpropPanel
from labkit.panels.depth_panel import DepthPanel
from labkit.panels.gradient_panel import GradientPanel
from labkit.panels.loss_panel import LossPanel, OutlierPanel
from labkit.panels.neuron_panel import NeuronPanel
from labkit.panels.race_panel import RacePanel
from labkit.panels.surface_panel import SurfacePanel
from labkit.panels.sweep_panel import SweepPanel
from labkit.panels.train_panel import TrainPanel

__all__ = [
    "BackpropPanel",
    "DepthPanel",
    "GradientPanel",
    "LossPanel",
    "NeuronPanel",
    "OutlierPanel",
    "RacePanel",
    "SurfacePanel",
    "SweepPanel",
    "TrainPanel",
]
