"""Diagnosis: what went wrong in a run, from what it recorded, causes before consequences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labkit.core.threads import one_thread
from labkit.diagnosis import losses, signals, units, weights
from labkit.diagnosis.evidence import Evidence
from labkit.training.findings import Finding
from labkit.training.history import History

Check = Callable[[Evidence], Finding | None]

_NO_SIGNAL = {"frozen_weights", "symmetric_units", "vanishing_activations", "dead_relus"}
_TOO_HIGH = {"diverged", "lr_too_high_diverging", "lr_too_high_oscillating"}

# The checks in the order in which one problem causes another, each with the kinds that would
# explain it away: where all weights are zero, nothing else needs to be said.
CHECKS: tuple[tuple[Check, set[str]], ...] = (
    (weights.frozen, set()),
    (weights.symmetric, {"frozen_weights"}),
    (signals.exploding_activations, set()),
    (units.dead_from_the_start, {"frozen_weights"}),
    (signals.vanishing_activations, {"frozen_weights", "dead_relus"}),
    (units.saturated_from_the_start, {"frozen_weights", "symmetric_units"}),
    (signals.exploding_gradients, {"exploding_activations", "saturated_units"}),
    (signals.vanishing_gradients, _NO_SIGNAL | {"saturated_units"}),
    (losses.diverged, set()),
    (losses.diverging, {"diverged", "exploding_activations"}),
    (losses.oscillating, {"diverged", "lr_too_high_diverging", "exploding_activations"}),
    (units.dead_at_the_end, _TOO_HIGH | {"frozen_weights", "dead_relus"}),
    (units.saturated_at_the_end, _TOO_HIGH | {"frozen_weights", "saturated_units"}),
    (losses.broken, _TOO_HIGH | _NO_SIGNAL | {"saturated_units", "exploding_activations"}),
    (losses.lr_too_low, _TOO_HIGH | _NO_SIGNAL | {"vanishing_gradients", "saturated_units"}),
    (losses.overfitting, _TOO_HIGH),
)


def diagnose(history: History) -> list[Finding]:
    """What went wrong in a run, the cause first; nothing for a healthy one.

    It reads what was recorded and sends some samples through the first and the last
    weights; nothing is trained. A history without a recipe gets the findings that its
    record alone can show, without changes to apply.

    Args:
        history: of a run that ended or is paused, at any step.

    Returns:
        Findings whose `changes` fit the history's recipe: `recipe.replace(**changes)`.
    """
    if not len(history):
        return []
    with one_thread(), np.errstate(all="ignore"):  # what overflowed is a finding, no warning
        run = Evidence(history)
        found: list[Finding] = []
        for check, explained_by in CHECKS:
            if not explained_by & {finding.kind for finding in found}:
                finding = check(run)
                if finding is not None:
                    found.append(finding)
    return found
