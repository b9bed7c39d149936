"""Which figures a row gets; workers are replaced by some that answer from a table."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from labkit.deploy.candidates import Candidate
from labkit.deploy.choice import Measured
from labkit.deploy.running import REFERENCE, Running
from labkit.deploy.runtimes.process import WorkerError

BOXES = np.array([[[0, 0, 9, 9, 0.9, 0]], [[5, 5, 20, 20, 0.8, 1]]], np.float32)
OTHER = BOXES + np.array([0, 0, 0, 0, 0, 1], np.float32)  # another class


class Table:
    """A worker of one candidate; it fails at one command."""

    def __init__(self, name, fails=""):
        self.name, self.fails, self.closed, self.threads = name, fails, False, 0

    def ask(self, command, *, timeout, **arguments):
        if command == self.fails:
            raise WorkerError(f"no {command}")
        if command == "open":
            self.threads = arguments["threads"]
        if command == "time":
            return [8.0 / self.threads] * arguments["count"]
        if command == "detect":
            np.save(arguments["to"], BOXES if self.name in (REFERENCE, "equal") else OTHER)
        answers = {"throughput": 100.0, "memory": 10**8}
        proof = {"stored": 0.5, "nodes": 3, "integer": 1, "weighted": 2}
        return proof if command == "proof" else answers.get(command)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Truth:
    """Labels that any boxes fit."""

    def metrics(self, found):
        return SimpleNamespace(map50=0.8, map=0.6)


@pytest.fixture
def run(tmp_path):
    """Rows measured on a number of threads, and their workers."""

    def one(threads, *rows, **fails):
        workers = {}

        def worker(name, candidate, file):
            (tmp_path / name.lower().replace(" ", "-")).mkdir(exist_ok=True)
            workers[name] = Table(name, fails.get(name, ""))
            workers[name].file = file
            return workers[name]

        reports = []
        building = SimpleNamespace(
            request=SimpleNamespace(threads=threads, validation=BOXES),
            folder=tmp_path, truth=Truth(), worker=worker, report=reports.append,
        )  # fmt: skip
        found = Running(building, rows, rounds=2, burst=3).run()
        return {row.name: row for row in found}, workers, reports

    return one


def row(name, runtime="openvino", tmp="model.xml", **more):
    return Measured(Candidate(name, runtime, "int8", "x"), (tmp,), 9, **more)


def test_every_figure_is_measured(run):
    found, workers, reports = run(4, row(REFERENCE, "torch"), row("equal"), row("other"))
    for one in found.values():
        assert one.problem == ""
        assert (one.latency.median, one.latency.images) == (2.0, 6)
        assert (one.latency_1.median, one.latency_1.images) == (8.0, 6)
        assert (one.throughput, one.memory, one.map50, one.map) == (100.0, 10**8, 0.8, 0.6)
        assert (one.stored, one.nodes, one.integer, one.weighted) == (0.5, 3, 1, 2)
    assert [one.agreement for one in found.values()] == [1.0, 1.0, 0.0]
    assert all(worker.closed for worker in workers.values())
    assert ("timing, 4 threads" in reports, "timing, 1 thread" in reports) == (True, True)
    assert workers[REFERENCE].file == ""  # it opens the weights
    assert workers["equal"].file == "model.xml"


def test_with_one_thread_nothing_is_timed_twice(run):
    found, _, reports = run(1, row(REFERENCE, "torch"))
    assert found[REFERENCE].latency == found[REFERENCE].latency_1
    assert reports.count("timing, 1 thread") == 1


@pytest.mark.parametrize(
    ("fails", "kept"),
    [("open", ()), ("detect", ()), ("time", ()),
     ("throughput", ("map", "latency", "latency_1"))],
)  # fmt: skip
def test_one_that_fails_keeps_its_figures_and_the_others_go_on(run, fails, kept):
    found, workers, _ = run(2, row(REFERENCE, "torch"), row("bad"), bad=fails)
    assert found["bad"].problem == f"no {fails}"
    figures = ("map", "latency", "latency_1", "throughput")
    assert tuple(name for name in figures if getattr(found["bad"], name) is not None) == kept
    assert found[REFERENCE].problem == ""
    assert found[REFERENCE].throughput == 100.0
    assert workers["bad"].closed


def test_without_the_reference_there_is_no_agreement(run):
    found, _, _ = run(1, row("equal"))
    assert found["equal"].agreement is None
    assert found["equal"].map == 0.6


def test_a_row_with_a_problem_is_not_run(run):
    broken = dataclasses.replace(row("broken"), problem="it was not built")
    found, workers, _ = run(1, broken)
    assert workers == {}
    assert found["broken"] == broken
