"""What a sweep's panel shows beside its map: one member, at its end or at a moment of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from labkit.figures import Spec, theme
from labkit.figures.axes import axis
from labkit.figures.sweep import WORDS
from labkit.training.history import History

# Views of one moment: for these the slider goes back through the run.
MOMENTS = frozenset({"boundary", "fit", "digits", "heatmap", "distribution", "network"})


class Moment:
    """A history as it was at a step: whoever wants the weights now gets those of then."""

    def __init__(self, history: History, step: int) -> None:
        self._history, self._step = history, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def flat(self, step: int | None = None) -> np.ndarray:
        """All weights of then, or of another step."""
        return self._history.flat(self._step if step is None else step)

    def weights(self, step: int | None = None) -> dict[str, np.ndarray]:
        """The tensors of then, or of another step."""
        return self._history.weights(self._step if step is None else step)


def named_for(spec: Spec, name: str) -> Spec:
    """The same picture, whose label for screen readers says which member it shows."""
    layout = dict(spec["layout"])
    label = layout.get("meta", {}).get("label", "")
    return {**spec, "layout": {**layout, "meta": {"label": f"{label}: {name}"}}}


def empty_map(rows: int, words: str) -> Spec:
    """An empty place for the map, with what to do."""
    layout = theme.layout(words, height=max(180, 112 + 38 * min(rows, 16)), legend=False)
    hidden = {"showticklabels": False, "showgrid": False, "ticks": ""}
    layout["xaxis"], layout["yaxis"] = axis("", [0, 1], **hidden), axis("", [0, 1], **hidden)
    note = {"text": words, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    layout["annotations"] = [{**note, "showarrow": False, "font": {"size": 14}}]
    return {"data": [], "layout": layout}


def last_values(summary: Mapping[str, Any]) -> str:
    """The metrics of a run that ended well, in a line."""
    return " · ".join(
        f"{WORDS[name]} {summary[name]:{'.1%' if name.endswith('accuracy') else '.4g'}}"
        for name in WORDS
        if name in summary and summary[name] == summary[name]
    )
