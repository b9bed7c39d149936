"""Values and ranges as people write them, beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.errors import LabError
from labkit.core.ranges import Range, read_numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3:1e-1:log:5", np.geomspace(1e-3, 1e-1, 5)),
        ("1e-1:1e-3:log:5", np.geomspace(1e-1, 1e-3, 5)),
        (" 0 : 1 : lin : 4 ", np.linspace(0, 1, 4)),
        ("-1e308:1e308:lin:3", [-1e308, 0, 1e308]),
        ("1e-300:1e300:log:3", [1e-300, 1, 1e300]),
        ("0.3:0.9:lin:1", [0.3]),
    ],
)
def test_a_range_is_numpys(text, expected):
    assert Range.read(text).numbers() == pytest.approx(list(expected), rel=1e-5)


def test_values_are_rounded_as_long_as_that_keeps_them_apart():
    assert Range.read("0.001:1:log:7").numbers(digits=2) == [
        *(0.001, 0.0032, 0.01, 0.032, 0.1, 0.32, 1.0)
    ]
    close = Range.read("1:1.001:lin:11").numbers(digits=2)
    assert close == pytest.approx(np.linspace(1, 1.001, 11), abs=1e-15)


def test_whole_numbers_are_rounded_and_distinct():
    assert Range.read("1:100:log:5").whole_numbers() == [1, 3, 10, 32, 100]
    assert Range.read("1:3:lin:50").whole_numbers() == [1, 2, 3]
    assert Range.read("1000000:9000000:lin:3").whole_numbers() == [10**6, 5 * 10**6, 9 * 10**6]


@pytest.mark.parametrize("text", ["", "1", "0.1,0.2", "a:b", "1:2:3", "1:2:exp:3", "1:2:lin:3,4"])
def test_a_text_of_another_form_is_no_range(text):
    assert Range.read(text) is None


@pytest.mark.parametrize("text", ["1e-3:0.1:log:5", "0:1:lin:11"])
def test_a_range_is_written_as_it_is_read(text):
    found = Range.read(text)
    assert Range.read(str(found)) == found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1", [0.1]),
        ("0.001, 1e-2,  1", [0.001, 0.01, 1]),
        ("0.1; 0.2 0.3", [0.1, 0.2, 0.3]),
        ("5, 1:3:lin:3", [5, 1, 2, 3]),
        ("1 : 3 : lin : 3", [1, 2, 3]),
    ],
)
def test_numbers_and_ranges(text, values):
    assert read_numbers("learning rates", text) == values


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("0.001 to 1 in 7", "write 0.001:1:log:7"),  # as it was once written
        ("0.1, fast", "such as 0.001, 0.01, or a range such as 1e-3:1e-1:log:5"),
        ("1:2:3", "a range such as 1e-3:1e-1:log:5"),
        ("nan", "such as 0.001"),
        ("", "such as 0.001"),
        ("0:1:log:3", "a logarithmic range lies above 0"),
        ("1:2:lin:0", "1 or more"),
        ("a:1:lin:3", "both ends of a range are numbers"),
        ("1:1e999:lin:3", "both ends of a range are finite"),
        ("1:2:lin:100001", "at most 10,000 values"),
    ],
)
def test_what_cannot_be_read_is_answered_by_what_can(text, right):
    with pytest.raises(LabError, match=r"^learning rates") as refused:
        read_numbers("learning rates", text)
    assert right in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


# Far from where a product of ends overflows or vanishes.
ends = st.floats(1e-100, 1e100)


@given(ends, ends, st.integers(1, 200), st.sampled_from(["log", "lin"]))
def test_any_range_is_numpys(start, stop, count, scale):
    numbers = Range.of(start, stop, scale, count).numbers(digits=17)
    expected = (np.geomspace if scale == "log" else np.linspace)(start, stop, count)
    assert numbers == pytest.approx(list(expected), rel=1e-10)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_read_exactly_as_python_writes_them(numbers):
    assert read_numbers("lr", ", ".join(map(repr, numbers))) == numbers
