from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures.finetuning import fine_tuning_curves, layer_updates
from labkit.panels.live_figure import pack

LAYERS = ("0 Conv", "1 C3k2", "2 Detect")


def curves(n: int = 24, judged: int = 3, **more):
    steps = np.arange(1, n + 1)
    given = {
        "steps": steps,
        "losses": {"box": 2.0 / steps, "cls": 4.0 / steps},
        "lr": 0.001 * steps,
        "epochs": np.arange(1, judged + 1),
        "precision": {"mAP50": np.linspace(0.1, 0.3, judged), "mAP50-95": np.full(judged, 0.1)},
        "steps_per_epoch": 8,
        "end": 5,
        **more,
    }
    return fine_tuning_curves.spec(**given)


def updates(values, steps=None, **more):
    values = np.asarray(values, np.float64)
    steps = np.arange(1, len(values) + 1) if steps is None else steps
    return layer_updates.spec(steps, LAYERS, values, steps_per_epoch=8, end=5, **more)


def named(spec, name: str) -> list[dict]:
    return [trace for trace in spec["data"] if trace.get("name") == name]


def test_steps_and_epochs_share_one_axis():
    spec = curves()
    for trace in named(spec, "box"):
        assert trace["x"][-1] == 24 / 8
        assert "yaxis" not in trace
    (rate,) = named(spec, "learning rate")
    np.testing.assert_allclose(rate["y"], 0.001 * np.arange(1, 25))
    assert rate["customdata"][-1] == 24
    assert list(named(spec, "mAP50")[0]["x"]) == [1, 2, 3]
    assert spec["layout"]["xaxis"]["range"] == [0, 5]


def test_the_bold_line_is_the_running_mean_of_the_thin_one():
    spec = curves(losses={"box": np.arange(1.0, 25.0)})
    thin, bold = named(spec, "box")
    assert thin["line"]["width"] < bold["line"]["width"]
    assert bold["y"][-1] == pytest.approx(np.mean([21, 22, 23, 24]))


def test_the_kept_epoch_has_a_star():
    stars = [t for t in curves(best=2)["data"] if t.get("marker", {}).get("symbol") == "star"]
    assert [list(star["x"]) for star in stars] == [[2], [2]]
    assert all(not len(s["x"]) for s in curves()["data"] if "kept" in s["name"])


def test_a_row_for_each_layer_and_none_where_nothing_moves():
    spec = updates([[0, 1e-3, 1e-2]] * 4)
    (trace,) = spec["data"]
    assert trace["z"].shape == (3, 4)
    assert np.isnan(trace["z"][0]).all()
    np.testing.assert_allclose(trace["z"][1:], [[-3] * 4, [-2] * 4])
    assert (trace["zmin"], trace["zmax"]) == (-3, -2)
    assert trace["text"][2][3] == "2 Detect, step 4"
    low, high = spec["layout"]["yaxis"]["range"]
    assert low > high, "the input is at the top"


@pytest.mark.parametrize(
    "spec",
    [
        curves(),
        curves(0, 0),
        curves(1, 0),
        curves(3000, 40),
        curves(losses={}, precision={}),
        curves(losses={"box": np.full(24, np.nan), "cls": np.full(24, np.inf)}),
        curves(lr=np.zeros(24)),
        updates(np.empty((0, 3))),
        layer_updates.spec(np.empty(0), [], np.empty((0, 0)), steps_per_epoch=1, end=3),
        updates(np.zeros((3, 3))),
        updates(np.full((3, 3), np.nan)),
        updates(np.full((3000, 3), 1e-3)),
    ],
)
def test_every_run_gives_a_valid_figure_with_finite_ranges(spec):
    go.Figure(spec)
    pack(spec)
    for key, axis in spec["layout"].items():
        if key.startswith(("xaxis", "yaxis")):
            low, high = axis["range"]
            assert np.isfinite([low, high]).all(), key
            assert low != high, key
    for trace in spec["data"]:
        assert len(trace["x"]) <= 300
        if trace["type"] == "heatmap":
            assert trace["zmin"] < trace["zmax"]


def still(value):
    if isinstance(value, dict):
        return {k: still(v) for k, v in value.items() if k not in ("x", "y", "z", "customdata")}
    if isinstance(value, list | tuple):
        return [still(item) for item in value]
    return value


def test_layout_and_traces_do_not_change_while_numbers_do():
    losses = {"box": np.full(25, 2.0)}
    before = curves(losses={"box": losses["box"][:24]}, lr=np.full(24, 0.1))
    after = curves(25, losses=losses, lr=np.full(25, 0.1))
    assert still(before) == still(after)
