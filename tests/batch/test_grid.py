"""Grids: which runs come of values, options and files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from labkit.batch.assignments import assignments
from labkit.batch.grid import EXAMPLE, KEYS, GridSpec, grid, read_grid, read_options, replaced
from labkit.core.errors import FileError, LabError

KNOWN = assignments("optimizer = 'sgd'\nlr = 0.1\nsteps = 10\nhidden = [8]\nseed = 0")

# --- in Python -------------------------------------------------------------------------


def test_every_combination_the_last_varies_fastest():
    runs = grid(lr=[0.1, 0.01], seed=range(3))
    assert runs == [{"lr": lr, "seed": seed} for lr in (0.1, 0.01) for seed in range(3)]
    assert list(runs[0]) == ["lr", "seed"]


def test_nothing_to_vary_is_one_run():
    assert grid() == [{}]


def test_numbers_of_numpy_and_torch_become_plain():
    runs = grid(lr=np.logspace(-3, -1, 3), seed=torch.arange(2), on=np.array([True]))
    assert {type(value) for run in runs for value in run.values()} == {float, int, bool}
    assert [run["lr"] for run in runs[::2]] == pytest.approx([1e-3, 1e-2, 1e-1])


def test_lists_and_texts_are_values_like_others():
    assert grid(hidden=[[8, 8], [16]]) == [{"hidden": [8, 8]}, {"hidden": [16]}]
    assert grid(init=("zeros", "ones")) == [{"init": "zeros"}, {"init": "ones"}]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"lr": 0.1}, r"lr=0.1 is no list of values: give lr=\[0.1\]"),
        ({"init": "zeros"}, r"give init=\['zeros'\]"),
        ({"places": {"a": 1}}, "is no list of values"),
        ({"lr": []}, "lr has no values"),
        ({"seed": range(0)}, "seed has no values"),
    ],
)
def test_what_is_no_list_of_values(values, why):
    with pytest.raises(LabError, match=why):
        grid(**values)


def test_a_grid_that_is_probably_a_mistake_is_not_even_made():
    """A billion runs are refused at once."""
    with pytest.raises(LabError, match=r"1,000,000,000 runs are more than 10,000.*--most 10000000"):
        grid(a=range(1000), b=range(1000), c=range(1000))
    with pytest.raises(LabError, match="4 runs are more than 3"):
        grid(most=3, a=range(4))
    assert len(grid(most=10_001, a=range(10_001))) == 10_001


# --- the command line ------------------------------------------------------------------


def test_options_are_a_product_with_the_seeds_last():
    choices = read_options(["optimizer=sgd,adam", "lr=1e-3:1e-1:log:3", "optimizer=lion"], 2)
    expected = itertools.product(["sgd", "adam", "lion"], [0.001, 0.01, 0.1], [0, 1])
    runs = choices.expand(KNOWN)
    assert [tuple(run.values()) for run in runs] == list(expected)
    assert list(runs[0]) == ["optimizer", "lr", "seed"]
    assert choices.names == ["optimizer", "lr", "seed"]


def test_values_have_the_type_of_the_default():
    (run,) = read_options(["lr=1", "steps=3", "optimizer=3", "hidden=4"]).expand(KNOWN)
    assert run == {"lr": 1.0, "steps": 3, "optimizer": "3", "hidden": [4]}
    assert type(run["lr"]) is float


def test_a_value_may_hold_what_separates():
    (run,) = read_options(["optimizer=a = b"]).expand(KNOWN)
    assert run == {"optimizer": "a = b"}


def test_no_options_are_one_run():
    assert read_options([]).expand(KNOWN) == [{}]


@pytest.mark.parametrize(
    ("options", "seeds", "why"),
    [
        (["lr"], None, "-p lr: write NAME=VALUE, as in -p lr=0.1"),
        (["seed=1,2"], 3, "give --seeds 3 or -p seed=1,2, not both"),
        ([], 0, "seeds=0 is not allowed: give how many, 1 or more"),
    ],
)
def test_options_that_say_nothing(options, seeds, why):
    with pytest.raises(LabError, match=why):
        read_options(options, seeds)


def test_all_that_cannot_be_read_is_said_at_once():
    choices = read_options(["lr=x", "steps=1:2:lin:0", "hidden=a;b", "optimizer=fine"])
    with pytest.raises(LabError) as refused:
        choices.expand(KNOWN)
    lines = str(refused.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["lr", "steps", "hidden"]


def test_what_a_notebook_does_not_know_is_left_out():
    choices = read_options(["lr=0.1,0.2", "depth=3"], seeds=2)
    assert choices.expand(assignments("lr = 0.5")) == [{"lr": 0.1}, {"lr": 0.2}]


def test_more_runs_than_meant():
    with pytest.raises(LabError, match="20,000 runs are more than 10,000"):
        read_options(["lr=1:2:lin:10000"], seeds=2).expand(KNOWN)
    assert len(GridSpec({"lr": ["1:2:lin:4"]}, most=4).expand(KNOWN)) == 4


# --- a file ----------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        return path

    return write


def test_the_example_says_what_its_comments_do(write):
    choices = read_grid(write(EXAMPLE))
    runs = choices.expand(KNOWN)
    assert set(yaml.safe_load(EXAMPLE)) == set(KEYS)
    assert [path.name for path in choices.notebooks] == ["04_optimizers.ipynb"]
    # The first run leaves the five rates open, the second does not; seeds for both.
    assert len(runs) == 2 * 5 * 3 + 2 * 3
    assert sum(run["steps"] == 1000 for run in runs) == 6
    assert {run["lr"] for run in runs if run["steps"] == 1000} == {0.01}
    assert {run["seed"] for run in runs} == {0, 1, 2}
    assert len({tuple(sorted(run.items())) for run in runs}) == len(runs)


def test_notebooks_lie_beside_the_file(write):
    path = write("notebooks: [a.ipynb, sub/b.ipynb, /c.ipynb]")
    assert read_grid(path).notebooks == [
        path.parent / "a.ipynb",
        path.parent / "sub" / "b.ipynb",
        Path("/c.ipynb"),
    ]
    assert read_grid(write("notebooks: a.ipynb")).notebooks == [path.parent / "a.ipynb"]


def test_yaml_reads_a_rate_as_text_and_it_is_a_number_all_the_same(write):
    assert yaml.safe_load("1e-3") == "1e-3"
    text = "parameters: {lr: 1e-3}\nruns: [{steps: 5}, {lr: 1e-2}]"
    assert read_grid(write(text)).expand(KNOWN) == [{"steps": 5, "lr": 0.001}, {"lr": 0.01}]


def test_runs_alone(write):
    text = "runs:\n  - {lr: 0.1, optimizer: sgd}\n  - {lr: 0.2, optimizer: adam}"
    assert read_grid(write(text)).expand(KNOWN) == [
        {"lr": 0.1, "optimizer": "sgd"},
        {"lr": 0.2, "optimizer": "adam"},
    ]


def test_options_replace_what_the_file_says(write):
    file = read_grid(
        write("parameters: {lr: [0.1, 0.2], steps: 5}\nseeds: 3\nruns: [{optimizer: sgd}]")
    )
    found = replaced(file, read_options(["lr=0.5", "optimizer=adam,lion"], 1)).expand(KNOWN)
    assert [run["optimizer"] for run in found] == ["adam", "lion"]
    assert all(run["lr"] == 0.5 and run["steps"] == 5 and run["seed"] == 0 for run in found)
    assert len(replaced(file, read_options([])).expand(KNOWN)) == 6
    by_seed = replaced(file, read_options(["seed=7"])).expand(KNOWN)
    assert {run["seed"] for run in by_seed} == {7}
    seeds = read_grid(write("parameters: {seed: [5, 6]}"))
    assert replaced(seeds, read_options([], 1)).expand(KNOWN) == [{"seed": 0}]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("notebook: a.ipynb", ["'notebook' is not known: did you mean 'notebooks'?"]),
        ("seed: 3", ["'seed' is not known: did you mean 'seeds'?"]),
        ("1: 2", ["1 is not known"]),
        ("- a", ["is no grid: it needs some of notebooks, parameters, seeds, runs"]),
        ("", ["is no grid"]),
        ("text", ["is no grid"]),
        ("parameters: [lr]", ["parameters: give names with values"]),
        ("runs: {lr: 1}", ["runs: give a list of names with values"]),
        ("runs: [1]", ["runs: give a list of names with values"]),
        ("notebooks: [1]", ["notebooks: give a list of paths"]),
        ("seeds: many", ["seeds='many' is not allowed"]),
        ("seeds: 0", ["seeds=0 is not allowed"]),
        ("seeds: true", ["seeds=True is not allowed"]),
        ("seeds: 3\nparameters: {seed: 1}", ["give seeds or parameters.seed, not both"]),
        ("parameters: {lr: [0.1", ["is not YAML: line 1"]),
        ("a: b: c", ["is not YAML: line 1"]),
        ("a: !!python/object/apply:os.system [true]", ["is not YAML: line 1", "python/object"]),
        ("a: \x00", ["is not YAML"]),
        ("[" * 5000, ["is not YAML"]),
        ("para: 1\nseeds: x\nruns: 1", ["'para' is not known", "seeds='x'", "runs: give"]),
    ],
)
def test_a_file_that_says_something_else(text, parts, write):
    path = write(text)
    with pytest.raises(FileError) as refused:
        read_grid(path)
    message = str(refused.value)
    assert all(line.startswith(str(path)) for line in message.splitlines())
    for part in parts:
        assert part in message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="is not there"):
        read_grid(tmp_path / "grid.yaml")
