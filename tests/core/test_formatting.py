"""Numbers as people read them, beside values that were worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from labkit.core.formatting import duration, file_size, memory_size, number, rough_duration

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "0.2 s"),
        (1.234, "1.2 s"),
        (6.0, "6 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (86399, "1 d"),
        (4 * 86400 + 7000, "4 d 2 h"),
        (400 * 86400, "400 d"),
    ],
)
def test_a_measured_time(seconds, text):
    assert duration(seconds) == text


def test_a_time_read_back_by_its_units_is_off_by_a_twentieth_at_most():
    for seconds in np.geomspace(10, 1e7, 400):
        parts = re.findall(r"(\d+) (\w+)", text := duration(seconds))
        assert 1 <= len(parts) <= 2, text
        back = sum(int(count) * SECONDS[unit] for count, unit in parts)
        assert back == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "1 s"),
        (7.4, "7 s"),
        (43, "40 s"),
        (89, "90 s"),
        (100, "2 min"),
        (5000, "83 min"),
        (7810, "2 h 10 min"),
    ],
)
def test_an_expected_time_is_rounded(seconds, text):
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (5_490_000, "5.49 MB"),
        (999_999, "1.00 MB"),
        (2**30, "1.07 GB"),
    ],
)
def test_the_size_of_a_file(count, text):
    assert file_size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (2**20, "1 MiB"),
        (512 * 2**20, "512 MiB"),
        (2**30 - 1, "1 GiB"),
        (3 * 2**29, "1.5 GiB"),
        (16 * 2**40, "16 TiB"),
    ],
)
def test_a_size_of_memory(count, text):
    assert memory_size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(4691, "4,690"), (0.001543, "0.00154"), (1.2e-5, "1.2e-05"), (-2345678.0, "-2.35e+06")],
)
def test_a_number_in_a_sentence(value, text):
    assert number(value) == text
