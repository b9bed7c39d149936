"""Times and sizes as people write them."""

from __future__ import annotations

import pytest

from labkit.batch.quantities import seconds, size
from labkit.core.errors import LabError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("5m", 300),
        ("5 min", 300),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("2d", 172800),
        ("5M", 300),
    ],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "5 years", "m", "5m?", "1e3", "nan", "1..5", "m5"])
def test_what_is_no_time(text):
    with pytest.raises(LabError, match=r"is not a time: write 90, 90s, 5m"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000", 1000),
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("512MiB", 2**29),
        ("1.5k", 1500),
        ("2TB", 2 * 10**12),
        ("100B", 100),
        ("4Gi", 4 * 2**30),
        ("512 Mi", 2**29),
        ("1.5KiB", 1536),
        ("4. GB", 4 * 10**9),
        (".5MB", 500_000),
        (" 3tib ", 3 * 2**40),
    ],
)
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.4",
        "-1GB",
        "4 apples",
        "GB",
        "1GB2MB",
        "4GBB",
        "inf",
        "4 GB!",
        "1 GB 2 MB",
        "1..5",
        "9" * 400,
    ],
)
def test_what_is_no_size(text):
    with pytest.raises(LabError, match="is not a size: write 4GB"):
        size(text)


UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "ki": 1024,
    "kib": 1024,
    "m": 10**6,
    "mb": 10**6,
    "mi": 2**20,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gi": 2**30,
    "gib": 2**30,
    "t": 10**12,
    "tb": 10**12,
    "ti": 2**40,
    "tib": 2**40,
}


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_in_every_spelling(unit):
    for spelling in (unit, unit.upper(), unit.capitalize()):
        assert size(f"3{spelling}") == size(f"3 {spelling}") == 3 * UNITS[unit]
