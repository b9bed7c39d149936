"""What tests of drawn images share."""

from __future__ import annotations

import numpy as np


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def bounds(mask: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of what is true."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
