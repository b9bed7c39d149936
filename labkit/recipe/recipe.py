"""Recipe: one small training run, described and validated, with nothing in it that runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ValidationError, field_validator, model_validator
from torch import nn

from labkit.core.errors import RecipeError, misnamed
from labkit.core.parameters import Strict, explain, knob, parameters, parse, spell
from labkit.core.registry import Entry
from labkit.recipe.initialize import INITS
from labkit.recipe.networks import ACTIVATIONS, NETWORKS, build
from labkit.recipe.optimize import OPTIMIZERS
from labkit.recipe.schedules import SCHEDULES
from labkit.recipe.tasks import TASKS, Data, Missing, check_spoiling, load

# Fields that name an entry of a registry.
REGISTRIES = {
    "task": TASKS,
    "network": NETWORKS,
    "activation": ACTIVATIONS,
    "init": INITS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
# Fields whose entry has arguments of its own, kept in `<field>_args`.
WITH_ARGUMENTS = ("init", "optimizer", "schedule")


class Arguments(dict[str, Any]):
    """A dict that cannot be changed, so that a recipe cannot be either."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a recipe cannot be changed: make another one with recipe.replace(...)")

    __setitem__ = __delitem__ = _refuse
    __ior__ = clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self),))


class Recipe(Strict):
    """One training run: the task, the network, its initial weights, and how it is trained.

    Every field is checked when it is set. `samples` and `noise` default to the task's
    own; `init_args`, `optimizer_args` and `schedule_args` hold only what differs from
    their entry's defaults. Equal recipes give bit-identical weights on the same machine
    with the same number of threads.

    Raises:
        RecipeError: an unknown field or name (with the nearest match), a value outside
            its limits, or a combination that cannot work.
    """

    task: Annotated[str, knob(choices=TASKS, group="task", help="the data set to learn")] = "spiral"
    init: Annotated[
        str, knob(choices=INITS, group="init", help="initialization scheme of the weights")
    ] = "kaiming_normal"
    optimizer: Annotated[
        str,
        knob(choices=OPTIMIZERS, group="optimizer", help="optimizer: how gradients become steps"),
    ] = "adam"
    lr: Annotated[
        float,
        knob(1e-5, 10.0, step=0.05, scale="log", group="lr", live=True, help="learning rate"),
    ] = 0.01
    init_args: Annotated[
        dict[str, Any], knob(group="init", help="arguments of the initialization scheme")
    ] = {}
    optimizer_args: Annotated[
        dict[str, Any], knob(group="optimizer", help="arguments of the optimizer")
    ] = {}
    schedule: Annotated[
        str,
        knob(
            choices=SCHEDULES, group="schedule", help="how the learning rate changes over the run"
        ),
    ] = "constant"
    schedule_args: Annotated[
        dict[str, Any], knob(group="schedule", help="arguments of the schedule")
    ] = {}
    network: Annotated[str, knob(choices=NETWORKS, group="network", help="the kind of network")] = (
        "mlp"
    )
    hidden: Annotated[
        tuple[int, ...],
        knob(group="network", help="width of each hidden layer (channels in a cnn)"),
    ] = (8, 8)
    activation: Annotated[
        str,
        knob(choices=ACTIVATIONS, group="network", help="activation function of the hidden layers"),
    ] = "tanh"
    batch_size: Annotated[
        int, knob(1, 4096, step=0.1, scale="log", group="training", help="samples per step")
    ] = 32
    steps: Annotated[
        int,
        knob(
            1,
            100_000,
            step=0.1,
            scale="log",
            group="training",
            live=True,
            help="number of training steps",
        ),
    ] = 1000
    weight_decay: Annotated[
        float,
        knob(
            0.0,
            1.0,
            step=1e-4,
            scale="text",
            group="training",
            help="weight decay: pulls weights towards zero",
        ),
    ] = 0.0
    patience: Annotated[
        int,
        knob(
            0,
            1000,
            scale="text",
            group="training",
            help="evaluations without a lower validation loss before training stops (0: never)",
        ),
    ] = 0
    samples: Annotated[
        int, knob(10, 20_000, step=10, group="data", help="number of samples before the split")
    ] = 500
    noise: Annotated[float, knob(0.0, 1.0, step=0.01, group="data", help="noise level")] = 0.05
    train_share: Annotated[
        float,
        knob(
            0.01,
            1.0,
            step=0.1,
            scale="log",
            group="data",
            help="share of the training samples that is used",
        ),
    ] = 1.0
    label_noise: Annotated[
        float,
        knob(0.0, 1.0, step=0.01, group="data", help="share of training labels that are wrong"),
    ] = 0.0
    missing: Annotated[
        Missing,
        knob(group="data", help="left out of training: nothing, the first class, or a region"),
    ] = "nothing"
    data_seed: Annotated[
        int, knob(0, 2**31 - 1, scale="text", group="data", help="random seed of the data")
    ] = 0
    seed: Annotated[
        int,
        knob(
            0,
            2**31 - 1,
            scale="text",
            group="training",
            help="random seed of the weights and the batches",
        ),
    ] = 0
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        knob(group="training", help="auto: a GPU if there is one"),
    ] = "auto"

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise RecipeError(explain(error, type(self))) from None

    # --- checks ----------------------------------------------------------------------

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, data: Any) -> Any:
        name = data.get("task", cls.model_fields["task"].default)
        if isinstance(name, str) and name in TASKS:
            own = {key: TASKS[name].traits[key] for key in ("samples", "noise")}
            data = {**own, **data}
        return data

    @field_validator(*REGISTRIES)
    @classmethod
    def _known_name(cls, value: str, info: Any) -> str:
        return REGISTRIES[info.field_name][value].name

    @field_validator("hidden", mode="before")
    @classmethod
    def _one_width(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("hidden")
    @classmethod
    def _widths(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) > 20 or any(not 1 <= units <= 1024 for units in value):
            raise ValueError(
                f"hidden={spell(value)} is not allowed: give up to 20 widths from 1 to 1024, "
                "such as 8,8"
            )
        return value

    @model_validator(mode="after")
    def _combinations(self) -> Recipe:
        for field in WITH_ARGUMENTS:
            where = f"{field}_args"
            checked = self.entry(field).check(getattr(self, where), where)
            object.__setattr__(self, where, Arguments(checked))
        task = self.entry("task").traits
        if self.samples > task["largest"]:
            raise ValueError(
                f"samples={self.samples} is not allowed: {self.task} has {task['largest']}"
            )
        check_spoiling(self.entry("task"), self.label_noise, self.missing)
        if self.entry("network").traits.get("images_only") and not task["image"]:
            pictures = [name for name, entry in TASKS.items() if entry.traits["image"]]
            raise ValueError(
                f"network={self.network!r} needs pictures: task={self.task!r} has none. "
                f"Choose task={' or '.join(pictures)}, or network=mlp"
            )
        if self.weight_decay and not self.entry("optimizer").traits.get("weight_decay", True):
            raise ValueError(
                f"weight_decay={self.weight_decay:g} is not allowed: "
                f"{self.optimizer} has no weight decay"
            )
        return self

    # --- what it refers to -----------------------------------------------------------

    def entry(self, field: str) -> Entry:
        """The registry entry that a field names (`recipe.entry("init").formula`)."""
        return REGISTRIES[field][getattr(self, field)]

    def data(self) -> Data:
        """The task's samples, on the CPU."""
        return load(
            self.task,
            self.samples,
            self.noise,
            self.data_seed,
            train_share=self.train_share,
            label_noise=self.label_noise,
            missing=self.missing,
        )

    def build_network(self) -> nn.Sequential:
        """The network, on the CPU, before its init scheme sets the weights."""
        return build(self.network, self.activation, self.hidden, self.data(), seed=self.seed)

    def replace(self, **changes: Any) -> Recipe:
        """Another recipe with some fields changed, checked like a new one.

        A new task brings its own `samples` and `noise`, a new init, optimizer or
        schedule drops the old one's arguments, unless `changes` gives them.
        """
        kept = self.model_dump(exclude_unset=False)
        if changes.get("task", self.task) != self.task:
            kept.pop("samples"), kept.pop("noise")
        for field in WITH_ARGUMENTS:
            if changes.get(field, getattr(self, field)) != getattr(self, field):
                kept.pop(f"{field}_args")
        return type(self)(**{**kept, **changes})

    # --- share string ----------------------------------------------------------------

    def to_text(self) -> str:
        """A short line with the seed and what differs from the defaults.

        `Recipe.from_text` gives back an equal recipe: numbers are written exactly.
        """
        fields = parameters(type(self))
        plain = type(self)(task=self.task)
        parts = []
        for name in fields:
            value = getattr(self, name)
            owner = name.removesuffix("_args")
            if name.endswith("_args") and owner in WITH_ARGUMENTS:
                continue
            arguments = getattr(self, f"{name}_args", {})
            if value == getattr(plain, name) and not arguments and name not in ("task", "seed"):
                continue
            inner = ",".join(f"{key}={spell(item)}" for key, item in arguments.items())
            parts.append(f"{name}={spell(value)}" + (f"({inner})" if inner else ""))
        return " ".join(parts)

    @classmethod
    def from_text(cls, text: str) -> Recipe:
        """The recipe that a line from `to_text` describes.

        Raises:
            RecipeError: what `Recipe` raises, or a part that is not `name=value`.
        """
        return cls.from_texts(split_text(text))

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Recipe:
        """The recipe whose fields are given one by one as text, as commands and panels do.

        Args:
            texts: by field. Spaces do no harm, and an entry may have its arguments in
                brackets: `{"hidden": "8, 8", "init": "normal(std=0.1)"}`.

        Raises:
            RecipeError: as `from_text`.
        """
        return cls(**_read(texts))

    def replace_text(self, text: str) -> Recipe:
        """`replace`, with the changes written as in `to_text`: `optimizer=sgd lr=0.1`.

        Raises:
            RecipeError: as `from_text`.
        """
        return self.replace(**_read(split_text(text)))

    def __hash__(self) -> int:
        return hash(self.to_text())


def split_text(text: str) -> dict[str, str]:
    """A line as `Recipe.to_text` writes it, as the text of each field.

    Returns:
        What stands behind each `name=`, arguments in brackets included.

    Raises:
        RecipeError: a part that is not `name=value`, or a name that is there twice.
    """
    texts: dict[str, str] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            raise RecipeError(f"{part!r} is not understood: write name=value, as in lr=0.01")
        if name in texts:
            raise RecipeError(f"{name} is given twice: {text}")
        texts[name] = value
    return texts


def _read(texts: Mapping[str, str]) -> dict[str, Any]:
    """Fields given as texts, as keyword arguments of `Recipe`."""
    fields = parameters(Recipe)
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in fields:
            raise RecipeError(misnamed(f"{name} is not a field", name, fields))
        found = re.fullmatch(r"([^()]*)(?:\(([^()]*)\))?", text.strip())
        if not found:
            raise RecipeError(
                f"{name}={text!r} is not understood: write a value, or an entry with its "
                "arguments, as in init=normal(std=0.1)"
            )
        value, inner = found.groups()
        values[name] = parse(fields[name], value)
        if inner:
            values[f"{name}_args"] = _read_arguments(name, value, inner)
    return values


def _read_arguments(field: str, name: str, inner: str) -> dict[str, Any]:
    if field not in WITH_ARGUMENTS:
        raise RecipeError(f"{field} takes no arguments: ({inner})")
    known = REGISTRIES[field][name].parameters()
    pairs = [
        (key.strip(), value.strip())
        for key, _, value in (item.partition("=") for item in inner.split(","))
    ]
    if len(dict(pairs)) < len(pairs):
        raise RecipeError(f"{field}={name}({inner}) gives an argument twice")
    return {key: parse(known[key], item) if key in known else item for key, item in pairs}
