from __future__ import annotations

import html
import re

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from labkit.core.errors import RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import RacePanel
from labkit.recipe.recipe import Recipe
from labkit.training.race import Race

SGD = Recipe(
    task="moons", samples=100, hidden=(6, 4), optimizer="sgd", lr=0.1, steps=40, device="cpu"
)
ADAM = SGD.replace(optimizer="adam", lr=0.01)


def panel(*recipes: Recipe) -> RacePanel:
    return RacePanel(recipes or (SGD, ADAM), executor=SynchronousExecutor())


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def listed(panel: RacePanel) -> list[str]:
    return [words(row.children[1]) for row in panel.contenders.children]


def drawn(shown, panel: RacePanel) -> str:
    return str([trace.get("name") for trace in shown[panel.live["picture"]]["data"]])


def test_a_race_to_the_end(shown):
    one = panel()
    assert words(one.status) == "ready · step 0 of 40"
    assert (one.buttons["Race"].disabled, one.buttons["Pause"].disabled) == (False, True)
    one.buttons["Race"].click()
    assert one.race.state == "finished"
    assert re.fullmatch(r"finished · step 40 of 40 · [\d,]+ rounds/s", words(one.status))
    assert (one.buttons["Race"].disabled, one.buttons["Pause"].disabled) == (True, True)
    for label in ("sgd lr=0.1", "adam lr=0.01"):
        assert label in drawn(shown, one)
    longest = max(np.max(trace["x"]) for trace in shown[one.live["picture"]]["data"])
    assert longest == 40


def test_rewind(shown):
    one = panel()
    one.buttons["Race"].click()
    one.buttons["Rewind"].click()
    assert words(one.status) == "ready · step 0 of 40"
    assert not one.buttons["Race"].disabled


def test_pause_on_a_thread_of_its_own(shown):
    one = RacePanel([SGD.replace(steps=100_000), ADAM.replace(steps=100_000)])
    one.buttons["Race"].click()
    assert one.race.running
    one.buttons["Pause"].click()
    one.painter.join(30)
    assert one.race.state == "paused"
    assert f"step {one.race.steps_done:,} of 100,000" in words(one.status)
    assert len({trainer.step for trainer in one.race.trainers}) == 1


def test_contenders_are_listed_with_their_start(shown):
    one = panel(SGD, ADAM, SGD.replace(init="orthogonal"))
    assert listed(one) == [
        "kaiming_normal sgd lr=0.1 · same initial weights",
        "kaiming_normal adam lr=0.01 · same initial weights",
        "orthogonal sgd lr=0.1 · initial weights of its own",
    ]


def test_adding_one_by_how_it_differs_from_the_first(shown):
    one = panel()
    one.buttons["Race"].click()
    one.difference.value = "optimizer=rmsprop lr=0.003"
    one.add.click()
    assert one.race.recipes == [SGD, ADAM, SGD.replace(optimizer="rmsprop", lr=0.003)]
    assert len(listed(one)) == 3
    assert words(one.status) == "ready · step 0 of 40", "all start anew"
    assert "rmsprop lr=0.003" in drawn(shown, one)
    assert words(one.message) == ""


@pytest.mark.parametrize(
    ("difference", "part"),
    [
        ("optimizer=adamm", "did you mean 'adam'"),
        ("fast", "write name=value"),
        ("lr=<b>", "lr='<b>' is not allowed"),
        ("optimizer=adam lr=0.01", "there already"),
        ("", "there already"),
        pytest.param(
            "device=cuda",
            "no CUDA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_a_slip_is_explained_and_changes_nothing(difference, part, shown):
    one = panel()
    one.race.step(3)
    before = listed(one)
    one.difference.value = difference
    one.add.click()
    assert part in words(one.message)
    assert "<b>" not in one.message.value
    assert (one.race.recipes, one.race.steps_done, listed(one)) == ([SGD, ADAM], 3, before)
    one.buttons["Race"].click()
    assert one.race.state == "finished"
    one.difference.value = "lr=0.7"
    one.add.click()
    assert words(one.message) == "", "an old complaint stays"


def test_removing(shown):
    one = panel(SGD, ADAM, SGD.replace(lr=0.5))
    one.contenders.children[1].children[0].click()
    assert one.race.recipes == [SGD, SGD.replace(lr=0.5)]
    one.contenders.children[0].children[0].click()
    assert one.race.recipes == [SGD.replace(lr=0.5)]
    (row,) = one.contenders.children
    assert row.children[0].disabled, "the last one stays"


def test_who_diverges_is_named_with_the_reason(shown):
    base = Recipe(
        task="regression",
        optimizer="sgd",
        lr=1e-4,
        steps=40,
        init="normal",
        init_args={"std": 2.0},
        activation="relu",
        device="cpu",
    )
    one = panel(base, base.replace(lr=10.0))
    one.buttons["Race"].click()
    status = words(one.status)
    assert f"lr=10: {one.race.findings['lr=10']}" in status
    assert "lr=0.0001:" not in status


def test_the_axis_is_as_long_as_the_longest_contender(shown):
    one = panel(SGD, ADAM.replace(steps=70))
    assert words(one.status) == "ready · step 0 of 70"
    assert list(shown[one.live["picture"]]["layout"]["xaxis"]["range"]) == [0, 70]


def test_without_a_person_it_races_and_shows_a_figure_and_a_table(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = RacePanel([SGD, ADAM], interactive=False)
    assert one.race.state == "finished"
    assert not hasattr(one, "widget")
    one._ipython_display_()
    figure, table = displayed
    assert isinstance(figure, go.Figure)
    alone = Race([SGD, ADAM], executor=SynchronousExecutor())
    alone.run()
    assert table.rows == alone.table()


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel()
    one._ipython_display_()
    assert displayed == [one.widget]


@pytest.mark.parametrize("recipes", [[], [SGD, SGD]])
def test_impossible_races_are_refused(recipes):
    with pytest.raises(RecipeError):
        RacePanel(recipes, interactive=False)
