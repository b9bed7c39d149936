from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import torch

from labkit.figures.change_by_size import change_by_size
from labkit.weights.compare import compare


def test_steps_of_one_size_lie_on_the_line():
    generator = torch.Generator().manual_seed(0)
    before, after = {}, {}
    for number, size in enumerate((0.01, 0.1, 1.0)):
        values = size * torch.sign(torch.randn(40, generator=generator))
        before[f"layer{number}.weight"] = values
        after[f"layer{number}.weight"] = values + 0.002 * torch.sign(
            torch.randn(40, generator=generator)
        )
    marks, line = change_by_size.spec(compare(before, after))["data"]
    np.testing.assert_allclose(marks["x"], [0.01, 0.1, 1.0], rtol=1e-5)
    np.testing.assert_allclose(marks["y"], [0.2, 0.02, 0.002], rtol=1e-4)
    np.testing.assert_allclose(line["x"] * line["y"], 0.002, rtol=1e-4)
    assert marks["customdata"] == ["layer0.weight", "layer1.weight", "layer2.weight"]


def test_what_did_not_move_has_no_mark():
    before = {"a.weight": torch.ones(3), "b.weight": torch.zeros(3), "c.weight": torch.ones(3)}
    after = {"a.weight": torch.ones(3), "b.weight": torch.ones(3), "c.weight": 2 * torch.ones(3)}
    assert change_by_size.spec(compare(before, after))["data"][0]["customdata"] == ["c.weight"]
    assert isinstance(change_by_size([]), go.Figure)
