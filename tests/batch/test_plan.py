"""From notebooks and grids to jobs: what is run, and everything that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.batch.grid import GridSpec, grid, read_options
from labkit.batch.job import Limits, identify
from labkit.batch.plan import plan
from labkit.batch.source import read_source
from labkit.core.errors import LabError
from labkit.recipe.recipe import Recipe
from tests.batch.notebooks import make

SERIES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def write(tmp_path):
    """Write a notebook with these parameters and give its path."""

    def write(name: str, parameters: str, *sources: str, **metadata) -> Path:
        path = tmp_path / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        content = json.loads(make(*sources, parameters=parameters))
        content["metadata"] |= metadata
        path.write_text(json.dumps(content))
        return path

    return write


def values(jobs) -> list[dict]:
    return [job.parameters for job in jobs]


def refusal(*given, **options) -> list[str]:
    with pytest.raises(LabError) as refused:
        plan(*given, **options)
    return str(refused.value).splitlines()


# --- what is run -----------------------------------------------------------------------


def test_a_job_is_all_that_a_worker_needs(write):
    path = write("one", "x = 1\ninteractive = True")
    limits = Limits(cell_seconds=3)
    (job,) = plan(path, [{"x": 5}], kernel="plain", threads=2, limits=limits, report_mode=True)
    assert job.notebook == path.read_bytes()
    assert job.name == "one"
    assert job.parameters == {"x": 5, "interactive": False}
    assert job.id == identify("one", path.read_bytes(), {"x": 5, "interactive": False})
    assert (job.kernel, job.threads, job.report_mode, job.limits) == ("plain", 2, True, limits)
    assert job.folder is None


def test_a_grid_is_planned_in_its_order(write):
    path = write("one", "x = 1\ny = 0.5")
    assert values(plan(path, grid(x=[1, 2], y=[3]))) == [{"x": 1, "y": 3.0}, {"x": 2, "y": 3.0}]
    assert values(plan(path)) == [{}]
    assert values(plan(path, (run for run in [{"x": 3}]))) == [{"x": 3}]


def test_interactive_may_be_asked_for(write):
    path = write("one", "interactive = True")
    assert values(plan(path, [{}, {"interactive": True}])) == [
        {"interactive": False},
        {"interactive": True},
    ]


def test_what_is_asked_for_twice_is_run_once(write):
    path, notes = write("one", "x = 1.0\ny = ''"), []
    options = read_options(["x=0.1,0.10,1e-1,0.2", "y=a"])
    assert values(plan([path, str(path)], options, on_note=notes.append)) == [
        {"x": 0.1, "y": "a"},
        {"x": 0.2, "y": "a"},
    ]
    assert notes == ["4 runs requested, 2 of them duplicates: duplicates run once"]


def test_the_order_of_values_makes_no_other_run(write):
    path = write("one", "x = 1\ny = 2\nz = 3", labkit={"fast": {"y": 5}})
    (one,) = plan(path, read_options(["z=4", "x=6"]), fast=True)
    (same,) = plan(path, [{"x": 6, "y": 5, "z": 4}])
    assert one == same
    assert list(one.parameters) == ["x", "y", "z"]


def test_text_may_be_taken_as_it_is(write):
    path = write("one", "x = None")
    assert values(plan(path, [{"x": "3"}])) == [{"x": 3}]
    assert values(plan(path, [{"x": "3"}], text=False)) == [{"x": "3"}]
    assert values(plan(path, read_options(['x="3"']))) == [{"x": "3"}]


# --- several notebooks -----------------------------------------------------------------


def test_a_folder_stands_for_its_notebooks(write, tmp_path):
    for name in ("b", "a", ".hidden", "c-checkpoint"):
        write(name, "x = 1")
    write("sub/d", "x = 1")
    write(".ipynb_checkpoints/a-checkpoint", "x = 1")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "folder.ipynb").mkdir()
    assert [job.name for job in plan(tmp_path)] == ["a", "b"]
    assert [job.name for job in plan([tmp_path / "b.ipynb", tmp_path])] == ["b", "a"]


def test_each_notebook_takes_the_parameters_that_it_has(write):
    write("a", "lr = 0.1\nseed = 0")
    folder, notes = write("b", "steps = 3").parent, []
    jobs = plan(folder, read_options(["lr=1,2"], seeds=2), on_note=notes.append)
    assert [(job.name, job.parameters) for job in jobs] == [
        ("a", {"lr": 1.0, "seed": 0}),
        ("a", {"lr": 1.0, "seed": 1}),
        ("a", {"lr": 2.0, "seed": 0}),
        ("a", {"lr": 2.0, "seed": 1}),
        ("b", {}),
    ]
    assert notes == [f"{folder / 'b.ipynb'} has no parameter lr, seed: it runs without"]
    by_dicts = plan(folder, grid(lr=[1, 2], seed=range(2)))
    assert [job.id for job in by_dicts] == [job.id for job in jobs]


def test_each_notebook_reads_a_text_by_its_own_default(write):
    write("a", "x = 1.0")
    folder = write("b", "x = 'text'").parent
    assert values(plan(folder, read_options(["x=1,2"]))) == [
        {"x": 1.0},
        {"x": 2.0},
        {"x": "1"},
        {"x": "2"},
    ]


def test_a_parameter_that_no_notebook_has(write):
    write("a", "lr = 0.1")
    folder = write("b", "steps = 3").parent
    (line,) = refusal(folder, read_options(["stepz=1"]))
    assert line == (
        "'stepz' is not a parameter of any of these notebooks: did you mean 'steps'? "
        "Known: lr, steps."
    )


def test_seeds_need_a_seed(write):
    (line,) = refusal(write("a", "lr = 0.1"), read_options([], seeds=3))
    assert line == "'seed' is not a parameter of this notebook. Known: lr."


# --- what is wrong ---------------------------------------------------------------------


def test_all_problems_of_all_notebooks_are_one_error(write, tmp_path):
    write("a", "lr = 0.1")
    write("b", "lr = 'text'")
    write("c", "lr = 1")
    (tmp_path / "d.ipynb").write_text("hello")
    gone, empty = tmp_path / "gone.ipynb", tmp_path / "empty"
    empty.mkdir()
    lines = refusal([tmp_path, gone, empty], read_options(["lr=x"]))
    assert [line.removeprefix(f"{tmp_path}/")[:11] for line in lines] == [
        "d.ipynb is ",
        "gone.ipynb ",
        "empty is a ",
        "a.ipynb: lr",
        "c.ipynb: lr",
    ]
    assert lines[2].endswith("is a folder without notebooks: there is no *.ipynb in it")


def test_one_slip_in_many_runs_is_said_once(write):
    path = write("a", "x = 1\ny = 1")
    (line,) = refusal(path, grid(x=["no"], y=range(1000)))
    assert line.startswith("x='no' is not allowed")


def test_of_very_many_problems_the_first_are_told(write):
    lines = refusal(write("a", "x = 1"), [{"x": f"no{i}"} for i in range(5000)])
    assert len(lines) == 31
    assert lines[-1] == "… and 4,970 more like these"


def test_no_parameters_cell(write, tmp_path):
    path = write("a", "x = 1")
    path.write_text(path.read_text().replace('"parameters"', '"other"'))
    (line,) = refusal(path)
    assert line.startswith(f"{path} has no cell tagged 'parameters'")


def test_the_most_runs_are_of_all_notebooks_together(write):
    write("a", "x = 1")
    folder = write("b", "x = 1").parent
    choices = GridSpec({"x": ["1,2,3"]}, most=5)
    assert refusal(folder, choices) == [
        "6 runs are more than 5: give fewer values, or most=6 (--most 6) if you mean it"
    ]


def test_a_recipe_is_checked_where_labkit_is_used(write):
    parameters = "optimizer = 'adam'\nlr = 0.1"
    given = read_options(["optimizer=adam,shampoo", "lr=1,1e6"])
    assert len(plan(write("foreign", parameters, "import torch"), given)) == 4
    own = write("own", parameters, "import labkit")
    assert [line.split(" ")[0] for line in refusal(own, given)] == [
        "lr=1000000.0",
        "optimizer='shampoo'",
    ]


# --- fast runs -------------------------------------------------------------------------


def test_fast_values_are_for_what_is_not_given(write):
    path = write("a", "steps = 1000\nlr = 0.1\nx = 0", labkit={"fast": {"steps": 5, "lr": 1}})
    assert values(plan(path, read_options(["x=1,2", "lr=0.5"]), fast=True)) == [
        {"steps": 5, "lr": 0.5, "x": 1},
        {"steps": 5, "lr": 0.5, "x": 2},
    ]
    assert values(plan(path, fast=True)) == [{"steps": 5, "lr": 1.0}]
    assert values(plan(path)) == [{}]


def test_a_notebook_without_fast_values_runs_as_it_is_and_says_so(write):
    write("a", "x = 1", labkit={"fast": {}})
    path, notes = write("b", "x = 1"), []
    assert values(plan(path.parent, fast=True, on_note=notes.append)) == [{}, {}]
    assert notes == [f"{path} has no values for a fast run: it runs with its own"]


def test_fast_values_are_checked_like_others(write):
    path = write("a", "steps = 10", labkit={"fast": {"steps": "few", "stepz": 1}})
    lines = refusal(path, fast=True)
    assert len(lines) == 2
    assert all(line.startswith("its values for a fast run: ") for line in lines)


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)
def test_the_series_has_values_for_a_fast_run(path):
    source = read_source(path)
    assert source.uses_labkit
    assert source.fast is not None
    (job,) = plan(path, fast=True, on_note=pytest.fail)
    assert job.parameters == {**source.fast, "interactive": False}
    # Fast means fewer, or as many. (Of bits it is 8, which notebook 10 trains for in any case.)
    for name, value in source.fast.items():
        if name == "qat_bits":
            continue
        default = source.parameters[name].default
        size = len if isinstance(value, list) else float
        assert size(value) <= size(default), name


def test_own_notebooks_have_literal_parameters_that_a_recipe_takes():
    for path in SERIES:
        for name, parameter in read_source(path).parameters.items():
            json.dumps(parameter.default)  # fails where it is unknown
            if name in Recipe.model_fields:
                assert parameter.types, name
