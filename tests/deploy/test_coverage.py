from __future__ import annotations

from labkit.deploy.coverage import compare


def test_ranges_that_do_not_fit_are_counted():
    calibrated = {"a": (-1.0, 1.0), "b": (0.0, 4.0), "c": (0.0, 1.0), "d": (0.5, 1.0)}
    seen = {"a": (-1.0, 3.0), "b": (0.0, 1.0), "c": (0.0, 1.05), "d": (0.9, 1.0), "e": (0.0, 1.0)}
    reach = compare(calibrated, seen, 5, "elsewhere")
    assert (reach.tensors, reach.beyond, reach.idle) == (4, 1, 1)
    assert (reach.where, reach.worst) == ("a", 2.0)
    assert "5 images of elsewhere: 1 of 4" in reach.words()
