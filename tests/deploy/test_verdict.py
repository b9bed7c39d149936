from __future__ import annotations

import pytest

from labkit.deploy.coverage import RangeCoverage
from labkit.deploy.verdict import best_float
from tests.deploy.rows import BROKEN, FAST, FLOAT, PLAIN, SMALL, WRONG, choice, row

SLOW = row("slow int8", 40, 250, 0.70)
BF16 = row("bf16", 14, 500, 0.698, "bf16")


@pytest.mark.parametrize(
    "sentence",
    [
        "Take fast: the fastest here that keeps mAP50-95 within 0.01 (10.00 ms with 2 threads, "
        "300 B, mAP50-95 0.699; 0.700 in PyTorch fp32).",
        "It is 1.60 times as fast as the best fp32 runtime, plain (16.00 ms), and 0.30 of its "
        "size.",
        "int8 is worth it here: 1.60 times as fast as fp32 with fast.",
        "The settings matter: int8 takes 10.00 ms (fast) to 12.00 ms (small).",
        "small is int8 only in its file: the runtime computes 90 of 100 layers in float.",
        "bfloat16 needs no calibration: bf16 takes 14.00 ms (mAP50-95 0.698).",
        "1 of 6 candidates have problems: see the table.",
    ],
)
def test_every_sentence_has_its_numbers(sentence):
    assert sentence in choice(FLOAT, PLAIN, FAST, SMALL, BF16, BROKEN).verdict.splitlines()


def test_the_smallest_is_named_where_size_is_the_target():
    words = choice(FLOAT, PLAIN, FAST, SMALL, target="size", threads=1).verdict
    assert words.startswith("Take small: the smallest here")
    assert "with 1 thread," in words


def test_int8_that_is_slower_saves_size_only():
    found = choice(FLOAT, PLAIN, SLOW)
    assert found.chosen is PLAIN
    assert "int8 is not worth it here for speed" in found.verdict
    assert "0.40 times as fast as plain" in found.verdict
    assert "The settings matter" not in found.verdict  # there is one int8 row only


def test_slower_than_float_is_said():
    assert "40.00 ms (slow int8, slower than fp32)" in choice(FLOAT, PLAIN, FAST, SLOW).verdict


def test_int8_that_is_inaccurate_is_not_worth_it():
    assert "no candidate keeps mAP50-95 within 0.01" in choice(FLOAT, PLAIN, WRONG).verdict


def test_nothing_to_deploy():
    words = choice(FLOAT, WRONG, BROKEN).verdict
    assert words.startswith("Nothing can be deployed: no candidate keeps mAP50-95 within 0.01")


def test_coverage_and_notes_are_part_of_it():
    coverage = RangeCoverage(5, "elsewhere", 4, 1, 1, 2.0, "a")
    lines = choice(FLOAT, FAST, coverage=coverage, notes=("Mind the gap.",)).verdict.splitlines()
    assert any(line.startswith("Calibrated on 5 images of elsewhere: 1 of 4") for line in lines)
    assert "Mind the gap." in lines


def test_the_best_float_is_the_fastest_that_can_be_deployed():
    quick = row("PyTorch quick", 1, 1000, 0.70, "fp32", "torch")
    assert best_float(choice(quick, PLAIN, FAST)) is PLAIN
    assert best_float(choice(FLOAT, quick, FAST)) is quick
    assert best_float(choice(FAST, BROKEN)) is None
