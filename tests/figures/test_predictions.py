from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import decision_boundary, digit_predictions, regression_fit
from labkit.recipe.tasks import load
from labkit.training.predict import Curve, Predictions, ProbabilityMap


def surface(classes):
    logits = np.random.default_rng(0).normal(size=(classes, 20, 20)) * 3
    shares = np.exp(logits) / np.exp(logits).sum(axis=0)
    along = np.linspace(-1, 1, 20)
    return ProbabilityMap(along, along, shares)


def test_two_classes_show_the_probability_of_the_second():
    made = surface(2)
    trace = decision_boundary.spec(made, load("moons", 60, 0.1))["data"][0]
    np.testing.assert_allclose(trace["z"], made.probabilities[1], rtol=1e-6)
    assert (trace["zmin"], trace["zmax"]) == (0, 1)


def test_many_classes_have_each_a_part_of_the_scale_that_hover_rounds_to_the_class():
    made = surface(3)
    trace = decision_boundary.spec(made, load("blobs", 60, 0.2))["data"][0]
    np.testing.assert_array_equal(np.rint(trace["z"]), made.probabilities.argmax(axis=0))
    np.testing.assert_allclose(trace["customdata"], made.probabilities.max(axis=0), rtol=1e-6)
    place = (trace["z"] - trace["zmin"]) / (trace["zmax"] - trace["zmin"])
    assert ((place * 3).astype(int) == made.probabilities.argmax(axis=0)).all()


@pytest.mark.parametrize(("task", "classes"), [("moons", 2), ("blobs", 3)])
def test_every_sample_is_a_point_of_its_class_and_split(task, classes):
    data = load(task, 60, 0.1)
    spec = decision_boundary.spec(surface(classes), data)
    go.Figure(spec)
    points = spec["data"][1:]
    assert [len(t["x"]) for t in points] == [
        int((targets == k).sum())
        for targets in (data.train_targets, data.val_targets)
        for k in range(classes)
    ]
    assert {t["marker"]["symbol"] for t in points[:classes]} == {"circle"}
    assert {t["marker"]["symbol"] for t in points[classes:]} == {"diamond"}
    assert points[0]["marker"]["color"] == points[classes]["marker"]["color"]


def test_the_fit_shows_the_curve_and_an_axis_that_the_data_choose():
    data = load("regression", 60, 0.1)
    x = np.linspace(-2, 2, 9)
    spec = regression_fit.spec(Curve(x, np.full(9, np.inf)), data)
    go.Figure(spec)
    assert np.isnan(spec["data"][-1]["y"]).all()
    low, high = spec["layout"]["yaxis"]["range"]
    assert low <= data.train_targets.min() <= data.train_targets.max() <= high


def pictures(count=5):
    rng = np.random.default_rng(0)
    true = np.arange(count) % 10
    predicted = true.copy()
    predicted[1] = (predicted[1] + 1) % 10
    return Predictions(rng.uniform(0.2, 1, (count, 8, 8)), true, predicted, rng.uniform(size=count))


@pytest.mark.parametrize("count", [1, 5, 8, 32])
def test_pictures_keep_their_ink_and_only_errors_are_framed(count):
    given = pictures(max(count, 2))
    spec = digit_predictions.spec(given)
    go.Figure(spec)
    z = spec["data"][0]["z"]
    for k in range(len(given.true)):
        row, column = divmod(k, 8)
        tile = z[row * 12 : row * 12 + 12, column * 17 : column * 17 + 17]
        wrong = given.true[k] != given.predicted[k]
        np.testing.assert_allclose(tile[2:10, 2:10], given.images[k] + 3 * wrong, rtol=1e-6)
        assert (tile[1, 1:11] == 4).all() if wrong else np.isnan(tile[1, 1:11]).all()


def test_glyphs_spell_the_prediction():
    z = digit_predictions.spec(pictures())["data"][0]["z"]
    one = np.isfinite(z[3:8, 2 * 17 + 12 : 2 * 17 + 15])  # the third picture's answer is 2
    assert ["".join("#" if c else "." for c in row) for row in one] == [
        "###", "..#", "###", "#..", "###",
    ]  # fmt: skip


def test_hover_tells_answer_truth_and_confidence():
    given = pictures()
    words = digit_predictions.spec(given)["data"][1]["text"]
    assert words[1] == f"predicted 2 with probability {given.confidence[1]:.2%}<br>true digit 1"
