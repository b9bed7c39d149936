"""Which of the runs that are there a notebook goes on from."""

import json

import pytest

from labkit.vision.data import open_data
from labkit.vision.finetuning import best_run, checkpoint, finetune
from labkit.weights.load import load
from labkit.weights.save import save
from tests.vision.finetuning import tiny


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run, the data, and the folder of all runs."""
    folder = tmp_path_factory.mktemp("made")
    made = tiny.weights(folder / "old.safetensors"), tiny.data(folder / "data")
    run = finetune(tiny.spec(*made, epochs=1), folder=folder / "runs" / "one")
    return run, open_data(str(made[1])), folder / "runs"


def another(run, name, map_, spec=None, **facts):
    """A run that was as this one, but for what is said."""
    folder = run.folder.parent / name
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    known = checkpoint.read_run(run.folder)
    known |= {**facts, "spec": {**known["spec"], **(spec or {})}}
    (folder / checkpoint.RUN).write_text(json.dumps(known))
    for file in (checkpoint.STATE, checkpoint.HISTORY):
        (folder / file).write_bytes((run.folder / file).read_bytes())
    best = load(run.best)
    save(folder / checkpoint.BEST, best.tensors, task="detect", epoch=1, map50=map_, map=map_)
    return folder


def test_the_best_that_fits(one):
    run, data, folder = one
    assert best_run(data, 64, folder).folder == run.folder
    better = another(run, "two", 0.5)
    another(run, "worse", 0.4)
    another(run, "other-data", 0.9, data_sha256="0" * 64)
    another(run, "running", 0.9, status="running")
    another(run, "other-size", 0.9, {"image_size": 96})
    another(run, "rounded", 0.9, {"qat": 8})
    (another(run, "damaged", 0.9) / checkpoint.BEST).write_bytes(b"no weights")
    (another(run, "empty", 0.9) / checkpoint.RUN).write_text("{}")
    assert best_run(data, 64, folder).folder == better


def test_none_where_there_is_none(one, tmp_path):
    _, data, folder = one
    assert best_run(data, 64, tmp_path) is None
    assert best_run(data, 128, folder) is None
