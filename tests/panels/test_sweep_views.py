from __future__ import annotations

import math

import numpy as np

from labkit import views
from labkit.panels.sweep_views import MOMENTS, Moment, empty_map, last_values, named_for
from labkit.recipe.recipe import Recipe
from labkit.training.trainer import fit

MOONS = Recipe(task="moons", samples=60, hidden=(4,), steps=8, device="cpu")


def test_a_moment_is_a_history_as_it_was():
    history = fit(MOONS)
    then = Moment(history, 0)
    np.testing.assert_array_equal(then.flat(), history.flat(0))
    np.testing.assert_array_equal(then.flat(8), history.flat())
    for name, values in then.weights().items():
        np.testing.assert_array_equal(values, history.weights(0)[name])
    assert then.layout is history.layout


def test_views_of_a_moment_are_known_views():
    assert set(views.VIEWS) >= MOMENTS


def test_a_picture_says_whose_it_is_and_the_given_one_stays():
    spec = {"data": [], "layout": {"meta": {"label": "Weights"}, "height": 3}}
    assert named_for(spec, "zeros")["layout"] == {"meta": {"label": "Weights: zeros"}, "height": 3}
    assert spec["layout"]["meta"]["label"] == "Weights"


def test_an_empty_map_says_what_to_do_and_has_room_for_its_rows():
    few, many = empty_map(1, "Press Run"), empty_map(10, "Press Run")
    assert few["layout"]["meta"]["label"] == "Press Run"
    assert few["layout"]["height"] < many["layout"]["height"]


def test_last_values_leave_out_what_is_not_known():
    line = last_values({"val_accuracy": 0.875, "train_loss": 0.123456, "val_loss": math.nan})
    assert "validation accuracy 87.5%" in line
    assert "0.1235" in line
    assert "nan" not in line
