from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from labkit import figures
from labkit.core.errors import LabError
from labkit.deploy.choice import choose, pareto
from tests.deploy.rows import BROKEN, FAST, FLOAT, PLAIN, SMALL, WRONG, choice, row


def test_the_front_is_what_nothing_dominates():
    generator = np.random.default_rng(0)
    rows = [row(str(k), *generator.integers(1, 6, 2), generator.integers(5)) for k in range(40)]

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
def test_the_best_that_is_accurate_enough_is_chosen(target, drop, wanted):
    every = (FLOAT, PLAIN, FAST, SMALL, WRONG, BROKEN)
    for rows in itertools.permutations(every, len(every)):
        assert choose(rows, FLOAT, target, drop).name == wanted


def test_of_two_equally_fast_the_smaller_one_is_chosen():
    slim = row("slim", 10.2, 150, 0.70)
    assert choose([FAST, slim], FLOAT, "latency", 0.01) is slim


def test_of_two_equal_in_both_the_more_accurate_one_is_chosen():
    better = row("better", 10.1, 301, 0.6995)
    assert choose([FAST, better, SMALL], FLOAT, "latency", 0.01) is better
    assert choose([FAST, better], FLOAT, "size", 0.01) is better


def test_without_a_reference_or_anything_accurate_nothing_is_chosen():
    assert choose([FAST], None, "latency", 0.01) is None
    assert choose([FLOAT, WRONG, BROKEN], FLOAT, "latency", 0.01) is None


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
