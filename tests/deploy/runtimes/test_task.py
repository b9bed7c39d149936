from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from labkit.deploy.runtimes.task import Task, pixels


def test_a_task_survives_the_way_to_another_process():
    task = Task(weights="w.pt", imgsz=64, build_options={"layers": ["model.0"]}, accuracy={"a": 1})
    assert Task(**json.loads(json.dumps(dataclasses.asdict(task)))) == task


@pytest.mark.parametrize(("value", "wanted"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_pixels_are_shares_of_full_brightness(value, wanted):
    found = pixels(np.full((2, 3, 4, 4), value, np.uint8))
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted)
