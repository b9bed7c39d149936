"""Controls for a fine-tuning run."""

from __future__ import annotations

from typing import Any, ClassVar

import ipywidgets as widgets

from labkit.core.parameters import Parameter
from labkit.panels.controls import Controls
from labkit.panels.fields import control
from labkit.vision.finetuning.spec import FineTune

# What is offered where any file or name may be typed.
OFFERED = {
    "weights": ("starter", "yolo26n.pt", "yolo11n.pt", "yolov8n.pt"),
    "data": ("cells", "parts", "fruit", "scenes"),
    "remember": ("", "scenes"),
}


class FineTuneControls(Controls[FineTune]):
    """A widget for every field of `FineTune`."""

    first = ("weights", "data", "epochs", "freeze", "optimizer", "lr")
    folded: ClassVar[dict[str, str]] = {
        "start": "Where it starts",
        "data": "Data",
        "freeze": "Freezing",
        "optimizer": "Optimizer and schedule",
        "training": "Training",
        "recording": "Recording",
    }

    def _control(self, parameter: Parameter, value: Any) -> widgets.Widget:
        widget = control(parameter, value)
        if parameter.name not in OFFERED:
            return widget
        return widgets.Combobox(
            value=value,
            options=OFFERED[parameter.name],
            ensure_option=False,
            continuous_update=False,
            description=widget.description,
            tooltip=parameter.help,
            style=widget.style,
            layout=widget.layout,
        )

    def _notes(self) -> list[str]:
        return self.value.notes()
