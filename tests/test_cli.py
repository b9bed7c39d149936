"""The command line: each command does its work, and a slip is answered in one line."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

import labkit
from labkit import lab
from labkit.cli import main
from labkit.gradients.losses import LOSSES
from labkit.history import History
from labkit.machine import PACKAGES
from labkit.parameters import parameters
from labkit.recipe import REGISTRIES, Recipe
from labkit.surfaces.toys import SURFACES
from labkit.training import fit
from labkit.views import VIEWS

QUICK = ("task=moons", "steps=20", "samples=60", "device=cpu")


def labkit_command(*words: object) -> tuple[int, str]:
    """Exit code and output of `labkit WORDS`; an escaped exception fails the test."""
    result = CliRunner().invoke(main, [str(word) for word in words], prog_name="labkit")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def done(*words: object) -> str:
    code, output = labkit_command(*words)
    assert code == 0, output
    return output


def slip(*words: object) -> str:
    """The one line that a slip is answered with (after click's own usage, if any)."""
    code, output = labkit_command(*words)
    assert code != 0, f"no complaint: {output}"
    before, _, message = output.partition("Error: ")
    assert before == "" or before.startswith("Usage: labkit"), output
    assert len(message.strip().splitlines()) == 1, output
    return message.strip()


def rows(table: str) -> dict[str, str]:
    """First column to second of a printed table."""
    return dict(line.split(maxsplit=1) for line in table.splitlines() if len(line.split()) > 1)


# --- the command itself ----------------------------------------------------------------


def test_help_names_every_command():
    output = done("--help")
    for name in ("lab", "run", "train", "list", "doctor"):
        assert f"\n  {name} " in output


@pytest.mark.parametrize("command", ["lab", "run", "train", "list", "doctor"])
def test_every_command_explains_itself(command):
    assert len(done(command, "--help").splitlines()) > 4


def test_the_version():
    assert done("--version").split()[-1] == labkit.__version__


@pytest.mark.parametrize("words", [["trian"], ["train", "--bogus", "1"], ["list", "init", "more"]])
def test_an_unknown_command_option_or_argument(words):
    assert slip(*words)


def test_other_commands_do_not_wait_for_torch():
    """`labkit --help` and `labkit lab` start at once."""
    code = (
        "import sys; from click.testing import CliRunner; from labkit.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "assert CliRunner().invoke(main, ['lab', '--help']).exit_code == 0;"
        "sys.exit(sorted({'torch', 'plotly', 'ipywidgets', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "[]"), "imported"


def test_a_pipe_that_closes_early_is_no_error_of_ours(monkeypatch):
    def broken() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("labkit.machine.doctor", broken)
    result = CliRunner().invoke(main, ["doctor"])
    assert "Broken pipe" not in result.output


# --- train -----------------------------------------------------------------------------


def test_train_remarks_beside_its_results_on_what_works_otherwise_than_it_seems():
    text = "task=moons samples=60 steps=2 optimizer=rprop"
    result = CliRunner().invoke(main, ["train", text], prog_name="labkit")
    assert result.exit_code == 0
    assert result.stderr.startswith("Note: rprop with minibatches of 32")
    assert "Note" not in result.stdout
    calm = CliRunner().invoke(main, ["train", f"{text} batch_size=42"], prog_name="labkit")
    assert calm.stderr == ""


def test_train_prints_what_the_library_gives():
    recipe = Recipe.from_text(" ".join(QUICK))
    output = done("train", *QUICK)
    first, *table = output.splitlines()
    assert Recipe.from_text(first) == recipe
    summary, printed = fit(recipe).summary(), rows("\n".join(table))
    assert printed.pop("result") == "value"
    assert set(printed) == set(summary)
    for name, value in summary.items():
        assert float(printed[name]) == pytest.approx(value, rel=1e-3), name


def test_train_says_what_went_wrong_and_what_would_help():
    output = done("train", "task=moons init=zeros steps=100")
    assert "Found: The weights of layer1" in output
    assert "init=xavier_normal" in output
    assert "Found" not in done("train", "task=moons steps=300")


def test_options_and_a_share_string_say_the_same():
    options = "--task moons --steps 20 --samples 60 --device cpu --init normal --batch-size 16"
    by_option = done("train", *options.split())
    text = by_option.splitlines()[0]
    assert "batch_size=16" in text
    assert done("train", text) == by_option
    assert done("train", *text.split()) == by_option


def test_arguments_of_an_init_fit_in_a_share_string():
    output = done("train", *QUICK, "init=normal(std=0.1)", "--optimizer", "momentum(momentum=0.5)")
    assert "init=normal(std=0.1) optimizer=momentum(momentum=0.5)" in output


def test_every_field_is_an_option_with_its_help_and_its_choices():
    output = " ".join(done("train", "--help").split())
    for name, parameter in parameters(Recipe).items():
        if name.endswith("_args"):
            continue
        assert f"--{name.replace('_', '-')} VALUE" in output
        assert parameter.help in output
        assert " ".join(parameter.allowed.split()) in output.replace("- ", "-")


def test_the_history_is_kept_where_asked(tmp_path):
    path = tmp_path / "folder" / "run.safetensors"
    output = done("train", *QUICK, "--save", path)
    assert str(path) in output
    assert History.load(path).last_step == 20


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--optimizer", "adamm"], ["optimizer='adamm'", "'adam'"]),
        (["--lr", "fast"], ["lr='fast'", "a number from"]),
        (["--lr", "100"], ["lr=100", "from 1e-05 to 10"]),
        (["--hidden", "8,x"], ["hidden"]),
        (["--steps", "1.5"], ["steps=1.5", "whole number"]),
        (["--init", "normal(stdd=1)"], ["stdd", "'std'"]),
        (["lr=0.1", "--lr", "0.2"], ["lr is given twice"]),
        (["lrr=0.1"], ["lrr is not a field", "'lr'"]),
        (["fast"], ["'fast' is not understood", "lr=0.01"]),
        (["network=cnn"], ["needs pictures"]),
    ],
    ids=str,
)
def test_a_slip_in_a_recipe(words, parts):
    message = slip("train", *words)
    for part in parts:
        assert part in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    assert "no CUDA GPU" in slip("train", "--device", "cuda")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    code, output = labkit_command("train", *QUICK, "--save", tmp_path / "file" / "run")
    assert code == 1
    assert "val_loss" in output, "what was trained is lost"
    assert output.splitlines()[-1].startswith("Error: ")
    assert str(tmp_path / "file") in output.splitlines()[-1]


# --- list and doctor -------------------------------------------------------------------


KINDS = {**REGISTRIES, "loss": LOSSES, "surface": SURFACES, "view": VIEWS}


def test_list_shows_every_kind_and_every_name():
    output = done("list")
    for kind, registry in KINDS.items():
        table = output.split(f"{kind}\n\n", 1)[1].split("\n\n")[0]
        assert list(rows(table))[1:] == registry.names()


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_one_kind(kind):
    registry = KINDS[kind]
    output = done("list", kind)
    assert output.startswith(f"{kind}\n\nname")
    for entry in registry.values():
        assert entry.summary in output
        assert entry.formula in output


def test_list_of_an_unknown_kind():
    assert "did you mean 'init'" in slip("list", "inits")


def test_doctor_looks_at_this_machine():
    output = done("doctor")
    for name in ("labkit", "Python", "memory", "GPU", *PACKAGES):
        assert name in rows(output)


# --- run -------------------------------------------------------------------------------


@pytest.fixture
def notebook(tmp_path) -> Path:
    source = (
        "import json, os, pathlib\n"
        "pathlib.Path(os.environ['LABKIT_RESULTS']).write_text(json.dumps({'double': 2 * a}))\n"
        "if b: raise RuntimeError(b)"
    )
    cells = [
        new_code_cell("a = 1\nb = ''", metadata={"tags": ["parameters"]}),
        new_code_cell(source),
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def test_run_keeps_and_prints_what_came_out(notebook, tmp_path):
    output = done("run", notebook, "-p", "a=21", "--out", tmp_path / "runs")
    assert rows(output)["double"] == "42"
    folder = tmp_path / "runs" / "small"
    assert f"notebook  {folder / 'small.ipynb'}" in output
    assert f"page      {folder / 'small.html'}" in output
    assert json.loads((folder / "results.json").read_text()) == {"double": 42}


def test_a_run_that_fails_says_where_and_ends_in_an_error(notebook, tmp_path):
    code, output = labkit_command("run", notebook, "-p", "b=a = b", "--out", tmp_path / "runs")
    assert code == 1
    assert rows(output)["double"] == "2"
    assert f"Error: {notebook} failed in cell [3]: RuntimeError: a = b" in output


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["-p", "aa=1"], ["'aa' is not a parameter", "'a'", "Known: a, b."]),
        (["-p", "a=x"], ["a='x' is not allowed", "a whole number such as 1"]),
        (["-p", "a"], ["-p a: write NAME=VALUE"]),
        (["-p", "=1"], ["'' is not a parameter"]),
    ],
    ids=str,
)
def test_a_slip_in_a_parameter(words, parts, notebook, tmp_path):
    message = slip("run", notebook, *words, "--out", tmp_path / "runs")
    for part in parts:
        assert part in message
    assert not (tmp_path / "runs").exists()


def test_several_slips_have_a_line_each(notebook):
    code, output = labkit_command("run", notebook, "-p", "a=x", "-p", "c=1")
    assert code == 1
    assert len(output.splitlines()) == 2


def test_a_notebook_that_is_not_there(tmp_path):
    assert "is not there" in slip("run", tmp_path / "missing.ipynb")


def test_a_file_that_is_no_notebook(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("hello")
    assert "is not a notebook" in slip("run", path)


def test_a_place_for_runs_that_is_a_file(notebook, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in slip("run", notebook, "--out", tmp_path / "file")


# --- lab -------------------------------------------------------------------------------


def test_lab_prepares_the_folder_and_hands_on_the_options(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(lab, "prepare", lambda folder: calls.append(folder) or folder)
    monkeypatch.setattr(lab, "launch", lambda folder, options: calls.append(options) or 7)
    code, _ = labkit_command("lab", tmp_path, "--no-browser", "--port", "8890")
    assert calls == [tmp_path, ("--no-browser", "--port", "8890")]
    assert code == 7, "JupyterLab's own exit code"


@pytest.mark.parametrize("words", [[], ["--no-browser"]])
def test_lab_wants_a_folder_first(words):
    assert "folder" in slip("lab", *words).lower()
