from __future__ import annotations

import json

import numpy as np
import pytest

from labkit.deploy.runtimes.calibration import METHODS, PERCENTILE, Images, observe, read_ranges
from tests.deploy.runtimes import small


def test_min_max_ranges_are_those_of_the_tensors(network):
    ranges = read_ranges(network / "min-max.json")
    for name, values in small.layers(small.images(network)).items():
        np.testing.assert_allclose(ranges[name], (values.min(), values.max()), rtol=1e-4)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"min-max"}))
def test_other_methods_cut_off_outliers_only(network, tmp_path, method):
    file = tmp_path / "ranges.json"
    observe(network / "base.onnx", network / "images.npy", method, file)
    ranges, widest = read_ranges(file), read_ranges(network / "min-max.json")
    for name, values in small.layers(small.images(network)).items():
        low, high = ranges[name]
        step = (widest[name][1] - widest[name][0]) / 100  # their histograms have bins
        assert widest[name][0] - step <= low < high <= widest[name][1] + step
        if method == "percentile":
            cut = (100 - PERCENTILE) / 2
            wanted = np.percentile(values, [cut, 100 - cut])
            np.testing.assert_allclose((low, high), wanted, atol=2 * step)


def test_nothing_is_left_beside_the_network(network):
    assert {file.name for file in network.iterdir()} == {
        "base.onnx", "images.npy", "min-max.json",
    }  # fmt: skip


def test_ranges_that_are_not_finite_are_left_out(network, tmp_path):
    file = tmp_path / "ranges.json"
    plain = (network / "min-max.json").read_text()
    _, high = read_ranges(network / "min-max.json")["silu"]
    table = json.loads(plain)

    def broken(value):
        """The same table with infinity for one number."""
        if isinstance(value, dict):
            return {key: broken(one) for key, one in value.items()}
        if isinstance(value, list):
            return [broken(one) for one in value]
        return float("inf") if isinstance(value, float) and np.float32(value) == high else value

    file.write_text(json.dumps(broken(table)))
    ranges = read_ranges(file)
    assert "silu" not in ranges
    assert "conv1" in ranges


def test_images_are_read_one_at_a_time(network):
    reader = Images(network / "images.npy", "images")
    assert len(reader) == 6
    found = np.concatenate([one["images"] for one in reader])
    np.testing.assert_array_equal(found, small.images(network))
    assert reader.get_next() is None
