from __future__ import annotations

import numpy as np
import pytest

from labkit.figures import loss_curves
from labkit.training.history import Mark
from tests.figures.runs import history


def named(spec, name):
    return next(trace for trace in spec["data"] if trace["name"] == name)


def test_curves_are_the_historys():
    run = history()
    spec = loss_curves.spec(run)
    x, y = run.curve("val_loss")
    shown = named(spec, "validation set")
    np.testing.assert_array_equal(shown["x"], x)
    np.testing.assert_array_equal(shown["y"], y)
    batch = named(spec, "batch")
    steps, losses = run.curve("loss")
    assert set(zip(batch["x"], batch["y"], strict=True)) <= set(zip(steps, losses, strict=True))


@pytest.mark.parametrize("log", [True, False])
def test_the_loss_axis_holds_every_loss(log):
    run = history()
    low, high = loss_curves.spec(run, log=log)["layout"]["yaxis"]["range"]
    values = np.concatenate([run.curve(n)[1] for n in ("loss", "train_loss", "val_loss")])
    values = np.log10(values) if log else values
    assert low <= values.min()
    assert values.max() <= high


def test_accuracy_has_a_panel_only_where_there_are_classes():
    assert "yaxis2" in loss_curves.spec(history())["layout"]
    spec = loss_curves.spec(history(classified=False))
    assert "yaxis2" not in spec["layout"]
    assert not any(trace.get("yaxis") == "y2" for trace in spec["data"])


def test_a_race_has_one_colour_and_one_legend_entry_each():
    runs = {name: history(last=60) for name in ("sgd", "adam", "lion", "muon")}
    data = loss_curves.spec(runs)["data"]
    assert [t["name"] for t in data if t.get("showlegend", True)] == list(runs)
    bold = [named({"data": data}, name)["line"]["color"] for name in runs]
    assert len(set(bold)) == 4


def test_marks_and_the_finding_are_lines_with_words():
    run = history(last=100, planned=100)
    run.marks += [Mark(20, "lr 0.01 → 0.1"), Mark(70, "lr 0.1 → 1")]
    layout = loss_curves.spec(run)["layout"]
    assert [shape["x0"] for shape in layout["shapes"]] == [20, 70]
    assert [note["text"] for note in layout["annotations"]] == ["lr 0.1", "lr 1"]
    assert "0.01 → 0.1" in layout["annotations"][0]["hovertext"]
    evidence = {"step": 101}
    run.finding = {
        "kind": "diverged",
        "message": "It broke.",
        "remedy": "Mend.",
        "evidence": evidence,
    }
    layout = loss_curves.spec(run)["layout"]
    note = next(note for note in layout["annotations"] if "diverged" in note["text"])
    assert "101" in note["text"]
    assert "It broke. Mend." in note["hovertext"]
    assert layout["xaxis"]["range"][1] >= 101


def test_words_that_would_overlap_are_left_out_but_lines_stay():
    run = history(last=100, planned=100)
    run.marks += [Mark(step, f"lr {step} → {step + 1}") for step in (20, 25, 80)]
    layout = loss_curves.spec(run)["layout"]
    assert len(layout["shapes"]) == 3
    assert [note["text"] for note in layout["annotations"]] == ["lr 21", "lr 81"]
