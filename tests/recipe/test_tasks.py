from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from labkit.core.errors import RecipeError
from labkit.recipe import tasks
from labkit.recipe.tasks import TASKS, VALIDATION_SHARE, load, task

PLANAR = ["spiral", "moons", "circles", "xor", "blobs"]
MANY = 6000


def largest(name: str) -> int:
    return min(MANY, TASKS[name].traits["largest"])


def together(data) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of both splits as float64 and int or float arrays."""
    inputs = torch.cat([data.val_inputs, data.train_inputs]).double().numpy()
    targets = torch.cat([data.val_targets, data.train_targets]).numpy()
    return inputs, targets


@pytest.mark.parametrize("name", TASKS)
def test_shapes_and_types(name):
    entry = TASKS[name]
    data = load(name, 40, entry.traits["noise"])
    for inputs, targets in [
        (data.train_inputs, data.train_targets),
        (data.val_inputs, data.val_targets),
    ]:
        assert inputs.dtype == torch.float32
        assert tuple(inputs.shape[1:]) == data.input_shape
        assert torch.isfinite(inputs).all()
        if data.kind == "classification":
            assert targets.dtype == torch.int64
            assert targets.shape == (len(inputs),)
            assert 0 <= int(targets.min()) <= int(targets.max()) < data.classes
            assert data.outputs == data.classes == entry.traits["classes"]
        else:
            assert targets.dtype == torch.float32
            assert targets.shape == (len(inputs), 1)
            assert (data.classes, data.outputs) == (0, 1)
    assert data.planar == (data.input_shape == (2,)) == (name in PLANAR)
    assert (len(data.input_shape) == 3) == entry.traits["image"]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("samples", [10, 11, 37, 500])
def test_as_many_samples_as_asked_for_three_tenths_held_out(name, samples):
    data = load(name, samples, 0.1)
    assert len(data.val_inputs) == len(data.val_targets) == round(0.3 * samples)
    assert len(data.train_inputs) == len(data.train_targets) == samples - round(0.3 * samples)
    assert VALIDATION_SHARE == 0.3


@pytest.mark.parametrize("name", TASKS)
def test_the_same_arguments_give_the_same_tensors_and_others_do_not(name):
    one = together(load(name, 50, 0.1, 3))
    tasks._make.cache_clear()  # else the second would be the first itself
    two = together(load(name, 50, 0.1, 3))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    for other in [(name, 50, 0.1, 4), (name, 50, 0.2, 3)]:
        values = together(load(*other))
        assert not (np.array_equal(one[0], values[0]) and np.array_equal(one[1], values[1]))


@pytest.mark.parametrize("name", TASKS)
def test_no_global_randomness(name, global_rng_untouched):
    tasks._make.cache_clear()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    load(name, 30, 0.1, 5)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", [n for n, e in TASKS.items() if e.traits["classes"]])
def test_classes_are_balanced_in_both_splits(name):
    data = load(name, largest(name), 0.1)
    for split in (data.train_targets, data.val_targets):
        shares = torch.bincount(split, minlength=data.classes) / len(split)
        assert shares.min() > 0.7 / data.classes, shares
        assert shares.max() < 1.3 / data.classes, shares


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_noise_has_its_unit(name, noise):
    """The same seed with and without noise differ by normal noise of that deviation."""
    clean, noisy = (together(load(name, largest(name), level, 1)) for level in (0.0, noise))
    column = 1 if TASKS[name].traits["noise_unit"].endswith("targets") else 0
    difference = noisy[column] - clean[column]
    assert np.array_equal(noisy[1 - column], clean[1 - column]), "noise reached the other side"
    assert difference.std() == pytest.approx(noise, rel=0.04)
    assert abs(difference.mean()) < 0.05 * noise
    kurtosis = (difference**4).mean() / difference.var() ** 2
    assert kurtosis == pytest.approx(3, abs=0.25), "normal noise"


def test_spiral_is_two_arms_of_one_and_three_quarter_turns():
    points, label = together(load("spiral", 400, 0.0))
    radius = np.hypot(*points.T)
    angle = radius * 1.75 * 2 * np.pi + label * np.pi
    curve = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    assert np.allclose(points, curve, atol=1e-5)
    assert 0.05 <= radius.min() < 0.1 < 0.95 < radius.max() <= 1.0


def test_moons_are_half_circles():
    points, label = together(load("moons", 400, 0.0))
    x, y = (points * 1.25 + [0.5, 0.25]).T
    upper, lower = label == 0, label == 1
    assert np.allclose(np.hypot(x, y)[upper], 1, atol=1e-6)
    assert np.allclose(np.hypot(x - 1, y - 0.5)[lower], 1, atol=1e-6)
    assert y[upper].min() > -1e-6
    assert y[lower].max() < 0.5 + 1e-6


def test_circles_have_radius_one_and_one_half():
    points, label = together(load("circles", 400, 0.0))
    assert np.allclose(np.hypot(*points.T), np.where(label, 0.5, 1.0), atol=1e-6)


def test_xor_is_the_sign_of_the_product():
    points, label = together(load("xor", 400, 0.0))
    assert np.array_equal(label, (points[:, 0] * points[:, 1] > 0).astype(int))
    assert np.abs(points).max() <= 1


def test_blobs_are_three_clouds_on_a_triangle():
    points, label = together(load("blobs", 300, 0.0))
    centers = np.array([points[label == k].mean(axis=0) for k in range(3)])
    assert np.allclose(points, centers[label], atol=1e-6)
    assert np.allclose(np.hypot(*centers.T), 0.7, atol=1e-6)
    sides = np.linalg.norm(centers - np.roll(centers, 1, axis=0), axis=1)
    assert np.allclose(sides, 0.7 * np.sqrt(3), atol=1e-6)


def test_regression_follows_its_curve():
    x, y = together(load("regression", 300, 0.0))
    assert np.allclose(y, np.sin(3 * x) + x / 2, atol=1e-6)
    assert np.abs(x).max() <= 1.5


@pytest.mark.parametrize("seed", [0, 1])
def test_digits_are_scikit_learns_each_once(seed):
    original = load_digits()
    data = load("digits", 1797, 0.0, seed)
    pictures, labels = together(data)
    assert (len(data.val_inputs), len(data.train_inputs)) == (539, 1258)
    rows = np.column_stack([pictures.reshape(-1, 64) * 16, labels])
    known = np.column_stack([original.data, original.target])
    assert sorted(rows.tolist()) == sorted(known.tolist())


def test_some_digits_are_real_ones_without_repeats():
    original = load_digits()
    known = {(*row, label) for row, label in zip(original.data, original.target, strict=True)}
    assert len(known) == 1797, "the originals are all different"
    pictures, labels = together(load("digits", 100, 0.0))
    rows = pictures.reshape(-1, 64) * 16
    chosen = {(*row, label) for row, label in zip(rows, labels, strict=True)}
    assert len(chosen) == 100
    assert chosen <= known


def test_data_moves_to_a_device():
    data = load("blobs", 30, 0.1)
    moved = data.to("meta")
    assert (moved.kind, moved.classes, moved.input_shape) == (data.kind, 3, (2,))
    assert all(
        getattr(moved, name).device.type == "meta"
        for name in ("train_inputs", "train_targets", "val_inputs", "val_targets", "mislabelled")
    )


# --- spoiled training samples ----------------------------------------------------------

CLASSIFIED = [name for name, entry in TASKS.items() if entry.traits["classes"]]
SPOILT = {"train_share": 0.3, "label_noise": 0.25}


def rows(inputs: torch.Tensor, *more: torch.Tensor) -> list[tuple]:
    """Samples as tuples, so that sets of them can be compared."""
    columns = [inputs.flatten(1), *(item.reshape(len(item), -1) for item in more)]
    return [tuple(row) for row in torch.cat(columns, 1).tolist()]


@pytest.mark.parametrize("name", TASKS)
def test_validation_stays_whole_and_true(name):
    whole = load(name, 200, 0.1, 2)
    missing = "class" if name in CLASSIFIED else "region"
    noise = 0.5 if name in CLASSIFIED else 0.0
    spoilt = load(name, 200, 0.1, 2, train_share=0.2, label_noise=noise, missing=missing)
    assert torch.equal(spoilt.val_inputs, whole.val_inputs)
    assert torch.equal(spoilt.val_targets, whole.val_targets)
    assert len(spoilt.train_inputs) < 0.3 * len(whole.train_inputs)
    assert set(rows(spoilt.train_inputs)) <= set(rows(whole.train_inputs))


@pytest.mark.parametrize("name", TASKS)
def test_a_share_is_part_of_every_larger_one(name):
    before: set[tuple] = set()
    for share in (0.01, 0.1, 0.33, 0.8, 1.0):
        data = load(name, 300, 0.1, train_share=share)
        now = rows(data.train_inputs, data.train_targets)
        assert len(now) == round(210 * share)
        assert before <= set(now)
        before = set(now)
    assert len(load(name, 10, 0.1, train_share=0.01).train_inputs) == 1, "one sample at least"


@pytest.mark.parametrize("name", CLASSIFIED)
def test_a_share_of_the_labels_is_wrong(name):
    whole = load(name, 400, 0.1, 5)
    before = torch.zeros(280, dtype=torch.bool)
    for share in (0.0, 0.1, 0.45, 1.0):
        data = load(name, 400, 0.1, 5, label_noise=share)
        assert torch.equal(data.train_inputs, whole.train_inputs)
        assert torch.equal(data.mislabelled, data.train_targets != whole.train_targets)
        assert data.mislabelled.sum() == round(280 * share)
        assert not (before & ~data.mislabelled).any(), "less noise is part of more"
        before = data.mislabelled
        assert 0 <= int(data.train_targets.min()) <= int(data.train_targets.max()) < data.classes


def test_each_other_class_is_as_likely_a_wrong_label():
    truth = load("blobs", 15_000, 0.1).train_targets
    wrong = load("blobs", 15_000, 0.1, label_noise=1.0).train_targets
    counts = torch.bincount((wrong - truth) % 3, minlength=3)
    assert counts[0] == 0
    assert counts[1] / counts.sum() == pytest.approx(0.5, abs=0.02)  # 2 deviations: 0.01


def test_wrong_labels_come_with_the_data_seed():
    one, two = (load("moons", 200, 0.1, seed, label_noise=0.3).mislabelled for seed in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", CLASSIFIED)
def test_the_missing_class_is_the_first_and_only_that(name):
    whole, data = load(name, 300, 0.1), load(name, 300, 0.1, missing="class")
    kept = whole.train_targets != 0
    assert torch.equal(data.train_inputs, whole.train_inputs[kept])
    assert torch.equal(data.train_targets, whole.train_targets[kept])
    assert 0 in data.val_targets


@pytest.mark.parametrize("name", PLANAR)
def test_the_missing_region_of_a_plane_is_its_upper_right_quarter(name):
    whole, data = load(name, 300, 0.1), load(name, 300, 0.1, missing="region")
    inside = [x > 0 and y > 0 for x, y in whole.train_inputs.tolist()]
    assert sum(inside) > 20
    assert len(data.train_inputs) == len(whole.train_inputs) - sum(inside)
    assert (data.train_inputs.min(dim=1).values <= 0).all()


def test_the_missing_region_of_a_line_is_its_middle_third():
    whole, data = load("regression", 600, 0.1), load("regression", 600, 0.1, missing="region")
    assert whole.train_inputs.abs().max() == pytest.approx(1.5, abs=0.02)
    assert data.train_inputs.abs().min() == pytest.approx(0.5, abs=0.02)
    assert 0.6 < len(data.train_inputs) / len(whole.train_inputs) < 0.73


def test_what_is_missing_counts_neither_for_the_share_nor_for_the_labels():
    kept = load("blobs", 300, 0.1, missing="class").train_inputs
    data = load("blobs", 300, 0.1, missing="class", **SPOILT)
    assert torch.equal(data.train_inputs, kept[: round(0.3 * len(kept))])
    assert data.mislabelled.sum() == round(0.25 * len(data.train_inputs))
    assert 0 in data.train_targets, "a wrong label may be any other class, the missing one too"


@pytest.mark.parametrize(
    ("name", "spoilt", "message"),
    [
        ("regression", {"label_noise": 0.1}, "label_noise=0.1 is not .* For noisy targets use no"),
        ("regression", {"missing": "class"}, "missing='class' is .* Use missing='region'"),
        ("digits", {"missing": "region"}, "missing='region' is .* Use missing='class'"),
    ],
)
def test_samples_that_cannot_be_spoilt_so(name, spoilt, message):
    with pytest.raises(RecipeError, match=message):
        load(name, 50, 0.1, **spoilt)


def test_a_region_of_more_than_a_plane_is_refused(enter):
    enter(TASKS, "cube", samples=50, noise=0.0, classes=0, image=False, kind="regression")(
        lambda samples, noise, rng: (rng.uniform(size=(samples, 3)), np.zeros(samples))
    )
    with pytest.raises(RecipeError, match=r"'cube' has inputs of shape \(3,\). Use a task with"):
        load("cube", 50, 0.0, missing="region")


def test_nothing_left_to_train_on(enter):
    enter(TASKS, "alike", samples=50, noise=0.0, classes=2, image=False, kind="classification")(
        lambda samples, noise, rng: (np.ones((samples, 2)), np.zeros(samples))
    )
    for missing in ("class", "region"):
        with pytest.raises(RecipeError, match=f"missing='{missing}' leaves no training sample"):
            load("alike", 50, 0.0, missing=missing)


def test_an_unknown_task():
    with pytest.raises(RecipeError, match=r"task='sprial' is not known: did you mean 'spiral'\?"):
        load("sprial", 10, 0.0)


def test_a_task_registered_anew_gives_its_new_data():
    """In a notebook one corrects a task and runs the cell again."""
    for value in (1.0, 2.0):
        task("homemade", samples=10, noise=0.0)(
            lambda samples, noise, rng, value=value: (
                np.full((samples, 1), value),
                np.zeros(samples),
            )
        )
        try:
            assert load("homemade", 10, 0.0).train_inputs.unique().tolist() == [value]
        finally:
            TASKS.unregister("homemade")
