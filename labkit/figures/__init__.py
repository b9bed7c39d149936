"""Figures: pure functions from records to plotly figures, for light and dark pages.

Calling one gives a `plotly.graph_objects.Figure`; its `.spec(...)` gives the plain dict
that the live painter takes. None of them trains, computes a network or imports torch.
"""

from labkit.figures.anatomy import changes_by_depth, tensors_by_depth
from labkit.figures.backprop import backward_pass, updates_loss
from labkit.figures.base import Builder, Spec, figure
from labkit.figures.bits_curve import bits_curve
from labkit.figures.change_by_size import change_by_size
from labkit.figures.check import step_check
from labkit.figures.compare import comparison, schedule_curve
from labkit.figures.damage import damage_by_layer, damage_curve
from labkit.figures.depth import (
    distribution_by_depth,
    shares_by_depth,
    sizes_by_depth,
    spread_by_fan_in,
)
from labkit.figures.detections import detections
from labkit.figures.filters import filter_images
from labkit.figures.finetuning import fine_tuning_curves, layer_updates
from labkit.figures.forgetting import forgetting_curves, forgetting_map
from labkit.figures.generalization import (
    boundaries,
    class_accuracy,
    memorization_curves,
    sweep_lines,
    weight_outlines,
)
from labkit.figures.gradients import check_by_eps, gradient_errors
from labkit.figures.head_start import head_start
from labkit.figures.heatmap import tensor_change, tensor_heatmap, weight_heatmap
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
from labkit.figures.network import network_diagram, tensor_diagram
from labkit.figures.neuron import neuron_line, neuron_surface
from labkit.figures.number_grid import number_grid
from labkit.figures.overview import overview
from labkit.figures.pareto import pareto
from labkit.figures.predictions import decision_boundary, digit_predictions, regression_fit
from labkit.figures.qat import weights_on_grid
from labkit.figures.sensitivity import sensitivity
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
    "bits_curve",
    "boundaries",
    "change_by_size",
    "changes_by_depth",
    "check_by_eps",
    "class_accuracy",
    "comparison",
    "damage_by_layer",
    "damage_curve",
    "decision_boundary",
    "detections",
    "digit_predictions",
    "distribution_by_depth",
    "figure",
    "filter_images",
    "fine_tuning_curves",
    "forgetting_curves",
    "forgetting_map",
    "gradient_errors",
    "gradient_flow",
    "head_start",
    "landscape_line",
    "landscape_map",
    "layer_updates",
    "loss_curves",
    "loss_slopes",
    "loss_values",
    "loss_walk",
    "memorization_curves",
    "network_diagram",
    "neuron_line",
    "neuron_surface",
    "number_grid",
    "outlier_fit",
    "outlier_pull",
    "overview",
    "pareto",
    "range_curve",
    "regression_fit",
    "schedule_curve",
    "sensitivity",
    "shares_by_depth",
    "sizes_by_depth",
    "slope_check",
    "spread_by_fan_in",
    "step_check",
    "surface_map",
    "sweep_lines",
    "sweep_map",
    "tensor_change",
    "tensor_diagram",
    "tensor_distribution",
    "tensor_heatmap",
    "tensors_by_depth",
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
    "weights_on_grid",
]
