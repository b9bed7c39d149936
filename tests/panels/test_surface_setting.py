from __future__ import annotations

import pytest

from labkit.core.errors import LabError
from labkit.panels import surface_setting
from labkit.panels.surface_setting import KEPT, Setting, Walks
from labkit.toys.surfaces import surface
from labkit.toys.trajectories import tune, walk

RAVINE = surface("ravine")


def setting(lr=0.01, names=("sgd", "momentum"), **more) -> Setting:
    given = {"arguments": {}, "steps": 12, "start": RAVINE.start, **more}
    return Setting.of(RAVINE, names, lr, **given)


@pytest.mark.parametrize(
    ("lr", "rates"),
    [
        (0.02, {"sgd": 0.02, "momentum": 0.02}),
        ({"sgd": 0.5, "momentum": 1}, {"sgd": 0.5, "momentum": 1.0}),
        (None, {name: tune(RAVINE, name, steps=12) for name in ("sgd", "momentum")}),
    ],
    ids=["one for all", "one for each", "the best"],
)
def test_learning_rates(lr, rates):
    assert dict(setting(lr).lrs) == rates


def test_only_some_are_tuned():
    made = setting(0.02).tuned(["sgd"])
    assert dict(made.lrs) == {"sgd": tune(RAVINE, "sgd", steps=12), "momentum": 0.02}
    assert made.circumstances == setting(0.5).circumstances, "a learning rate is none of them"
    assert setting(steps=13).circumstances != setting().circumstances


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"names": ()}, "at least one"),
        ({"names": ("sdg",)}, "did you mean 'sgd'"),
        ({"names": ("muon",)}, "muon cannot walk here"),
        ({"lr": {"sgd": 0.1}}, "no learning rate for momentum"),
    ],
)
def test_mistakes_are_explained(given, part):
    with pytest.raises(LabError, match=part):
        setting(**given)


def test_walks_are_those_of_the_setting_and_made_once(monkeypatch):
    made = []

    def watched(place, name, lr, **more):
        made.append((name, lr))
        return walk(place, name, lr, **more)

    monkeypatch.setattr(surface_setting, "walk", watched)
    walks = Walks()
    first = walks.of(setting())
    assert (first["sgd"].path == walk(RAVINE, "sgd", 0.01, steps=12).path).all()
    again = walks.of(setting().with_rates({"momentum": 0.02}))
    assert again["sgd"] is first["sgd"]
    assert made == [("sgd", 0.01), ("momentum", 0.01), ("momentum", 0.02)]


def test_old_walks_are_let_go():
    walks = Walks()
    for number in range(KEPT + 5):
        walks.of(setting(1e-4 * (number + 1), names=("sgd",)))
    assert len(walks._known) == KEPT
