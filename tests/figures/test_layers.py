from __future__ import annotations

import numpy as np

from labkit.figures import gradient_flow, update_ratio
from labkit.figures.layers import LAYERS, layers
from labkit.training.layout import Layout
from tests.figures.runs import history


def test_lines_are_the_statistics_of_each_layers_weights():
    run = history()
    for figure, statistic in ((gradient_flow, "gradient_norm"), (update_ratio, "update_ratio")):
        spec = figure.spec(run)
        for tensor, trace in zip(("layer1.weight", "output.weight"), spec["data"], strict=False):
            _, values = run.statistic(statistic, tensor)
            assert trace["name"] == tensor.removesuffix(".weight")
            at = trace["x"].astype(int)
            np.testing.assert_array_equal(trace["y"][1:], values[at][1:])
            assert np.isnan(trace["y"][0])  # no gradient before training


def test_the_log_axis_holds_all_and_the_rule_of_thumb():
    spec = update_ratio.spec(history())
    low, high = spec["layout"]["yaxis"]["range"]
    shown = np.log10(np.concatenate([trace["y"] for trace in spec["data"]]))
    assert low <= np.nanmin(shown)
    assert np.nanmax(shown) <= high
    assert low <= -3 <= high
    assert (spec["data"][-1]["y"] == 1e-3).all()


def test_deep_networks_show_evenly_chosen_layers():
    names = tuple(f"layer{k}.weight" for k in range(40))
    chosen = layers(names)
    assert len(chosen) == LAYERS
    assert (chosen[0], chosen[-1]) == (names[0], names[-1])
    assert layers(("w", "b")) == ["w", "b"]
    assert len(gradient_flow.spec(history(Layout(names, ((1, 1),) * 40), 5))["data"]) == LAYERS
