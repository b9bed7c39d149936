"""The panel over a fine-tuning that only tells, and once over a real one."""

from __future__ import annotations

import asyncio
import html
import re
import threading
import time

import plotly.graph_objects as go
import pytest

import labkit.vision.finetuning.run
from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor
from labkit.panels import FineTunePanel, finetune_panel
from labkit.training.findings import Finding
from labkit.vision.finetuning import FineTune, diagnosis
from labkit.vision.finetuning.live_run import LiveRun
from tests.vision.finetuning.fake import MAPS, PER_EPOCH, SPEC, FakeTraining


@pytest.fixture
def trainer(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(labkit.vision.finetuning.run, "finetune", fake)
    picture = {"data": [], "layout": {"height": 100}}
    monkeypatch.setattr(
        finetune_panel, "before_after", lambda result, count, beside: [picture] * count
    )
    return fake


def panel(spec: FineTune = SPEC, **more) -> FineTunePanel:
    return FineTunePanel(spec, executor=SynchronousExecutor(), **more)


def words(widget) -> str:
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def enabled(one: FineTunePanel) -> set[str]:
    return {name for name, button in one.buttons.items() if not button.disabled}


def trace(spec: dict, name: str) -> dict:
    return [found for found in spec["data"] if found.get("name") == name][-1]


# --- running ---------------------------------------------------------------------------


def test_it_waits_for_somebody_to_press_start(trainer, shown):
    one = panel()
    assert words(one.status) == "ready · 3 epochs of cells"
    assert enabled(one) == {"Start"}
    assert shown[one.live["curves"]]["layout"]["xaxis"]["range"] == [0, 3]
    assert not trainer.specs
    with pytest.raises(LabError, match="press Start"):
        _ = one.result


def test_a_run_is_shown_whole_at_its_end(trainer, shown):
    one = panel()
    one.buttons["Start"].click()
    assert trainer.specs == [SPEC]
    assert words(one.status).startswith(
        "finished · epoch 3 of 3 · step 12 of 12 · loss 1.17 · "
        "mAP50 0.600 (kept: 0.700 of epoch 2) · weights in runs"
    )
    curves = shown[one.live["curves"]]
    assert list(trace(curves, "mAP50")["y"]) == list(MAPS)
    assert list(trace(curves, "mAP50, kept")["x"]) == [2]
    assert trace(curves, "box")["x"][-1] == 3
    assert set(trace(curves, "learning rate")["y"]) == {0.004}
    (heat,) = shown[one.live["updates"]]["data"]
    assert heat["z"].shape == (2, 12)
    assert enabled(one) == {"Start"}
    assert len(one.samples_box.children) == one.images
    assert one.result.best_epoch.epoch == 2


def test_what_is_really_used_is_told_from_the_first_step(trainer, shown):
    told = []
    one = panel(SPEC.replace(freeze=10))
    trainer.at_step = lambda number: (one._tell(), told.append(words(one.used_line)))
    one._executor = SynchronousExecutor()
    one.run = run = LiveRun(one.spec)
    run.run()
    assert told[0].startswith("really used: AdamW · learning rate 0.004 (linear to 0.01 of lr)")
    assert "8 of 64 images a step · bfloat16 on cpu · 25% of the numbers frozen" in told[0]


def test_auto_says_that_the_slider_is_ignored(trainer, shown):
    one = panel()
    one.controls.fields["optimizer"].value = "auto"
    assert "lr=0.004 and momentum=0.9 are ignored" in words(one.controls.advice)
    one.buttons["Start"].click()
    assert trainer.specs[-1].optimizer == "auto"
    line = words(one.used_line)
    assert "AdamW · learning rate 0.0011" in line
    assert "lr=0.004 and momentum=0.9 are ignored" in line


def test_stop_keeps_the_best_so_far(trainer, shown):
    one = panel()
    trainer.at_step = lambda number: number == 7 and one.buttons["Stop"].click()
    one.buttons["Start"].click()
    assert words(one.status).startswith("stopped · epoch 2 of 3 · step 6 of 12")
    assert one.result.stopped
    assert one.result.best_epoch.epoch == 1
    assert enabled(one) == {"Start"}


def test_on_a_thread_of_its_own_it_is_live_and_stops(trainer, shown):
    going, told = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        if number == 6:
            going.set()
            told.wait(30)

    trainer.at_step = slow
    one = FineTunePanel(SPEC)
    one.buttons["Start"].click()
    assert going.wait(30)
    one.painter.paint()
    assert words(one.status).startswith("running · epoch 2 of 3 · step 5 of 12")
    assert words(one.status).endswith("left")
    assert enabled(one) == {"Stop"}
    one.buttons["Start"].click()
    assert len(trainer.specs) == 1, "one at a time"
    one.buttons["Stop"].click()
    told.set()
    assert one.finish().stopped
    assert words(one.status).startswith("stopped")


def test_finish_begins_where_nobody_has(trainer, shown):
    one = FineTunePanel(SPEC)
    assert one.finish().finished
    assert one.finish() is one.result, "and waits only once"
    assert len(trainer.specs) == 1
    assert words(one.status).startswith("finished")
    assert len(one.samples_box.children) == one.images


def test_a_cell_that_awaits_it_leaves_the_page_alone(trainer, shown, monkeypatch):
    monkeypatch.setattr(finetune_panel, "SETTLE_S", 0.2)  # no page will ever ask
    turns = []

    async def cell():
        one = FineTunePanel(SPEC)
        awaited = asyncio.ensure_future(one.finished())
        while not awaited.done():
            turns.append(None)
            await asyncio.sleep(0.01)
        assert words(one.status).startswith("finished")
        assert len(one.samples_box.children) == one.images
        return awaited.result()

    assert asyncio.run(cell()).finished
    assert len(turns) > 3, "others had their turn meanwhile"


def test_interrupting_the_cell_stops_the_run(trainer, shown):
    begun = threading.Event()

    def slow(number: int) -> None:
        begun.set()
        time.sleep(0.05)

    trainer.at_step = slow

    async def cell():
        one = FineTunePanel(SPEC)
        awaited = asyncio.ensure_future(one.finished())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        awaited.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaited
        return one

    assert asyncio.run(cell()).finish().stopped


def test_other_settings_are_for_the_next_run(trainer, shown):
    one = panel()
    one.buttons["Start"].click()
    one.controls.fields["epochs"].value = 2
    one.controls.text.value = one.spec.replace(seed=5).to_text()
    assert one.result.spec == SPEC
    one.buttons["Start"].click()
    assert one.result.spec == trainer.specs[-1] == SPEC.replace(epochs=2, seed=5)
    assert shown[one.live["curves"]]["layout"]["xaxis"]["range"] == [0, 2]


# --- what goes wrong -------------------------------------------------------------------


def test_bad_data_is_told_line_by_line(trainer, shown):
    def refuse(number: int) -> None:
        raise LabError("data set mine has 2 problems:\nlabels/a.txt:3 class 7 <b>")

    trainer.at_step = refuse
    one = panel()
    one.buttons["Start"].click()
    assert words(one.status).startswith("failed")
    assert "2 problems:<br>labels/a.txt:3 class 7 &lt;b&gt;" in one.message.value
    assert "role='alert'" in one.message.value
    assert enabled(one) == {"Start"}
    with pytest.raises(LabError, match="class 7"):
        one.finish()
    trainer.at_step = lambda number: None
    one.buttons["Start"].click()
    assert words(one.message) == ""
    assert words(one.status).startswith("finished")


def test_any_other_error_is_named(trainer, shown):
    def fail(number: int) -> None:
        raise RuntimeError("no memory")

    trainer.at_step = fail
    one = panel()
    one.buttons["Start"].click()
    assert words(one.message) == "RuntimeError: no memory"


def test_divergence_comes_with_a_remedy(trainer, shown):
    trainer.finding = Finding(
        "diverged", "The loss became NaN.", "Try lr=0.0004.", {}, {"lr": 4e-4}
    )
    one = panel()
    one.buttons["Start"].click()
    assert words(one.status).startswith("diverged")
    assert "The loss became NaN. Try lr=0.0004." in words(one.findings_box.words)
    one.findings_box.button.click()
    assert one.spec.lr == one.controls.fields["lr"].value == 4e-4
    assert one.findings_box.children == ()


def test_a_run_that_gets_worse_is_told_while_it_runs(trainer, shown, monkeypatch):
    monkeypatch.setattr(diagnosis, "RISEN", 0.0)  # any loss is too much
    one, seen = panel(), []

    def look(number: int) -> None:
        one._tell()
        seen.append(words(one.findings_box.words) if one.findings_box.children else "")

    trainer.at_step = look
    one.buttons["Start"].click()
    assert seen[PER_EPOCH - 1] == ""
    assert seen[PER_EPOCH].startswith("The detector gets worse, not better")
    assert words(one.status).startswith("finished")


def test_a_slip_in_the_controls_is_answered_there(trainer, shown):
    one = panel()
    one.controls.fields["freeze"].value = 4
    one.controls.fields["freeze_layers"].value = "1, 2"
    assert "not both" in words(one.controls.message)
    assert one.spec == SPEC.replace(freeze=4)
    assert one.controls.fields["freeze_layers"].value == ""


# --- headless ----------------------------------------------------------------------------


def test_without_a_person_it_runs_to_the_end_with_no_widget(trainer, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *things: displayed.extend(things))
    one = FineTunePanel(SPEC, interactive=False)
    one._ipython_display_()
    assert one.result.finished
    figures = [thing for thing in displayed if isinstance(thing, go.Figure)]
    assert len(figures) == 2 + one.images
    assert "AdamW" in one.table().rows[0]["really used"]


def test_without_a_person_an_error_is_raised(trainer):
    def refuse(number: int) -> None:
        raise LabError("no such data")

    trainer.at_step = refuse
    with pytest.raises(LabError, match="no such data"):
        FineTunePanel(SPEC, interactive=False)


def test_a_real_run(tmp_path, monkeypatch):
    """Of a tiny detector on tiny images."""
    from tests.vision.finetuning import tiny

    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    start, data = tiny.weights(tmp_path / "start.safetensors"), tiny.data(tmp_path / "data")
    one = FineTunePanel(tiny.spec(start, data, epochs=1), interactive=False, images=2)
    assert one.result.folder.parent == tmp_path / "runs"
    assert len(one.run.steps) == one.result.used.steps
    assert [record.epoch for record in one.run.epochs] == [0, 1]
    pictures = one.before_after()
    titles = [note.text for note in pictures[0].layout.annotations]
    assert [title.partition(":")[0] for title in titles] == ["labelled", "before", "after"]
    assert len(pictures) == 2
    (heat,) = one.updates_figure().data
    assert len(heat.y) == len(set(one.run.steps[1].updates))
