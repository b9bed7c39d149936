"""Widgets that edit a recipe, run it off the main thread, and repaint figures."""

from labkit.panels.anatomy_panel import AnatomyPanel
from labkit.panels.backprop_panel import BackpropPanel
from labkit.panels.break_panel import BreakPanel
from labkit.panels.depth_panel import DepthPanel
from labkit.panels.detect_panel import DetectPanel
from labkit.panels.finetune_panel import FineTunePanel
from labkit.panels.gradient_panel import GradientPanel
from labkit.panels.loss_panel import LossPanel
from labkit.panels.neuron_panel import NeuronPanel
from labkit.panels.outlier_panel import OutlierPanel
from labkit.panels.quantize_panel import QuantizePanel
from labkit.panels.race_panel import RacePanel
from labkit.panels.surface_panel import SurfacePanel
from labkit.panels.sweep_panel import SweepPanel
from labkit.panels.train_panel import TrainPanel

__all__ = [
    "AnatomyPanel",
    "BackpropPanel",
    "BreakPanel",
    "DepthPanel",
    "DetectPanel",
    "FineTunePanel",
    "GradientPanel",
    "LossPanel",
    "NeuronPanel",
    "OutlierPanel",
    "QuantizePanel",
    "RacePanel",
    "SurfacePanel",
    "SweepPanel",
    "TrainPanel",
]
