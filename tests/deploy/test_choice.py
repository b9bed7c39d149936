from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from labkit import figures
from labkit.core.errors import LabError
from labkit.deploy.candidates import Candidate, chosen, default_candidates
from labkit.deploy.choice import Choice, Measured, choose, pareto
from labkit.deploy.latency import Latency, latency


def row(name, ms, size, accuracy, precision="int8", runtime="onnxruntime", **more):
    timed = None if ms is None else Latency(ms, 2 * ms, 10)
    return Measured(
        Candidate(name, runtime, precision, "onnx"), size=size, latency=timed, map=accuracy, **more
    )


FLOAT = row("PyTorch fp32", 30, 1000, 0.70, "fp32", "torch")
FAST = row("fast", 10, 300, 0.699, stored=0.99, integer=100, weighted=100)
SMALL = row("small", 12, 200, 0.695, stored=0.99, integer=10, weighted=100)
WRONG = row("wrong", 5, 100, 0.5)
PLAIN = row("plain", 16, 1000, 0.70, "fp32")
BROKEN = row("broken", None, 0, None, problem="it fell over")


def choice(*rows, **more):
    plain = {"target": "latency", "max_drop": 0.01, "threads": 2, "machine": {}, "about": {}}
    settings = {**plain, **more}
    best = choose(rows, FLOAT, settings["target"], settings["max_drop"])
    return Choice(rows=rows, chosen=best, reference=FLOAT, **settings)


def test_the_front_is_what_nothing_beats():
    generator = np.random.default_rng(0)
    rows = [row(str(k), *generator.integers(1, 6, 2), generator.integers(5)) for k in range(40)]
    rows = [r for r in rows if r.size]

    def beaten(a, by):
        mine = (a.latency.median, a.size, -a.map)
        theirs = (by.latency.median, by.size, -by.map)
        return all(t <= m for m, t in zip(mine, theirs, strict=True)) and theirs != mine

    expected = {a.name for a in rows if not any(beaten(a, b) for b in rows)}
    front = pareto([*rows, BROKEN])
    assert {r.name for r in front} == expected
    assert [r.latency.median for r in front] == sorted(r.latency.median for r in front)


@pytest.mark.parametrize(
    ("target", "drop", "wanted"),
    [("latency", 0.01, "fast"), ("size", 0.01, "small"), ("latency", 0.5, "wrong"),
     ("latency", 0.0, "plain"), ("size", 0.002, "fast")],
)  # fmt: skip
def test_the_best_that_is_right_enough_is_chosen(target, drop, wanted):
    every = (FLOAT, PLAIN, FAST, SMALL, WRONG, BROKEN)
    for rows in itertools.permutations(every, len(every)):
        assert choose(rows, FLOAT, target, drop).name == wanted


def test_of_two_as_fast_the_smaller_one_is_chosen():
    slim = row("slim", 10.2, 150, 0.70)
    assert choose([FAST, slim], FLOAT, "latency", 0.01) is slim


def test_of_two_alike_the_more_accurate_one_is_chosen():
    better = row("better", 10.1, 301, 0.6995)
    assert choose([FAST, better, SMALL], FLOAT, "latency", 0.01) is better
    assert choose([FAST, better], FLOAT, "size", 0.01) is better


def test_without_a_yardstick_or_anything_right_there_is_no_choice():
    assert choose([FAST], None, "latency", 0.01) is None
    assert choose([FLOAT, WRONG, BROKEN], FLOAT, "latency", 0.01) is None
    found = choice(FLOAT, WRONG)
    assert "Nothing can be deployed" in found.verdict
    with pytest.raises(LabError, match="nothing to save"):
        found.save("never")


def test_the_verdict_has_its_numbers():
    words = choice(FLOAT, PLAIN, FAST, SMALL, BROKEN).verdict
    assert "Take fast" in words
    assert "1.60 times as fast as the best fp32 runtime, plain" in words
    assert "0.30 of its size" in words
    assert "int8 is worth it here: 1.60 times" in words
    assert "small is int8 in its file alone" in words
    assert "90 of 100 layers in float" in words
    assert "1 of 5 candidates have problems" in words


def test_int8_that_is_slower_is_not_worth_it_for_speed():
    slow = row("slow int8", 40, 250, 0.70)
    found = choice(FLOAT, PLAIN, slow)
    assert found.chosen is PLAIN
    assert "int8 is not worth it here for speed" in found.verdict
    assert "0.40 times as fast" in found.verdict


def test_int8_that_is_wrong_is_not_worth_it():
    assert "no recipe keeps mAP50-95 within 0.01" in choice(FLOAT, PLAIN, WRONG).verdict


def test_the_table_has_the_fastest_first_and_problems_last():
    found = choice(FLOAT, BROKEN, FAST, PLAIN)
    names = [line["candidate"] for line in found.table().rows]
    assert names == ["fast", "plain", "PyTorch fp32", "broken"]
    assert found.table().rows[-1]["problem"] == "it fell over"
    assert found["fast"] is FAST
    with pytest.raises(LabError, match="did you mean 'fast'"):
        found["fst"]
    json.dumps([r.facts() for r in found.rows])


def test_the_picture_shows_all_that_has_figures():
    found = choice(FLOAT, PLAIN, FAST, SMALL, BROKEN)
    spec = figures.pareto.spec(**found.picture())
    traces = {trace["name"]: trace for trace in spec["data"]}
    assert sorted(traces["ONNX Runtime"]["x"]) == [10, 12, 16]
    assert list(traces["PyTorch"]["x"]) == [30]
    assert (traces["chosen: fast"]["x"], traces["chosen: fast"]["y"]) == ([10], [0.699])
    assert list(traces["fastest for its accuracy"]["x"]) == [10, 16]
    low, high = spec["layout"]["yaxis"]["range"]
    assert low < 0.69
    assert high > 0.70
    figures.pareto(**choice(BROKEN).picture())


def test_candidates_are_chosen_by_name_or_runtime():
    every = default_candidates(sensitive=["model.2"], bf16=True, nvidia=True)
    assert len({one.name for one in every}) == len(every)
    json.dumps([dict(one.recipe) for one in every])
    assert {one.runtime for one in chosen(every, ["openvino"])} == {"openvino"}
    assert [one.name for one in chosen(every, "ONNX Runtime int8")] == ["ONNX Runtime int8"]
    assert not any(one.runtime == "tensorrt" for one in default_candidates())
    with pytest.raises(LabError, match="candidates='OpenVINO in8' is not known: did you mean"):
        chosen(every, ["OpenVINO in8"])


def test_median_and_95th_percentile():
    found = latency([float(k) for k in range(100, 0, -1)])
    assert (found.median, found.p95, found.images) == (50.5, 96.0, 100)
