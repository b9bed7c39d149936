"""Figures: pure functions from records to plotly figures, for light and dark pages.

Calling one gives a `plotly.graph_objects.Figure`; its `.spec(...)` gives the plain dict
that the live painter takes. None of them trains, computes a network or imports torch.
"""

from labkit.figures.backprop import backward_pass, updates_loss
from labkit.figures.base import Builder, Spec, figure
from labkit.figures.check import step_check
from labkit.figures.compare import comparison, schedule_curve
from labkit.figures.depth import (
    distribution_by_depth,
    shares_by_depth,
    sizes_by_depth,
    spread_by_fan_in,
)
from labkit.figures.generalization import (
    boundaries,
    class_accuracy,
    memorization_curves,
    sweep_lines,
    weight_outlines,
)
from labkit.figures.gradients import check_by_eps, gradient_errors
from labkit.figures.heatmap import tensor_heatmap, weight_heatmap
from labkit.figures.landscape import landscape_line, landscape_map
from labkit.figures.layers import gradient_flow, update_ratio
from labkit.figures.loss import loss_curves
from labkit.figures.losses import (
    loss_slopes,
    loss_values,
    loss_walk,
    outlier_fit,
    outlier_pull,
    slope_check,
)
from labkit.figures.lr_range import range_curve
from labkit.figures.network import network_diagram
from labkit.figures.neuron import neuron_line, neuron_surface
from labkit.figures.overview import overview
from labkit.figures.predictions import decision_boundary, digit_predictions, regression_fit
from labkit.figures.surface import surface_map, walk_losses, walk_state
from labkit.figures.sweep import sweep_map
from labkit.figures.units import unit_rows
from labkit.figures.weights import (
    tensor_distribution,
    weight_distribution,
    weight_histogram,
    weight_lines,
)

__all__ = [
    "Builder",
    "Spec",
    "backward_pass",
    "boundaries",
    "check_by_eps",
    "class_accuracy",
    "comparison",
    "decision_boundary",
    "digit_predictions",
    "distribution_by_depth",
    "figure",
    "gradient_errors",
    "gradient_flow",
    "landscape_line",
    "landscape_map",
    "loss_curves",
    "loss_slopes",
    "loss_values",
    "loss_walk",
    "memorization_curves",
    "network_diagram",
    "neuron_line",
    "neuron_surface",
    "outlier_fit",
    "outlier_pull",
    "overview",
    "range_curve",
    "regression_fit",
    "schedule_curve",
    "shares_by_depth",
    "sizes_by_depth",
    "slope_check",
    "spread_by_fan_in",
    "step_check",
    "surface_map",
    "sweep_lines",
    "sweep_map",
    "tensor_distribution",
    "tensor_heatmap",
    "unit_rows",
    "update_ratio",
    "updates_loss",
    "walk_losses",
    "walk_state",
    "weight_distribution",
    "weight_heatmap",
    "weight_histogram",
    "weight_lines",
    "weight_outlines",
]
