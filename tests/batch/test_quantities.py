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
    with pytest.raises(LabError, match=r"is no time: write 90, 90s, 5m"):
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
    ],
)
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "0.4", "-1GB", "4 apples", "GB", "1GB2MB", "4GBB", "inf"]
)
def test_what_is_no_size(text):
    with pytest.raises(LabError, match="is no size: write 4GB"):
        size(text)
