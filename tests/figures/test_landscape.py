from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.analysis.landscape import Landscape, Line, Path
from labkit.figures import landscape_line, landscape_map
from labkit.panels.live_figure import pack

ALONG = np.linspace(-1, 1, 21)
BOWL = 0.01 + np.add.outer(ALONG**2, 25 * ALONG**2)  # from 0.01 to about 26
PATH = Path(np.array([0, 5, 9]), np.array([-0.8, -0.5, 0.0]), np.array([0.6, 0.1, 0.0]), np.ones(3))


def surface(loss: np.ndarray = BOWL, **more) -> Landscape:
    return Landscape(ALONG, ALONG, loss, "train", 100, **more)


def test_contours_are_evenly_spaced_in_the_logarithm():
    (ground, _) = landscape_map.spec(surface())["data"]
    np.testing.assert_allclose(10.0 ** ground["z"], BOWL, rtol=1e-5)
    bands = ground["contours"]
    assert bands["start"] <= math.log10(0.01) + 1e-9 < math.log10(26.01) <= bands["end"] + 1e-9
    assert 7 <= (bands["end"] - bands["start"]) / bands["size"] <= 28
    for place, text in zip(
        ground["colorbar"]["tickvals"], ground["colorbar"]["ticktext"], strict=True
    ):
        assert 10**place == pytest.approx(float(text), rel=1e-9)
        assert bands["start"] - 1e-9 <= place <= bands["end"] + 1e-9
    assert {"0.01", "0.1", "1", "10"} <= set(ground["colorbar"]["ticktext"])


def test_a_path_leads_from_a_circle_to_a_diamond():
    spec = landscape_map.spec(surface(path=PATH, explained=(0.751, 0.2)))
    line, start, end = spec["data"][-3:]
    assert (line["x"].tolist(), line["y"].tolist()) == (PATH.alpha.tolist(), PATH.beta.tolist())
    assert line["customdata"][:, 0].tolist() == [0, 5, 9]
    assert (start["marker"]["symbol"], start["x"], start["y"]) == ("circle", [-0.8], [0.6])
    assert (end["marker"]["symbol"], end["x"], end["y"]) == ("diamond", [0.0], [0.0])
    assert "step 0" in start["name"]
    assert "step 9" in end["name"]
    titles = [spec["layout"][f"{axis}axis"]["title"]["text"] for axis in "xy"]
    assert "75.1%" in titles[0]
    assert "20.0%" in titles[1]


def test_without_a_path_a_diamond_stands_at_the_weights():
    spec = landscape_map.spec(surface())
    assert [trace["type"] for trace in spec["data"]] == ["contour", "scatter"]
    assert (spec["data"][1]["x"], spec["data"][1]["y"]) == ([0.0], [0.0])
    assert "random direction" in spec["layout"]["xaxis"]["title"]["text"]


def test_surfaces_of_one_span_have_the_same_colours():
    one, two = (
        landscape_map.spec(surface(loss), span=(0.01, 100))["data"][0] for loss in (BOWL, 3 * BOWL)
    )
    assert (one["zmin"], one["zmax"]) == (two["zmin"], two["zmax"]) == (-2, 2)
    assert one["colorbar"]["ticktext"] == two["colorbar"]["ticktext"]


@pytest.mark.parametrize(
    "loss",
    [
        np.where(BOWL > 20, np.inf, BOWL),
        np.where(BOWL > 20, np.nan, BOWL),
        np.full_like(BOWL, 0.7),
        np.zeros_like(BOWL),
        1e30 * BOWL,
        np.where(BOWL < 0.02, 0.0, BOWL),
        np.full_like(BOWL, np.nan),
    ],
    ids=["infinite", "nan", "flat", "zero", "huge", "some zero", "all nan"],
)
def test_odd_surfaces_give_valid_figures(loss):
    spec = landscape_map.spec(surface(loss, path=PATH, explained=(1.0, 0.0)))
    go.Figure(spec)
    pack(spec)
    ground = spec["data"][0]
    assert ground["zmin"] < ground["zmax"]
    assert ground["contours"]["size"] > 0
    assert ground["colorbar"]["ticktext"]
    assert np.isfinite(ground["z"]).any() == (np.isfinite(loss) & (loss > 0)).any()


def line(accuracy: bool = True) -> Line:
    place = np.linspace(-0.25, 1.25, 7)
    right = np.linspace(0.5, 1, 7) if accuracy else None
    return Line(place, 0.1 + place**2, 0.3 + place**2, right, right)


def test_a_line_has_losses_above_and_accuracies_below():
    spec = landscape_line.spec(line(), names=("memorized", "early"))
    go.Figure(spec)
    assert [(t["name"], t.get("yaxis", "y")) for t in spec["data"]] == [
        ("training set", "y"),
        ("training set", "y2"),
        ("validation set", "y"),
        ("validation set", "y2"),
    ]
    np.testing.assert_allclose(spec["data"][2]["y"], 0.3 + spec["data"][2]["x"] ** 2)
    x = spec["layout"]["xaxis"]
    labels = dict(zip(x["tickvals"], x["ticktext"], strict=True))
    assert (labels[0], labels[1]) == ("memorized", "early")
    assert [shape["x0"] for shape in spec["layout"]["shapes"]] == [0, 1]


def test_a_regressions_line_has_no_accuracy():
    spec = landscape_line.spec(line(accuracy=False))
    assert len(spec["data"]) == 2
    assert "yaxis2" not in spec["layout"]
    assert "squared" in spec["layout"]["yaxis"]["title"]["text"]
