from __future__ import annotations

import html
import re
import time

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.core.errors import LabError, RecipeError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import SweepPanel, sweep_panel
from labkit.recipe.recipe import Recipe
from labkit.training import sweeps
from labkit.training.trainer import fit

MOONS = Recipe(task="moons", samples=100, hidden=(6, 4), steps=40, device="cpu")
INITS, LRS = ["kaiming_normal", "zeros"], [0.001, 0.01, 0.1]
# One row that overflows at any rate, and one that does not.
CURVE = MOONS.replace(task="regression", activation="relu", optimizer="sgd", hidden=(8, 8))


def panel(recipe: Recipe = MOONS, **more) -> SweepPanel:
    given = {"rows": ("init", INITS), "lrs": LRS, "executor": SynchronousExecutor(), **more}
    return SweepPanel(recipe, **given)


def ran(recipe: Recipe = MOONS, **more) -> SweepPanel:
    one = panel(recipe, **more)
    one.run_button.click()
    return one


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def label(spec) -> str:
    return spec["layout"]["meta"]["label"]


def frame(spec, name: str) -> tuple[float, float]:
    """Row and column of the cell that a frame stands around."""
    (trace,) = [trace for trace in spec["data"] if trace["name"] == name]
    return float(np.mean(trace["y"][:4])), float(np.mean(trace["x"][:4]))


def click(one: SweepPanel, row: int, column: int) -> None:
    for callback in one.live["map"]._on_click:
        callback({"curve": 0, "point": [row, column], "x": column, "y": row, "customdata": None})


# --- with a person ---------------------------------------------------------------------


def test_it_waits_with_a_word_on_what_to_do(shown):
    one = panel()
    assert words(one.status) == "ready · 6 networks to train"
    assert "Run the sweep" in label(shown[one.live["map"]])
    assert one._below.layout.display == "none"
    assert (one.run_button.disabled, one.stop_button.disabled) == (False, True)
    with pytest.raises(LabError, match="Run the sweep"):
        one.values_of("val_loss")


def test_a_sweep_trains_a_network_for_each_cell(shown):
    one = ran()
    assert words(one.status).startswith("finished · 6 networks in")
    for k, (init, lr) in enumerate((init, lr) for init in INITS for lr in LRS):
        alone = fit(MOONS.replace(init=init, lr=lr)).curve("val_loss")[1][-1]
        cell = one.values_of("val_loss")[divmod(k, 3)]
        assert cell == pytest.approx(alone, rel=1e-3), (init, lr)
    hover = shown[one.live["map"]]["data"][0]["text"]
    assert "zeros" in hover[1][0]
    assert "learning rate 0.1" in hover[0][2]
    assert not one.run_button.disabled


def test_the_best_cell_is_framed_and_looked_at_first(shown):
    one = ran()
    values = one.values_of("val_loss")
    best = tuple(int(k) for k in np.unravel_index(values.argmin(), values.shape))
    assert frame(shown[one.live["map"]], "best") == best
    assert frame(shown[one.live["map"]], "shown below") == best
    assert divmod(one.chosen, 3) == best
    assert one.best() == (INITS[best[0]], LRS[best[1]])
    assert one._below.layout.display == ""


def test_a_click_shows_that_runs_weights(shown):
    one = ran()
    click(one, 1, 2)
    assert one.chosen == 5
    assert frame(shown[one.live["map"]], "shown below") == (1, 2)
    assert "zeros, learning rate 0.1" in label(shown[one.live["member"]])
    lines = [t["y"] for t in shown[one.live["member"]]["data"] if t["type"] == "scatter"]
    weights = one.result.histories[5].weights()["layer1.weight"]
    assert sorted(y[-1] for y in lines) == pytest.approx(sorted(weights.ravel()))
    click(one, 0, 1)
    assert "kaiming_normal, learning rate 0.01" in label(shown[one.live["member"]])
    lines = [t["y"] for t in shown[one.live["member"]]["data"] if t["type"] == "scatter"]
    assert np.ptp([y[0] for y in lines]) > 0, "its weights began at random"
    accuracy = one.result.histories[1].curve("val_accuracy")[1][-1]
    assert f"validation accuracy {accuracy:.1%}" in words(one.member_words)


def test_the_list_of_runs_does_what_a_click_does(shown):
    one = ran()
    one.member_selector.value = 3
    assert one.chosen == 3
    assert frame(shown[one.live["map"]], "shown below") == (1, 0)
    assert "zeros, learning rate 0.001" in label(shown[one.live["member"]])
    click(one, 0, 2)
    assert one.member_selector.value == 2


def test_other_views_and_tensors_of_the_chosen_run(shown):
    one = ran()
    one.view_selector.value = "histogram"
    one.tensor_selector.value = "output.weight"
    assert "output.weight" in label(shown[one.live["member"]])
    assert one.moment.layout.display == "none", "it shows all steps at once"
    click(one, 1, 1)
    assert one.view_selector.value == "histogram", "the view stays"
    assert one.tensor_selector.value == "output.weight"
    one.view_selector.value = "boundary"
    assert one.tensor_selector.layout.display == "none"


def test_the_slider_goes_back_through_the_run(shown):
    one = ran()
    click(one, 0, 2)
    one.view_selector.value = "heatmap"
    assert one.moment.layout.display == ""
    history = one.history
    end = shown[one.live["member"]]["data"][0]["z"]
    np.testing.assert_allclose(end, history.weights()["layer1.weight"], rtol=1e-6)
    one.moment.index = 0
    start = shown[one.live["member"]]["data"][0]["z"]
    np.testing.assert_allclose(start, history.weights(0)["layer1.weight"], rtol=1e-6)
    assert not np.allclose(start, end)
    one.view_selector.value = "boundary"
    blank = shown[one.live["member"]]["data"][0]["z"]
    click(one, 0, 2)
    assert one.moment.index == len(one.moment.options) - 1, "another look begins at the end"
    assert not np.array_equal(shown[one.live["member"]]["data"][0]["z"], blank)


def test_a_run_that_diverged_says_so(shown):
    one = ran(CURVE, lrs=[0.01, 10.0], rows=("init", ["kaiming_normal", "lsuv"]))
    assert np.isnan(one.values_of("val_loss")[:, 1]).all()
    assert "2 diverged" in words(one.status)
    assert one.member_selector.options[1][0].endswith("(diverged)")
    click(one, 0, 1)
    assert "Training ended at step" in words(one.member_words)
    assert "learning rate 10" in label(shown[one.live["member"]])


def test_other_rows_come_with_values_of_their_own(shown):
    one = panel()
    one.field_selector.value = "batch_size"
    assert one.values_text.value == "4, 16, 64, 256"
    one.values_text.value = "8, 32"
    one.lrs_text.value = "0.001:0.1:log:3"
    one.steps.value = 7
    one.run_button.click()
    assert one.plan.values == [8, 32]
    assert one.plan.lrs == [0.001, 0.01, 0.1]
    assert {(r.batch_size, r.steps, r.init) for r in one.plan.recipes} == {
        (8, 7, "kaiming_normal"),
        (32, 7, "kaiming_normal"),
    }
    assert "batch size 8" in one.member_selector.options[0][0]


def test_another_colour_shows_another_metric(shown):
    one = ran()
    one.metric_selector.value = "val_accuracy"
    assert "validation accuracy" in label(shown[one.live["map"]])
    assert "%" in shown[one.live["map"]]["data"][0]["text"][0][0]


@pytest.mark.parametrize(
    ("values", "lrs", "part"),
    [
        ("kaiming_norml, zeros", "0.1", "did you mean 'kaiming_normal'"),
        ("zeros", "0.1, fast", "1e-3:1e-1:log:5"),
        ("zeros", "0.001 to 1 in 7", "write 0.001:1:log:7"),
        ("zeros", "100", "lr=100"),
        ("", "0.1", "no values"),
        ("zeros", "", "no values"),
        ("<b>", "0.1", "<b>"),
    ],
)
def test_a_slip_is_explained_and_changes_nothing(values, lrs, part, shown):
    one = ran()
    before = one.result
    one.values_text.value, one.lrs_text.value = values, lrs
    one.run_button.click()
    assert part in words(one.message).replace("\\", "")
    assert "<b>" not in one.message.value
    assert one.result is before
    click(one, 1, 0)
    assert one.chosen == 3, "the last map still works"
    one.values_text.value, one.lrs_text.value = "zeros", "0.1"
    one.run_button.click()
    assert words(one.message) == ""
    assert len(one.result) == 1


def test_too_large_a_sweep_says_what_it_would_cost(shown):
    one = panel()
    one.field_selector.value = "batch_size"
    one.values_text.value = ", ".join(str(k) for k in range(1, 201))
    one.lrs_text.value = "0.0001:1:log:900"
    one.run_button.click()
    assert re.search(r"[\d,]+ members are more than .* memory", words(one.message))
    assert one.result is None


def test_stop_ends_it_soon_and_keeps_the_last_map(shown):
    one = panel(executor=None)
    one.run_button.click()
    wait(lambda: not one.job.running)
    before = one.result
    assert before is not None
    one.steps.value = 100_000
    one.run_button.click()
    assert one.run_button.disabled
    wait(lambda: "steps" in words(one.status))
    assert not one.stop_button.disabled
    one.stop_button.click()
    wait(lambda: not one.job.running)
    assert words(one.status).startswith("stopped")
    assert one.result is before
    click(one, 1, 2)
    assert one.chosen == 5
    assert not one.run_button.disabled


def wait(check) -> None:
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


def test_what_breaks_is_told(shown, monkeypatch):
    def broken(recipes, progress=None):
        raise RuntimeError("no more <memory>")

    monkeypatch.setattr(sweep_panel, "sweep", broken)
    one = ran()
    assert "RuntimeError: no more <memory>" in words(one.message)
    assert not one.run_button.disabled


# --- headless ----------------------------------------------------------------------------


def test_without_a_person_it_runs_and_shows_two_plain_figures(monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel(interactive=False)
    assert not hasattr(one, "widget")
    one._ipython_display_()
    assert [type(figure) for figure in displayed] == [go.Figure, go.Figure]
    expected = sweeps.sweep(sweeps.grid(MOONS, init=INITS, lr=LRS)).values("val_loss")
    np.testing.assert_array_equal(one.values_of("val_loss").ravel(), expected)
    init, lr = one.best()
    assert f"{init}, learning rate {lr:g}" in displayed[1].layout.title.text


def test_without_a_person_a_cell_may_be_chosen():
    one = panel(interactive=False, chosen=("zeros", 0.1), view="heatmap")
    assert one.chosen == 5
    assert "zeros, learning rate 0.1" in one.member_figure().layout.title.text
    assert one.history is one.result.histories[5]
    assert len(one.table()) == 6


def test_rows_of_lists_and_numbers(shown):
    one = panel(rows=("hidden", [[4], [8, 8]]), lrs=[0.01], interactive=False)
    assert [name.split(",")[0] for name in one.plan.names] == ["hidden 4", "hidden 8-8"]
    assert one.figure().layout.yaxis.ticktext == ("4", "8-8")


def test_where_all_diverge_the_first_is_looked_at():
    one = panel(CURVE, lrs=[10.0], rows=("init", ["kaiming_normal"]), interactive=False)
    assert one.best() is None
    assert one.chosen == 0
    one.figure(), one.member_figure()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"rows": "optimiser"}, "did you mean 'optimizer'"),
        ({"rows": ("lr", [0.1])}, "rows='lr'"),
        ({"rows": ("init", ["zeroes"])}, "did you mean 'zeros'"),
        ({"rows": ("init", [])}, "no values"),
        ({"lrs": []}, "no values"),
        ({"lrs": [100.0]}, "lr=100"),
        ({"metric": "loss"}, "val_loss"),
        ({"view": "weight"}, "weights"),
        ({"chosen": ("ones", 0.1)}, "zeros"),
        ({"chosen": ("zeros", 0.2)}, "0.1"),
    ],
)
def test_a_wrong_argument_is_explained(given, part):
    with pytest.raises(RecipeError, match=re.escape(part)):
        panel(**given)


def test_with_a_person_it_shows_its_widget(shown, monkeypatch):
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: displayed.extend(objects))
    one = panel()
    one._ipython_display_()
    assert displayed == [one.widget]
