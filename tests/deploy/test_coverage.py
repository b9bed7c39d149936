from __future__ import annotations

from labkit.deploy.coverage import compare


def test_ranges_that_do_not_fit_are_counted():
    calibrated = {"a": (-1.0, 1.0), "b": (0.0, 4.0), "c": (0.0, 1.0), "d": (0.5, 1.0)}
    seen = {"a": (-1.0, 3.0), "b": (0.0, 1.0), "c": (0.0, 1.05), "d": (0.9, 1.0), "e": (0.0, 1.0)}
    found = compare(calibrated, seen, 5, "elsewhere")
    assert (found.tensors, found.beyond, found.idle) == (4, 1, 1)
    assert (found.where, found.worst) == ("a", 2.0)
    assert "5 images of elsewhere: 1 of 4" in found.words()
    assert "(a 2.0 times as far)" in found.words()


def test_ranges_that_fit():
    found = compare({"a": (-1.0, 1.0)}, {"a": (-1.0, 0.9)}, 64, "cells")
    assert (found.beyond, found.idle, found.worst) == (0, 0, 1.0)
    assert "times as far" not in found.words()


def test_nothing_to_compare():
    found = compare({"a": (0.0, 0.0)}, {"b": (0.0, 1.0)}, 1, "cells")
    assert (found.tensors, found.worst, found.where) == (0, 1.0, "")
