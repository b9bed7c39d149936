from __future__ import annotations

import pytest

from labkit.vision.problems import SHOWN, Problem, Problems


@pytest.mark.parametrize(
    ("line", "text"),
    [(None, "a.txt: is empty"), (3, "a.txt:3: is empty"), (1, "a.txt:1: is empty")],
)
def test_a_problem_says_where_and_what(line, text):
    assert str(Problem("empty", "a.txt", "is empty", line)) == text


def test_none_is_nothing():
    problems = Problems()
    assert not problems
    assert str(problems) == ""


@pytest.mark.parametrize("count", [1, SHOWN - 1, SHOWN])
def test_few_are_shown_whole_in_order(count):
    problems = Problems()
    problems.add(*(Problem("empty", f"{i}.txt", "is empty") for i in range(count)))
    assert len(problems) == count
    assert str(problems).splitlines() == [f"  {i}.txt: is empty" for i in range(count)]


def test_the_rest_is_counted_by_kind_the_commonest_first():
    problems = Problems()
    for i in range(SHOWN):
        problems.add(Problem("empty", f"{i}.txt", "is empty"))
    problems.add(Problem("cut", "a.jpg", "is cut short"))
    problems.add(*[Problem("empty", "b.txt", "is empty")] * 3)
    assert len(problems) == SHOWN + 4
    lines = str(problems).splitlines()
    assert len(lines) == SHOWN + 1
    assert lines[-1] == "  … and 4 more: 3 × empty, 1 × cut"


def test_kinds_count_what_is_not_shown_too():
    problems = Problems()
    problems.add(*[Problem("empty", "a", "x")] * 1000)
    assert problems.kinds == {"empty": 1000}
    assert len(problems.first) == SHOWN
