from __future__ import annotations

import numpy as np
import pytest

from labkit.deploy.agreement import agreement


def rows(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 6)


def test_agreement_is_the_share_of_boxes_in_common():
    a = rows((0, 0, 10, 10, 0.9, 0), (20, 20, 30, 30, 0.8, 1), (50, 50, 60, 60, 0.1, 0))
    moved = a + rows((1, 0, 1, 0, 0, 0), (9, 0, 9, 0, 0, 0), (0, 0, 0, 0, 0, 0))
    other = a.copy()
    other[:, 5] = 1 - other[:, 5]
    assert agreement([a], [a]) == 1.0
    assert agreement([a], [moved]) == 0.5  # IoU 9/11 is the same box, 1/19 another
    assert agreement([a], [other]) == 0.0
    assert agreement([a], [rows()]) == 0.0
    assert agreement([rows()], [rows()]) == 1.0
    assert agreement([a, a], [a, rows()]) == pytest.approx(4 / 6)


def test_a_box_agrees_with_one_other_only():
    one, twice = rows((0, 0, 10, 10, 0.9, 0)), rows(*[(0, 0, 10, 10, 0.9, 0)] * 2)
    assert agreement([one], [twice]) == pytest.approx(2 / 3)
