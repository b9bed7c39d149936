"""The panel without a kernel: controls are set, buttons clicked, training runs right here."""

from __future__ import annotations

import asyncio
import html
import re
import threading

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import labkit.training.session
from labkit import views
from labkit.core.errors import RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.diagnosis.causes import diagnose
from labkit.panels import TrainPanel, train_panel
from labkit.recipe.recipe import Recipe
from labkit.recipe.tasks import TASKS
from labkit.training.findings import Finding
from labkit.training.trainer import fit
from labkit.views import VIEWS
from labkit.workshop.presets import PRESETS

MOONS = Recipe(task="moons", samples=100, hidden=(6, 4), steps=40, device="cpu")


def panel(recipe: Recipe = MOONS, **more) -> TrainPanel:
    return TrainPanel(recipe, executor=SynchronousExecutor(), **more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def enabled(panel: TrainPanel) -> set[str]:
    return {name for name, button in panel.buttons.items() if not button.disabled}


def losses(spec) -> int:
    """How many steps the loss figure shows."""
    return max(int(np.max(trace["x"])) for trace in spec["data"] if len(trace["x"]))


# --- buttons ---------------------------------------------------------------------------


def test_train_goes_to_the_end_and_shows_it(shown):
    one = panel()
    assert words(one.status).startswith("ready · step 0 of 40")
    assert enabled(one) == {"Train", "Step", "Rewind", "New weights"}
    one.buttons["Train"].click()
    assert one.session.state == "finished"
    np.testing.assert_array_equal(one.history.flat(), fit(MOONS).flat())
    status = words(one.status)
    assert status.startswith("finished · step 40 of 40 · validation loss ")
    assert f"accuracy {fit(MOONS).summary()['val_accuracy']:.1%}" in status
    assert "steps/s" in status
    assert enabled(one) == {"Rewind", "New weights"}
    assert losses(shown[one.live["loss"]]) == 40


def test_single_steps(shown):
    one = panel()
    for _ in range(3):
        one.buttons["Step"].click()
    assert (one.session.steps_done, one.session.state) == (3, "paused")
    assert words(one.status).startswith("paused · step 3 of 40")
    assert losses(shown[one.live["loss"]]) == 3
    assert enabled(one) == {"Train", "Step", "Rewind", "New weights"}


def test_rewind_shows_the_beginning_again(shown):
    one = panel()
    start = one.history.flat().copy()
    before = shown[one.live["picture"]]["data"][0]["z"].copy()
    one.buttons["Train"].click()
    assert not np.array_equal(shown[one.live["picture"]]["data"][0]["z"], before)
    one.buttons["Rewind"].click()
    assert words(one.status).startswith("ready · step 0 of 40")
    np.testing.assert_array_equal(one.history.flat(), start)
    np.testing.assert_array_equal(shown[one.live["picture"]]["data"][0]["z"], before)
    assert "Train" in enabled(one)


def test_new_weights_are_the_next_seeds(shown):
    one = panel()
    one.buttons["Train"].click()
    one.buttons["New weights"].click()
    assert (one.recipe, one.session.state) == (MOONS.replace(seed=1), "ready")
    assert one.controls.fields["seed"].value == 1
    assert "seed=1" in one.controls.text.value
    np.testing.assert_array_equal(one.session.initial, fit(MOONS.replace(seed=1)).flat(0))
    one.session.update(MOONS.replace(seed=2**31 - 1))
    one.buttons["New weights"].click()
    assert one.recipe.seed == 0, "there is no next seed: begin again"


def test_pause_on_a_thread_of_its_own(shown):
    one = TrainPanel(MOONS.replace(steps=100_000))
    one.buttons["Train"].click()
    assert one.session.running
    assert enabled(one) <= {"Pause", "Rewind", "New weights", "Train", "Step"}
    one.buttons["Pause"].click()
    one.painter.join(30)
    assert one.session.state == "paused"
    assert words(one.status).startswith(f"paused · step {one.session.steps_done:,} of 100,000")
    assert enabled(one) == {"Train", "Step", "Rewind", "New weights"}
    if one.session.steps_done:
        assert losses(shown[one.live["loss"]]) == one.session.steps_done


# --- controls --------------------------------------------------------------------------


def test_a_live_control_acts_on_the_run_and_any_other_starts_anew(shown):
    one = panel()
    one.buttons["Step"].click()
    history = one.history
    one.controls.fields["lr"].value = 0.1
    assert one.history is history
    assert [mark.text for mark in history.marks] == ["lr 0.01 → 0.1"]
    one.controls.fields["optimizer"].value = "sgd"
    assert one.history is not history
    assert (one.session.steps_done, one.recipe.optimizer, one.recipe.lr) == (0, "sgd", 0.1)
    assert words(one.status).startswith("ready · step 0")


def test_more_steps_let_a_finished_run_go_on(shown):
    one = panel()
    one.buttons["Train"].click()
    one.controls.fields["steps"].value = 60
    assert "Train" in enabled(one)
    assert words(one.status).startswith("paused · step 40 of 60")
    one.buttons["Train"].click()
    np.testing.assert_array_equal(one.history.flat(), fit(MOONS.replace(steps=60)).flat())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_cannot_start_leaves_the_run_as_it_was(shown):
    one = panel()
    one.buttons["Step"].click()
    one.controls.fields["device"].value = "cuda"
    assert "no CUDA GPU" in words(one.controls.message)
    assert (one.recipe, one.session.steps_done) == (MOONS, 1)
    assert one.controls.fields["device"].value == "cpu"


def test_a_diverging_run_is_explained_and_can_be_mended(shown):
    wild = Recipe(
        task="regression",
        optimizer="sgd",
        lr=10.0,
        steps=200,
        init="normal",
        init_args={"std": 2.0},
        activation="relu",
        device="cpu",
    )
    one = panel(wild)
    one.buttons["Train"].click()
    assert words(one.status).startswith("diverged · step ")
    found = words(one.findings_box.words)
    assert one.session.finding.message in found
    assert one.session.finding.remedy in found
    assert "role='alert'" in one.findings_box.words.value
    assert enabled(one) == {"Rewind", "New weights"}
    one.controls.text.value = wild.replace(lr=1e-4, init_args={"std": 0.5}).to_text()
    assert one.findings_box.children == ()
    one.buttons["Train"].click()
    assert words(one.status).startswith("finished")


# --- findings and presets --------------------------------------------------------------

LAZY = MOONS.replace(lr=1e-5)


def test_findings_come_at_the_end_with_a_remedy_that_can_be_tried(shown):
    one = panel(LAZY)
    assert (one.findings, one.findings_box.children) == ([], ())
    one.buttons["Train"].click()
    (finding,) = one.findings
    assert finding == diagnose(one.history)[0]
    assert words(one.findings_box.words) == str(finding)
    assert "role='alert'" in one.findings_box.words.value
    assert one.findings_box.children == (one.findings_box.words, one.findings_box.button)
    assert one.findings_box.button.tooltip == "lr=0.01"
    one.findings_box.button.click()
    assert (one.recipe, one.session.state) == (LAZY.replace(lr=0.01), "ready")
    assert (one.controls.recipe, one.controls.fields["lr"].value) == (one.recipe, 0.01)
    assert one.findings_box.children == ()
    assert enabled(one) == {"Train", "Step", "Rewind", "New weights"}
    assert one.history.marks == [], "a new start, not a change in mid-run"
    one.buttons["Train"].click()
    assert one.findings == []


def test_a_finding_without_changes_has_no_button(shown, monkeypatch):
    told = Finding("k", "One < two.", "Think.", {}, {})
    monkeypatch.setattr(train_panel, "diagnose", lambda history: [told])
    one = panel()
    one.buttons["Step"].click()
    assert one.findings_box.children == (one.findings_box.words,)
    assert "One &lt; two. Think." in one.findings_box.words.value


def test_the_first_remedy_that_there_is_gets_the_button(shown, monkeypatch):
    found = [Finding(k, "What.", "How.", {}, c) for k, c in (("a", {}), ("b", {"lr": 0.5}))]
    monkeypatch.setattr(train_panel, "diagnose", lambda history: found)
    one = panel()
    one.buttons["Step"].click()
    assert one.findings_box.words.value.count("role='alert'") == 2
    one.findings_box.button.click()
    assert one.recipe.lr == 0.5


def test_diagnosis_is_made_once_an_end_and_never_while_it_trains(shown, monkeypatch):
    asked = []

    def count(history):
        asked.append((history.last_step, one.session.running))
        return []

    monkeypatch.setattr(train_panel, "diagnose", count)
    one = panel()
    one.buttons["Train"].click()
    one.view_selector.value = "heatmap"  # paints again
    one.findings  # noqa: B018
    assert asked == [(40, False)]
    one.buttons["Rewind"].click()
    assert asked == [(40, False)]

    asked.clear()
    one = TrainPanel(MOONS.replace(steps=100_000))
    one.buttons["Train"].click()
    while one.session.steps_done < 300:
        assert one.findings == []
    one.buttons["Pause"].click()
    one.painter.join(30)
    assert asked == [(one.session.steps_done, False)]


def test_presets_are_offered_by_name_and_none_where_there_are_none(shown):
    assert panel().preset_selector.children == ()
    one = panel(presets=["frozen", "dead_relus"])
    selector = one.preset_selector
    assert selector.children == (selector.menu, selector.words)
    assert selector.menu.options == (
        ("choose a failure…", ""),
        *((PRESETS[name].title, name) for name in ("frozen", "dead_relus")),
    )
    assert one.recipe == MOONS, "nothing is chosen yet"
    with pytest.raises(RecipeError, match="did you mean 'frozen'"):
        panel(presets=["frozzen"])


def test_a_panel_that_starts_with_a_preset_says_so():
    name = "dead_relus"
    panel = TrainPanel(PRESETS[name].recipe, presets=["frozen", name])
    assert panel.preset_selector.menu.value == name
    assert PRESETS[name].question in panel.preset_selector.words.value


def test_a_chosen_preset_is_ready_to_train(shown):
    one = panel(presets=["frozen", "dead_relus"])
    one.buttons["Step"].click()
    one.preset_selector.menu.value = "dead_relus"
    preset = PRESETS["dead_relus"]
    assert (one.recipe, one.session.state) == (preset.recipe, "ready")
    assert one.controls.text.value == preset.recipe.to_text()
    assert (one.view_selector.value, one.tensor_selector.value) == (preset.view, preset.tensor)
    assert words(one.preset_selector.words) == preset.question, "where to look would tell all"
    one.preset_selector.menu.value = "frozen"
    one.buttons["Train"].click()
    assert [finding.kind for finding in one.findings] == ["frozen_weights"]
    frozen = PRESETS["frozen"]
    assert words(one.preset_selector.words) == f"{frozen.question}{frozen.look}"
    one.findings_box.button.click()
    assert one.preset_selector.chosen is None, "it may be chosen again"
    assert one.preset_selector.menu.label == "choose a failure…"
    assert words(one.preset_selector.words) == ""
    one.buttons["Train"].click()
    assert one.findings == []


def test_a_preset_that_differs_by_steps_alone_starts_anew_too(shown):
    one = panel(PRESETS["frozen"].recipe.replace(steps=3), presets=["frozen"])
    one.buttons["Train"].click()
    one.preset_selector.menu.value = "frozen"
    assert (one.recipe, one.session.state) == (PRESETS["frozen"].recipe, "ready")
    assert one.history.marks == []


def test_another_choice_of_ones_own_leaves_the_preset(shown):
    one = panel(presets=["frozen"])
    one.preset_selector.menu.value = "frozen"
    one.controls.fields["init"].value = "ones"
    assert one.preset_selector.chosen is None
    assert one.recipe == PRESETS["frozen"].recipe.replace(init="ones")


# --- views -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_each_task_offers_the_views_that_fit(task, shown):
    one = panel(Recipe(task=task, samples=60, hidden=(5, 4), steps=2, device="cpu"))
    offered = [name for _, name in one.view_selector.options]
    assert offered == [name for name in views.views_for(one.recipe) if name != "loss"]
    assert one.view_selector.value == one.view == offered[0]
    assert one.tensor_selector.options == one.history.layout.names
    for title, name in one.view_selector.options:
        one.view_selector.value = name
        assert title == VIEWS[name].traits["title"]
        expected = views.draw(name, one.history, one.recipe, one.tensor)
        drawn = shown[one.live["picture"]]
        assert [trace["type"] for trace in drawn["data"]] == [t["type"] for t in expected["data"]]
        hidden = one.tensor_selector.layout.display == "none"
        assert hidden is not VIEWS[name].traits["per_tensor"], name


def test_another_tensor_is_shown(shown):
    one = panel(view="heatmap")
    one.tensor_selector.value = "output.weight"
    expected = one.history.weights()["output.weight"]
    np.testing.assert_array_equal(shown[one.live["picture"]]["data"][0]["z"], expected)


def test_another_task_keeps_what_is_looked_at_where_it_can(shown):
    one = panel(view="heatmap")
    one.tensor_selector.value = "layer2.weight"
    one.controls.fields["task"].value = "digits"
    assert (one.view_selector.value, one.tensor_selector.value) == ("heatmap", "layer2.weight")
    one.controls.fields["hidden"].value = "5"
    assert (one.view, one.tensor) == ("heatmap", "layer1.weight"), "there is no second layer now"
    one.view_selector.value = "digits"
    one.controls.fields["task"].value = "regression"
    assert one.view == one.view_selector.value == "fit"
    assert "digits" not in [name for _, name in one.view_selector.options]


def test_a_view_may_be_chosen_at_the_start_and_a_slip_is_answered(shown):
    assert panel(view="updates").view_selector.value == "updates"
    with pytest.raises(RecipeError, match="did you mean 'heatmap'"):
        panel(view="heatmaps")


def test_the_painter_may_draw_while_another_recipe_starts(shown, monkeypatch):
    """What it sees then is the old run, whole: its own recipe, history and view."""
    one = panel()
    one.buttons["Step"].click()
    drawn = []
    real = labkit.training.session.Trainer

    def trainer(*args, **kwargs):
        drawn.append(one._specs())
        return real(*args, **kwargs)

    monkeypatch.setattr(labkit.training.session, "Trainer", trainer)
    one.controls.fields["task"].value = "digits"
    monkeypatch.undo()
    (specs,) = drawn
    old = views.draw("boundary", fit(MOONS.replace(steps=1)), MOONS)
    assert [t["type"] for t in specs["picture"]["data"]] == [t["type"] for t in old["data"]]


def test_the_painter_may_draw_before_the_selectors_follow(shown, monkeypatch):
    """Between the new run and the new list of views, the old view may not fit."""
    one = panel()
    offer, drawn = one._offer_views, []

    def draw_then_offer():
        drawn.append(one._specs()["picture"])
        offer()

    monkeypatch.setattr(one, "_offer_views", draw_then_offer)
    one.controls.fields["task"].value = "digits"
    assert [trace["type"] for trace in drawn[0]["data"]] == [
        trace["type"] for trace in views.draw("digits", one.history, one.recipe)["data"]
    ]


# --- headless ----------------------------------------------------------------------------


def test_without_a_person_it_trains_and_shows_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    before = threading.active_count()
    one = TrainPanel(MOONS, interactive=False, view="weights")
    assert one.session.state == "finished"
    assert not hasattr(one, "widget")
    np.testing.assert_array_equal(one.history.flat(), fit(MOONS).flat())
    one._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    titles = [figure.layout.title.text for figure in displayed]
    assert titles == [VIEWS[name].traits["title"] for name in ("loss", "weights")]
    assert threading.active_count() <= before + 1  # the history's own


def test_without_a_person_findings_are_a_table(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = TrainPanel(LAZY, interactive=False, presets=["frozen"])
    one._ipython_display_()
    (finding,) = one.findings
    assert displayed[2].rows == [
        {"kind": "lr_too_low", "what": finding.message, "remedy": finding.remedy}
    ]
    assert (one.recipe, one.session.state) == (LAZY, "finished"), "presets wait for a person"


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel()
    one._ipython_display_()
    assert displayed == [one.widget]


def test_a_static_figure_of_any_view(shown):
    one = panel()
    one.buttons["Step"].click()
    figure = one.figure("heatmap", "output.weight")
    np.testing.assert_array_equal(figure.data[0].z, one.history.weights()["output.weight"])
    assert one.figure().layout.title.text == VIEWS["boundary"].traits["title"]


def test_the_defaults_are_a_recipe(shown):
    assert TrainPanel(executor=SynchronousExecutor()).recipe == Recipe()


def test_an_error_inside_training_is_shown_and_awaited(shown, monkeypatch):
    one = panel()
    one.buttons["Step"].click()
    monkeypatch.setattr(one.session.trainer, "advance", lambda: 1 / 0)
    one.buttons["Train"].click()
    assert words(one.message) == "ZeroDivisionError: division by zero"
    assert "role='alert'" in one.message.value
    assert words(one.status).startswith("failed · step 1 of 40")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(one.finished())
    one.buttons["Step"].click()
    assert words(one.message) == "ZeroDivisionError: division by zero", "told again"
    one.buttons["Rewind"].click()
    assert words(one.message) == ""
    assert words(one.status).startswith("ready")


def test_an_error_on_the_thread_of_the_training_is_shown(shown, monkeypatch):
    one = TrainPanel(MOONS)
    monkeypatch.setattr(one.session.trainer, "advance", lambda: 1 / 0)
    one.buttons["Train"].click()
    one.painter.join(30)
    assert words(one.message) == "ZeroDivisionError: division by zero"
    one.controls.fields["optimizer"].value = "sgd"
    assert words(one.message) == "", "another run has not failed"


def test_a_cell_can_await_the_end(shown):
    one = TrainPanel(MOONS)
    one.buttons["Train"].click()
    asyncio.run(one.finished())
    assert words(one.status).startswith("finished · step 40 of 40")
