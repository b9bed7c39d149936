from __future__ import annotations

import re

import numpy as np
import pytest

from labkit.core.errors import LabError
from labkit.panels import OutlierPanel


@pytest.fixture
def displayed(monkeypatch):
    objects: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *found: objects.extend(found))
    return objects


def spot(spec, name) -> tuple[float, float]:
    trace = next(t for t in spec["data"] if t["name"] == f"{name}, here")
    return float(trace["x"][0]), float(trace["y"][0])


def test_the_best_numbers_are_mean_and_median():
    panel = OutlierPanel(outlier=15.0, seed=3, interactive=False)
    best = panel.best()
    assert best["mse"] == pytest.approx(panel.values.mean())
    assert best["l1"] == pytest.approx(np.median(panel.values))
    assert best["l1"] < best["huber"] < best["mse"]
    assert panel.values[-1] == 15.0


def test_moving_the_outlier_moves_the_mean_only(shown):
    panel = OutlierPanel(outlier=8.0)
    before = panel.best()
    panel.sliders["outlier"].value = 17.0
    after = panel.best()
    assert after["mse"] - before["mse"] == pytest.approx(1.0), "nine guesses, nine metres"
    assert after["l1"] == pytest.approx(before["l1"], abs=1e-9)
    assert after["huber"] == pytest.approx(before["huber"], abs=1e-9)
    far = next(t for t in shown[panel.live["fit"]]["data"] if t["name"] == "the far guess")
    assert far["x"].tolist() == [17.0]
    assert spot(shown[panel.live["pull"]], "mse") == (17.0, pytest.approx(after["mse"]))


def test_a_wide_delta_turns_huber_into_mse(shown):
    panel = OutlierPanel(outlier=9.0)
    panel.sliders["delta"].value = 10.0
    best = panel.best()
    assert best["huber"] == pytest.approx(best["mse"])
    lines = {t["name"]: t["y"] for t in shown[panel.live["pull"]]["data"] if "," not in t["name"]}
    near = panel._far < 10
    np.testing.assert_allclose(lines["huber"][near], lines["mse"][near], atol=1e-6)


def test_lines_and_points_agree(displayed):
    panel = OutlierPanel(outlier=20.0, interactive=False)
    panel._ipython_display_()
    lines = {t.name: t.y for t in displayed[1].data if "," not in t.name}
    for name, best in panel.best().items():
        assert lines[name][-1] == pytest.approx(best, abs=1e-9)
    assert not hasattr(panel, "widget")


@pytest.mark.parametrize(
    ("given", "part"), [({"outlier": 30.0}, "outlier=30.0"), ({"delta": 0.0}, "huber.delta=0.0")]
)
def test_slips_of_the_outlier_are_explained(given, part):
    with pytest.raises(LabError, match=re.escape(part)):
        OutlierPanel(**given, interactive=False)
