from __future__ import annotations

import html
import re
import threading
import time

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor, ThreadExecutor
from labkit.panels import SurfacePanel, surface_setting
from labkit.panels import surface_panel as module
from labkit.toys.surfaces import SURFACES, Surface, surface
from labkit.toys.trajectories import RATES, tune, walk
from tests.panels.together import edit_together


def made(**more):
    given = {"steps": 20, "lr": 0.01, "executor": SynchronousExecutor(), **more}
    return SurfacePanel(given.pop("place", "ravine"), **given)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def path(shown, panel, name) -> np.ndarray:
    lines = [t for t in shown[panel.live["map"]]["data"] if t.get("name", "").startswith(name)]
    return np.stack([lines[0]["x"], lines[0]["y"]], axis=1)


# --- headless ----------------------------------------------------------------------------


def test_without_a_person_it_shows_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = made(interactive=False, start=(-1.0, 1.0), condition=10, look="momentum")
    assert not hasattr(panel, "widget")
    panel._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure] * 3
    assert displayed[2].layout.meta["label"] == "State of momentum"
    expected = walk(surface("ravine", condition=10), "momentum", 0.01, steps=20, start=(-1, 1))
    np.testing.assert_array_equal(panel.walks["momentum"].path, expected.path)


def test_pictures_and_time_can_be_chosen():
    (only,) = made(interactive=False, pictures=["map"], step=4).figures()
    line = next(t for t in only.data if t.name and t.name.startswith("sgd"))
    assert len(line.x) == 5


def test_learning_rates_are_one_for_all_one_each_or_the_best():
    rates = {"sgd": 0.001, "adam": 0.1}
    each = made(interactive=False, optimizers=["sgd", "adam"], lr=rates)
    assert {name: one.lr for name, one in each.walks.items()} == rates
    best = made(interactive=False, optimizers=["sgd", "adam"], lr=None)
    assert {name: one.lr for name, one in best.walks.items()} == {
        name: tune("ravine", name, steps=20) for name in rates
    }


def test_arguments_of_optimizers():
    panel = made(interactive=False, optimizer_args={"momentum": {"momentum": 0.0}})
    np.testing.assert_allclose(panel.walks["momentum"].path, panel.walks["sgd"].path)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"place": "ravin"}, "did you mean 'ravine'"),
        ({"optimizers": ["sgd", "muon"]}, "muon cannot walk here"),
        ({"optimizers": ["sdg"]}, "did you mean 'sgd'"),
        ({"optimizers": []}, "at least one"),
        ({"look": "rprop"}, "does not walk here"),
        ({"pictures": ["maps"]}, "choose from map, losses, state"),
        ({"lr": {"sgd": 0.1}}, "no learning rate for momentum, adam"),
        ({"condition": 1e6}, "from 1 to 200"),
    ],
)
def test_slips_are_answered(given, part):
    with pytest.raises(LabError, match=part):
        made(interactive=False, **given)


# --- with one --------------------------------------------------------------------------


def test_it_shows_what_it_was_given(shown):
    panel = made(lr={"sgd": 0.01, "momentum": 0.0123, "adam": 0.5}, condition=30)
    assert panel.chooser.value == "ravine"
    assert [w.value for w in panel.arguments.children] == [30, 0]
    assert {name: slider.value for name, slider in panel.rates.items()} == {
        "sgd": 0.01,
        "momentum": 0.0123,
        "adam": 0.5,
    }
    assert set(shown) == set(panel.live.values())
    for name, one in panel.walks.items():
        np.testing.assert_array_equal(path(shown, panel, name), one.path)
        assert one.message in words(panel.status)


def test_a_click_on_the_map_starts_there(shown):
    panel = made()
    panel._clicked({"curve": 0, "point": [3, 4], "x": 1.5, "y": -1.0})
    assert panel.setting.start == (1.5, -1.0)
    for name in panel.walks:
        assert path(shown, panel, name)[0].tolist() == [1.5, -1.0]
    assert "Start (1.50, -1.00)" in words(panel.status)
    panel._clicked({"curve": 0, "x": None, "y": None})
    assert panel.setting.start == (1.5, -1.0)


def test_a_slider_of_the_surface_walks_anew(shown):
    panel = made()
    before = panel.walks["sgd"]
    condition, angle = panel.arguments.children
    condition.value = 20
    angle.value = 45
    assert panel.setting.surface == surface("ravine", condition=20, angle=45)
    assert panel.setting.start == before.surface.start, "the walkers stay where they stand"
    expected = walk(panel.setting.surface, "sgd", 0.01, steps=20, start=panel.setting.start)
    np.testing.assert_array_equal(path(shown, panel, "sgd"), expected.path)


def test_another_surface_brings_its_start_and_fair_rates(shown):
    panel = made(place="plateau")
    for name in SURFACES:
        panel.chooser.value = name
        ground = Surface(name)
        assert panel.setting.surface == ground
        assert panel.setting.start == ground.start
        assert panel.walks["sgd"].lr == tune(ground, "sgd", steps=20)
        assert panel.rates["sgd"].value == panel.walks["sgd"].lr
        parameters = ground.entry.parameters()
        assert [w.description for w in panel.arguments.children] == list(parameters)
        assert ground.entry.formula in words(panel.about)
        assert f"best of {len(RATES)}" in words(panel.status)


def test_a_rate_is_ones_own_and_said_to_be(shown):
    panel = made(lr=None)
    assert f"Each has the best of {len(RATES)} learning rates." in words(panel.status)
    panel.rates["sgd"].value = 0.001
    assert panel.walks["sgd"].lr == 0.001
    assert "The learning rates are yours. A comparison" in words(panel.status)
    panel.tune.click()
    assert panel.walks["sgd"].lr == panel.rates["sgd"].value == tune("ravine", "sgd", steps=20)
    assert f"best of {len(RATES)}" in words(panel.status)


def test_rates_that_were_best_elsewhere_are_said_to_be(shown):
    panel = made(lr=None)
    panel._clicked({"x": 1.0, "y": 1.0})
    assert "best for other settings" in words(panel.status)
    panel.tune.click()
    assert "Each has the best" in words(panel.status)


def test_only_what_changed_is_walked_again(shown, monkeypatch):
    panel = made()
    walked: list[str] = []

    def watched(place, name, *args, **more):
        walked.append(name)
        return walk(place, name, *args, **more)

    monkeypatch.setattr(surface_setting, "walk", watched)
    panel.rates["adam"].value = 0.1
    assert walked == ["adam"]


def test_optimizers_come_and_go(shown):
    panel = made(optimizers=["sgd", "adam"])
    panel.add.value = "rprop"
    assert list(panel.walks) == ["sgd", "adam", "rprop"]
    assert panel.walks["rprop"].lr == tune("ravine", "rprop", steps=20)
    assert panel.walks["sgd"].lr == 0.01, "the others keep theirs"
    assert "rprop" not in [name for _, name in panel.add.options]
    assert panel.looker.options == ("sgd", "adam", "rprop")

    def remove(index: int) -> None:
        panel.rows.children[index].children[-1].click()

    remove(1)
    assert list(panel.walks) == ["sgd", "rprop"]
    assert panel.look == "rprop"
    remove(0)
    assert list(panel.walks) == ["rprop"]
    assert panel.rows.children[0].children[-1].disabled


def test_muon_is_explained_where_it_is_chosen(shown):
    panel = made()
    panel.add.value = "muon"
    assert "muon cannot walk here" in words(panel.message)
    assert "role='alert'" in panel.message.value
    assert "muon" not in panel.walks
    assert panel.add.value == ""
    panel.rates["sgd"].value = 0.001
    assert words(panel.message) == "", "an old complaint stays"


def test_looking_inside_shows_memory_and_arguments(shown):
    panel = made()
    label = lambda: shown[panel.live["state"]]["layout"]["meta"]["label"]  # noqa: E731
    assert label() == "State of adam"
    panel.looker.value = "momentum"
    assert label() == "State of momentum"
    (slider,) = panel.inside.children
    slider.value = 0.5
    expected = walk("ravine", "momentum", 0.01, steps=20, optimizer_args={"momentum": 0.5})
    np.testing.assert_array_equal(path(shown, panel, "momentum"), expected.path)


def test_steps(shown):
    panel = made()
    panel.steps.value = 50
    assert panel.walks["sgd"].steps == 50
    assert panel.time.max == panel.time.value == 50


def test_the_time_slider_goes_back_in_all_pictures(shown):
    panel = made()
    panel.time.value = 7
    np.testing.assert_array_equal(path(shown, panel, "adam"), panel.walks["adam"].path[:8])
    for name in ("losses", "state"):
        now = [t for t in shown[panel.live[name]]["data"] if t["name"] == "now"]
        assert all(t["x"].tolist() == [7, 7] and t["visible"] for t in now)
    panel.rates["sgd"].value = 0.005
    assert len(path(shown, panel, "adam")) == 21, "a new walk is shown whole"


def test_play_walks_to_the_end_and_can_be_paused(shown, monkeypatch):
    monkeypatch.setattr(module, "SHOW_S", 0.4)
    panel = made(steps=40, lr=0.005)
    panel.play.click()
    deadline = time.monotonic() + 20
    while panel._playing and time.monotonic() < deadline:
        time.sleep(0.01)
    panel.painter.join(5)
    assert not panel._playing
    assert panel._step == 40
    assert panel.time.value == 40
    assert panel.play.description == "Play"
    assert len(path(shown, panel, "sgd")) == 41

    monkeypatch.setattr(module, "SHOW_S", 1000.0)
    panel.play.click()
    assert panel.play.description in ("Play", "Pause")
    panel.play.click()
    panel.painter.join(5)
    assert not panel._playing
    assert panel._step < 40


def test_a_refused_setting_leaves_the_pictures(shown):
    panel = made()
    before = path(shown, panel, "sgd")
    panel._clicked({"x": 1e12, "y": 0.0})
    assert "too far away" in words(panel.message)
    np.testing.assert_array_equal(path(shown, panel, "sgd"), before)
    panel.rates["adam"].value = 0.02
    assert words(panel.message) == ""
    np.testing.assert_array_equal(path(shown, panel, "sgd"), before)


def test_another_error_is_not_hidden_and_does_not_lock_the_panel(shown, monkeypatch):
    panel = made()
    monkeypatch.setattr(surface_setting, "walk", lambda *_, **__: 1 / 0)
    panel.rates["sgd"].value = 0.001
    assert not panel.job.running
    assert words(panel.message) == "ZeroDivisionError: division by zero"
    assert isinstance(panel.error, ZeroDivisionError)
    assert panel.rates["sgd"].value == panel.walks["sgd"].lr == 0.01, "the controls lie"
    monkeypatch.undo()
    panel.rates["sgd"].value = 0.002
    assert panel.walks["sgd"].lr == 0.002
    assert words(panel.message) == ""


def test_what_comes_fast_is_walked_once(shown, monkeypatch):
    """A job that waits for its thread is replaced by the next one."""
    waiting: list[object] = []

    class Later(SynchronousExecutor):
        def submit(self, fn, /, *args, **kwargs):
            waiting.append(fn)

    panel = made(executor=Later())
    walked: list[float] = []

    def watched(place, name, lr, **more):
        walked.append(lr)
        return walk(place, name, lr, **more)

    monkeypatch.setattr(surface_setting, "walk", watched)
    for lr in (0.001, 0.002, 0.004):
        panel.rates["sgd"].value = lr
    assert panel.walks["sgd"].lr == 0.01, "nothing has run yet"
    assert len(waiting) == 1
    waiting.pop()()
    assert panel.walks["sgd"].lr == 0.004
    assert walked == [0.004]


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    panel = made()
    panel._ipython_display_()
    assert displayed == [panel.widget]


def test_of_two_edits_at_once_none_is_lost(shown, monkeypatch):
    panel = made()
    edit_together(
        monkeypatch,
        module,
        "replace",
        lambda: setattr(panel.steps, "value", 50),
        lambda: setattr(panel.arguments.children[0], "value", 20),
    )
    assert panel.setting.steps == panel.walks["sgd"].steps == 50
    assert panel.setting.surface == surface("ravine", condition=20)


def test_fair_rates_are_found_even_if_something_else_is_changed_meanwhile(shown, monkeypatch):
    panel = made(executor=ThreadExecutor("test"))
    begun, go_on = threading.Event(), threading.Event()

    def slow(*given, **more):
        begun.set()
        assert go_on.wait(20)
        return tune(*given, **more)

    monkeypatch.setattr(surface_setting, "tune", slow)
    panel.tune.click()
    assert begun.wait(20)
    panel.steps.value = 50
    go_on.set()
    assert panel.job.wait(20)
    assert panel.walks["sgd"].steps == 50
    assert panel.walks["sgd"].lr == tune("ravine", "sgd", steps=50)


@pytest.mark.parametrize("place", ["walk", "tune"])
def test_no_error_is_lost(place, shown, monkeypatch):
    panel = made(executor=ThreadExecutor("test"))
    monkeypatch.setattr(surface_setting, place, lambda *_, **__: 1 / 0)
    if place == "walk":
        panel.steps.value = 50
    else:
        panel.tune.click()
    assert panel.job.wait(20)
    assert words(panel.message) == "ZeroDivisionError: division by zero"
    assert panel.steps.value == 20
