from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from labkit.figures import filter_images
from labkit.panels.live_figure import pack


def tiles(spec, count: int) -> np.ndarray:
    """The colours in the middle of each filter's cells, `(filters, 2, 2, 3)`, and opacity."""
    picture = np.array(spec["data"][0]["z"])
    side = 12
    columns = (picture.shape[1] + 1) // (side + 1)
    found = []
    for k in range(count):
        top, left = (k // columns) * (side + 1), (k % columns) * (side + 1)
        found.append(picture[top + 3 : top + 12 : 6, left + 3 : left + 12 : 6])
    return np.array(found)


def test_a_filter_has_the_colours_that_it_responds_to():
    values = np.zeros((5, 3, 2, 2))
    values[0, 0, 0, 0] = 2.0  # more red
    values[1, 2, 1, 1] = -0.5  # less blue
    values[2] = 1.0
    spec = filter_images.spec(values, name="model.0.conv.weight")
    go.Figure(spec)
    pack(spec)
    found = tiles(spec, 5)
    assert found[0, 0, 0].tolist() == [255, 128, 128, 255]
    assert found[1, 1, 1].tolist() == [128, 128, 0, 255]
    assert (found[2] == 255).all()
    assert (found[3:, :, :, :3] == 128).all()


def test_between_filters_the_page_shows():
    picture = np.array(filter_images.spec(np.ones((2, 3, 3, 3)))["data"][0]["z"])
    assert picture.shape == (12, 25, 4)
    assert (picture[:, 12, 3] == 0).all()
    assert (np.delete(picture, 12, axis=1)[:, :, 3] == 255).all()


def test_other_numbers_of_colours_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 1, 3, 3\)"):
        filter_images.spec(np.ones((4, 1, 3, 3)))


def test_the_hover_text_of_a_filter_gives_its_norm_and_largest_weight():
    values = np.random.default_rng(0).normal(size=(7, 3, 3, 3))
    values[4, 1, 2, 0] = np.nan
    text = np.array(filter_images.spec(values)["data"][0]["text"])
    for k, weights in enumerate(np.nan_to_num(values)):
        norm, largest = np.sqrt(np.sum(weights**2)), np.abs(weights).max()
        words = f"filter {k}<br>norm {norm:.4g}<br>largest weight {largest:.4g}"
        assert (text == words).sum() >= 12 * 12, "over the whole tile"
