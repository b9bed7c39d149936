"""A worker's answers, in this process; `test_process.py` has processes of their own."""

from __future__ import annotations

import json

import numpy as np
import psutil
import pytest

from labkit.deploy.runtimes import worker
from labkit.deploy.runtimes.worker import COMMANDS, WorkerState, peak_memory, serve

ROWS = [2, 0, 3]  # boxes in each image


class Session:
    """Finds as many boxes as the first pixel says; notes its images."""

    def __init__(self):
        self.images = []

    def __call__(self, image):
        self.images.append(image)
        count = ROWS[round(float(image[0, 0, 0, 0]) * 255)]
        return np.full((1, count, 6), 0.5, np.float32)


@pytest.fixture
def opened(monkeypatch):
    """Every session that was opened, with its threads."""
    found = []

    def open_session(runtime, file, *, threads, options):
        found.append((Session(), threads, runtime, file, options))
        return found[-1][0]

    monkeypatch.setattr(worker, "open_session", open_session)
    return found


@pytest.fixture
def ask(tmp_path, opened):
    """The answers of a worker to requests; the first one brings the task."""
    images = np.zeros((3, 3, 4, 4), np.uint8)
    images[:, 0, 0, 0] = range(3)
    np.save(tmp_path / "images.npy", images)
    task = {
        "validation": str(tmp_path / "images.npy"), "runtime": "torch", "file": "w.pt",
        "options": {"autocast": "bfloat16"},
    }  # fmt: skip

    def answers(*requests):
        first, *others = requests
        lines = iter([json.dumps(one) for one in ({**first, "task": task}, *others)])
        found = []
        serve(lambda: next(lines, None), found.append)
        return found

    return answers


def test_each_command_is_something_a_worker_does():
    assert all(callable(getattr(WorkerState, command)) for command in COMMANDS)


def test_a_file_is_opened_and_looks_at_an_image(ask, opened):
    (answer,) = ask({"command": "open", "threads": 3})
    assert answer["answer"]["seconds"] > 0
    ((session, *settings),) = opened
    assert settings == [3, "torch", "w.pt", {"autocast": "bfloat16"}]
    assert len(session.images) == 1


@pytest.mark.parametrize(("count", "warm"), [(5, 2), (1, 0)])
def test_only_what_is_asked_for_is_timed(ask, opened, count, warm):
    _, times = ask({"command": "open", "threads": 1},
                   {"command": "time", "count": count, "warm": warm})  # fmt: skip
    assert len(times["answer"]) == count
    assert all(ms > 0 for ms in times["answer"])
    assert len(opened[0][0].images) == 1 + count + warm


def test_throughput_is_of_sessions_with_one_thread_each(ask, opened):
    (answer,) = ask({"command": "throughput", "sessions": 3, "seconds": 0.05})
    assert [threads for _, threads, *_ in opened] == [1, 1, 1]
    done = sum(len(session.images) - 1 for session, *_ in opened)  # one each is not counted
    assert answer["answer"] <= done / 0.05
    assert done >= 3


def test_boxes_of_all_images_are_written_in_one_array(ask, tmp_path):
    to = tmp_path / "boxes.npy"
    ask({"command": "open", "threads": 1}, {"command": "detect", "to": str(to)})
    boxes = np.load(to)
    assert boxes.shape == (3, max(ROWS), 6)
    assert [int((one[:, 4] > 0).sum()) for one in boxes] == ROWS


def test_an_error_is_an_answer_and_the_next_request_is_served(ask, capsys):
    answers = ask({"command": "dance"}, {"command": "build"}, {"command": "memory"})
    assert answers[0] == {"error": "a worker has no command dance"}
    assert answers[1] == {"error": "''"}  # no such builder
    assert answers[2]["answer"] > 0
    assert "KeyError" in capsys.readouterr().err  # the whole traceback is in the log


def test_what_is_no_command_is_not_called(ask):
    (answer,) = ask({"command": "__init__"})
    assert "no command" in answer["error"]


def test_peak_memory_counts_what_has_been_freed():
    before = peak_memory()
    ballast = np.ones(60_000_000, np.uint8)
    held = psutil.Process().memory_info().rss
    del ballast
    assert peak_memory() >= max(before, held) - 1_000_000
