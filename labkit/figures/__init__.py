"""Figures: pure functions from records to plotly figures, for light and dark pages.

Calling one gives a `plotly.graph_objects.Figure`; its `.spec(...)` gives the plain dict
that the live painter takes. None of them trains, computes a network or imports torch.
"""

from labkit.figures.base import Builder, Spec, figure
from labkit.figures.compare import comparison, schedule_curve
from labkit.figures.heatmap import tensor_heatmap, weight_heatmap
from labkit.figures.layers import gradient_flow, update_ratio
from labkit.figures.loss import loss_curves
from labkit.figures.network import network_diagram
from labkit.figures.neuron import neuron_line, neuron_surface
from labkit.figures.predictions import decision_boundary, digit_predictions, regression_fit
from labkit.figures.weights import (
    tensor_distribution,
    weight_distribution,
    weight_histogram,
    weight_lines,
)

__all__ = [
    "Builder",
    "Spec",
    "comparison",
    "decision_boundary",
    "digit_predictions",
    "figure",
    "gradient_flow",
    "loss_curves",
    "network_diagram",
    "neuron_line",
    "neuron_surface",
    "regression_fit",
    "schedule_curve",
    "tensor_distribution",
    "tensor_heatmap",
    "update_ratio",
    "weight_distribution",
    "weight_heatmap",
    "weight_histogram",
    "weight_lines",
]
