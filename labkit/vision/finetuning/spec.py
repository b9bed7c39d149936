"""FineTune: one fine-tuning run of a detector, described and validated, nothing that runs."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import ValidationError, field_validator, model_validator

from labkit.core.errors import RecipeError, misnamed
from labkit.core.parameters import Strict, explain, knob, parameters, parse, spell

GRID = 32  # pixels: the coarsest stride of the detectors, so sizes are multiples of it


class FineTune(Strict):
    """One fine-tuning run: which weights, on which data, and how.

    Every field is checked when it is set; a field's help, limits and default are what the
    panel, the notebook and `labkit.core.parameters.parameters(FineTune)` show.

    Raises:
        RecipeError: an unknown field or name (with the misnamed match), a value outside
            its limits, or a combination that cannot work.
    """

    weights: Annotated[
        str,
        knob(group="start", help="starter, an Ultralytics model name, or a weight file"),
    ] = "starter"
    pretrained: Annotated[
        bool,
        knob(group="start", help="false: the same architecture from random weights"),
    ] = True
    data: Annotated[
        str,
        knob(group="data", help="cells, parts, fruit, scenes, a data.yaml, an Ultralytics name"),
    ] = "cells"
    remember: Annotated[
        str,
        knob(group="data", help="old data whose mAP is measured too (forgetting); empty: none"),
    ] = ""
    image_size: Annotated[
        int, knob(64, 1280, step=GRID, group="data", help="pixels, a multiple of 32")
    ] = 320
    augmentation: Annotated[
        bool, knob(group="data", help="colours, shifts, scales and mirror images at random")
    ] = True
    mosaic: Annotated[
        float,
        knob(0.0, 1.0, step=0.1, group="data", help="share of images made of four (augmentation)"),
    ] = 0.0
    epochs: Annotated[
        int, knob(1, 1000, step=0.1, scale="log", group="training", help="passes over the data")
    ] = 10
    qat: Annotated[
        int,
        knob(
            0,
            8,
            step=1,
            group="training",
            help="train with weights rounded to this many bits (0: no rounding)",
        ),
    ] = 0
    batch: Annotated[
        int, knob(1, 256, step=0.1, scale="log", group="training", help="images per step")
    ] = 8
    freeze: Annotated[
        int,
        knob(
            0,
            100,
            step=1,
            group="freeze",
            help="number of layers, counted from the input, that stay as they are",
        ),
    ] = 0
    freeze_layers: Annotated[
        tuple[int, ...],
        knob(group="freeze", help="these layers stay put, such as 0,1,2 (instead of a depth)"),
    ] = ()
    freeze_statistics: Annotated[
        bool,
        knob(group="freeze", help="BatchNorm statistics of frozen layers stay put as well"),
    ] = True
    optimizer: Annotated[
        Literal["adamw", "sgd", "musgd", "adam", "adamax", "nadam", "radam", "rmsprop", "auto"],
        knob(group="optimizer", help="auto: Ultralytics chooses, and ignores lr and momentum"),
    ] = "adamw"
    lr: Annotated[
        float, knob(1e-6, 10.0, step=0.05, scale="log", group="optimizer", help="learning rate")
    ] = 2e-3
    momentum: Annotated[
        float, knob(0.0, 0.999, step=0.01, group="optimizer", help="momentum, or Adam's beta1")
    ] = 0.9
    weight_decay: Annotated[
        float, knob(0.0, 1.0, scale="text", group="optimizer", help="pull towards zero")
    ] = 5e-4
    schedule: Annotated[
        Literal["linear", "cosine", "constant"],
        knob(group="optimizer", help="how the learning rate falls, epoch by epoch"),
    ] = "linear"
    final_lr: Annotated[
        float,
        knob(0.0, 1.0, step=0.01, group="optimizer", help="share of lr where the schedule ends"),
    ] = 0.01
    warmup: Annotated[
        float, knob(0.0, 10.0, step=0.5, group="optimizer", help="epochs in which lr rises from 0")
    ] = 1.0
    seed: Annotated[
        int,
        knob(0, 2**31 - 1, scale="text", group="training", help="draws the new head and the order"),
    ] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        knob(group="training", help="auto: a GPU when there is one"),
    ] = "auto"
    threads: Annotated[
        int,
        knob(0, 256, step=1, group="training", help="0: as many as cores are idle at the start"),
    ] = 0
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        knob(group="training", help="auto: bfloat16 in the network where the processor has it"),
    ] = "auto"
    record_every: Annotated[
        int,
        knob(1, 1000, step=1, group="recording", help="steps between statistics of all tensors"),
    ] = 10

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise RecipeError(explain(error, type(self))) from None

    # --- checks ----------------------------------------------------------------------

    @field_validator("weights", "data", "remember", mode="before")
    @classmethod
    def _paths_are_text(cls, value: Any) -> Any:
        return str(value) if hasattr(value, "__fspath__") else value

    @field_validator("weights", "data")
    @classmethod
    def _named(cls, value: str, info: Any) -> str:
        if not value.strip():
            known = {"weights": "starter", "data": "cells"}[info.field_name]
            raise ValueError(f"{info.field_name} is empty: give a name or a file, such as {known}")
        return value

    @field_validator("image_size")
    @classmethod
    def _on_the_grid(cls, value: int) -> int:
        if value % GRID:
            low, high = value // GRID * GRID, (value // GRID + 1) * GRID
            raise ValueError(
                f"image_size={value} is not allowed: it must be a multiple of {GRID}, "
                f"such as {max(low, 64)} or {high}"
            )
        return value

    @field_validator("qat")
    @classmethod
    def _a_grid(cls, value: int) -> int:
        if value == 1:
            raise ValueError(
                "qat=1 is not allowed: one bit leaves no grid around zero; use 0 for none, or "
                "2 to 8 (8 is what runtimes compute with)"
            )
        return value

    @field_validator("freeze_layers")
    @classmethod
    def _layer_numbers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= layer <= 999 for layer in value):
            raise ValueError(
                f"freeze_layers={spell(value)} is not allowed: give layers by number, as 0,1,2"
            )
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _combinations(self) -> FineTune:
        if self.freeze and self.freeze_layers:
            raise ValueError(
                f"freeze={self.freeze} and freeze_layers={spell(self.freeze_layers)} are both "
                "given: a depth or a list, not both"
            )
        if self.mosaic and not self.augmentation:
            raise ValueError(
                f"mosaic={self.mosaic:g} needs augmentation=true: mosaics are a part of it"
            )
        return self

    # --- what it says ----------------------------------------------------------------

    @property
    def frozen(self) -> tuple[int, ...]:
        """The numbers of the layers that are frozen."""
        return self.freeze_layers or tuple(range(self.freeze))

    def notes(self) -> list[str]:
        """What a person should know about settings that work, but not as they seem."""
        found = []
        if self.optimizer == "auto":
            found.append(
                "optimizer=auto: Ultralytics chooses the optimizer and its learning rate by the "
                f"number of classes and steps; lr={self.lr:g} and momentum={self.momentum:g} are "
                "ignored. What was really used is read back from the trainer."
            )
        if self.optimizer == "rmsprop":
            found.append("optimizer=rmsprop: Ultralytics gives it the momentum, and no betas.")
        if self.frozen and not self.freeze_statistics:
            found.append(
                "freeze_statistics=false: the running means and variances of BatchNorm in frozen "
                "layers go on following the data, though no gradient reaches the layers."
            )
        if self.schedule == "constant" and self.final_lr != type(self)().final_lr:
            found.append(f"schedule=constant: final_lr={self.final_lr:g} is ignored.")
        return found

    def replace(self, **changes: Any) -> FineTune:
        """Another one with some fields changed, checked like a new one."""
        return type(self)(**{**self.model_dump(), **changes})

    # --- share string ----------------------------------------------------------------

    def to_text(self) -> str:
        """A short line that says what differs from the defaults, and weights, data and seed."""
        plain, always = type(self)(), ("weights", "data", "seed")
        return " ".join(
            shlex.quote(f"{name}={spell(value)}")
            for name, value in self
            if name in always or value != getattr(plain, name)
        )

    @classmethod
    def from_text(cls, text: str) -> FineTune:
        """What a line from `to_text` describes.

        Raises:
            RecipeError: what `FineTune` raises, or a part that is not `name=value`.
        """
        fields = parameters(cls)
        values: dict[str, Any] = {}
        for part in shlex.split(text):
            name, equals, value = part.partition("=")
            if not equals:
                raise RecipeError(f"{part!r} is not understood: write name=value, as in lr=0.01")
            if name not in fields:
                raise RecipeError(misnamed(f"{name} is not a field", name, fields))
            values[name] = parse(fields[name], value)
        return cls(**values)
