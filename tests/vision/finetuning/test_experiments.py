"""Head start and forgetting: several runs that differ in one thing."""

import threading

import pytest

from labkit.core.errors import LabError
from labkit.vision.finetuning import forgetting, head_start
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    start = tiny.weights(folder / "old.safetensors")
    return start, tiny.data(folder / "new"), tiny.data(folder / "old", tiny.OLD)


def test_a_head_start_differs_in_the_start_alone(made, tmp_path):
    told = []
    found = head_start(
        tiny.spec(made[0], made[1], epochs=1),
        folder=tmp_path,
        on_epoch=lambda name, record: told.append((name, record.epoch)),
    )
    assert told == [("pretrained", 0), ("pretrained", 1), ("scratch", 0), ("scratch", 1)]
    a, b = found.pretrained.spec, found.scratch.spec
    assert a.replace(pretrained=False) == b
    assert found.scratch.transfer.share("new") == 1
    assert found.pretrained.transfer.share("copied") > 0.9
    assert found.reached == 0  # nothing is learned in one tiny epoch: 0 is reached at once
    assert "From scratch" in str(found)
    assert {path.name for path in tmp_path.iterdir()} == {"pretrained", "scratch"}


def test_forgetting_runs_over_depths_and_rates(made, tmp_path):
    spec = tiny.spec(made[0], made[1], epochs=1, remember=str(made[2]))
    found = forgetting(spec, freeze=(0, 23), lr=(1e-3,), folder=tmp_path)
    assert list(found.runs) == [(0, 1e-3), (23, 1e-3)]
    rows = found.table().rows
    assert [row["freeze"] for row in rows] == [0, 23]
    for run in found.runs.values():
        assert all(record.old_map50 is not None for record in run.epochs)
    assert found.runs[23, 1e-3].freeze.held
    with pytest.raises(LabError, match="remember"):
        forgetting(spec.replace(remember=""))


def test_once_stopped_no_further_run_begins(made, tmp_path):
    stop = threading.Event()
    stop.set()
    spec = tiny.spec(made[0], made[1], remember=str(made[2]))
    assert forgetting(spec, stop=stop, folder=tmp_path).runs == {}
