"""The canvas: what is hidden, what light passes, and the noise that everything is made of."""

from __future__ import annotations

import numpy as np
import pytest

from labkit.vision.synthetic.sets import canvas as canvas_module
from labkit.vision.synthetic.sets.canvas import SCALE, Canvas, clouds, shrink, smoothstep
from tests.vision.synthetic.drawing import bounds, rng


def test_what_is_in_front_hides_what_is_behind():
    canvas = Canvas(np.zeros((80, 80, 3), np.float32))
    square = np.ones((40, 40), bool)
    for kind, (left, top) in enumerate([(10, 10), (30, 10), (-20, 50)]):
        canvas.blend(np.eye(3, dtype=np.float32)[kind], square.astype(np.float32), left, top)
        canvas.add(kind, square, left, top)
    drawn = canvas.finish(shrink(canvas.image))
    assert drawn.classes.tolist() == [0, 1, 2]
    for kind, box in enumerate(drawn.boxes):
        np.testing.assert_array_equal(box, bounds(drawn.image[..., kind] > 127))


def test_what_shows_too_little_has_no_box():
    canvas = Canvas(np.zeros((80, 80, 3), np.float32))
    square = np.ones((40, 40), bool)
    canvas.add(0, square, 0, 0)
    canvas.add(1, square, -31, 40)  # less than a quarter of it is on the canvas
    assert canvas.hidden_by(square, 9, 0) == pytest.approx(31 / 40)
    canvas.hide(square, 9, 0)
    assert len(canvas.finish(shrink(canvas.image)).boxes) == 0
    assert canvas.hidden_by(square, 50, 40) == 0, "what is hidden already is not hidden by this"


def test_a_filter_takes_light_where_it_lies():
    canvas = Canvas(np.ones((20, 20, 3), np.float32))
    canvas.filter(np.full((10, 10), 0.5, np.float32), -5, 15)
    assert canvas.image[15:, :5].max() == 0.5
    assert canvas.image.sum() == 20 * 20 * 3 - 25 * 3 * 0.5


@pytest.mark.parametrize("octaves", [1, 3])
@pytest.mark.parametrize("shape", [(1, 200), (60, 90)])
def test_clouds_are_standardized_and_as_coarse_as_asked(octaves, shape):
    noise = clouds(rng(0), shape, 10, octaves)
    assert noise.shape == shape
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 1e-3
    assert noise.std() == pytest.approx(1, abs=1e-3)
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert neighbours > 0.8


@pytest.mark.parametrize(("left", "top"), [(3, 2), (-4, 1), (15, -3), (-2, 17), (30, 5)])
def test_a_patch_covers_the_pixels_that_it_has_in_common_with_the_canvas(left, top):
    image = rng(0).random((20, 22, 3), dtype=np.float32)
    colour, alpha = rng(1).random((9, 7, 3), np.float32), rng(2).random((9, 7), np.float32)
    canvas = Canvas(image.copy())
    canvas.blend(colour, alpha, left, top)
    expected = np.pad(image, ((50, 50), (50, 50), (0, 0)))
    place = expected[50 + top : 59 + top, 50 + left : 57 + left]
    place[:] = (1 - alpha[..., None]) * place + alpha[..., None] * colour
    np.testing.assert_allclose(canvas.image, expected[50:-50, 50:-50], atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
def test_coordinates_turn_as_complex_numbers_do(angle):
    x, y = canvas_module.coordinates(7)
    assert (x[0, 0], y[0, 0], x[3, 3], y[3, 3]) == (-3, -3, 0, 0)
    turned_x, turned_y = canvas_module.turned(x, y, angle)
    np.testing.assert_allclose(
        turned_x + 1j * turned_y, (x + 1j * y) * np.exp(-1j * angle), atol=1e-5
    )


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.8, 0.2)])
def test_a_smooth_step_goes_from_zero_to_one_with_level_ends(low, high):
    x = np.linspace(low - (high - low), high + (high - low), 3001)
    y = smoothstep(low, high, x)
    share = np.linspace(-1, 2, 3001)
    assert (y[share <= 0] == 0).all()
    assert (y[share >= 1] == 1).all()
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(y + y[::-1], 1, atol=1e-9)
    slope = np.gradient(y, share)
    assert slope.max() == pytest.approx(1.5, rel=1e-3)  # of 3 t² - 2 t³, in the middle
    assert slope[np.abs(share) < 1e-3].max() < 0.01


def test_a_wave_closes_and_has_no_mean():
    angle = np.linspace(-np.pi, np.pi, 721)
    line = canvas_module.wave(rng(4), angle, 0.2, range(2, 6))
    assert line[0] == pytest.approx(line[-1], abs=1e-5)
    spectrum = np.abs(np.fft.rfft(line[:-1])) / 360
    assert (spectrum[2:6] > 1e-4).all()
    assert spectrum[[0, 1]].max() < 1e-6
    assert spectrum[6:].max() < 1e-6


def test_places_reach_over_the_edge_by_the_share_and_no_further():
    generator = rng(0)
    places = np.array([canvas_module.somewhere(generator, 100, 20, 0.25) for _ in range(500)])
    assert places.min() == -4  # int() drops the fraction of -5 to -4
    assert places.max() == 84


def test_shrinking_takes_the_mean_of_each_block():
    image = rng(0).random((12, 12, 3), dtype=np.float32)
    blocks = image.reshape(12 // SCALE, SCALE, 12 // SCALE, SCALE, 3).mean((1, 3))
    np.testing.assert_allclose(shrink(image), blocks, atol=1e-6)


@pytest.mark.parametrize("light", [0.1, 0.4, 1.0])
def test_noise_grows_with_the_square_root_of_light(light):
    image = np.full((200, 200, 3), light, np.float32)
    noise = canvas_module.sensor(rng(0), image, blur=0.0, noise=0.05) - image
    assert noise.std() == pytest.approx(0.05 * np.sqrt(light), rel=0.02)
    assert abs(noise.mean()) < 1e-3
