"""The command line: each command does its work, and a mistake is answered in one line."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import labkit
from labkit import lab
from labkit.batch.job import Failure, Job, Limits, Outcome
from labkit.cli import main
from labkit.core.parameters import parameters
from labkit.machine import PACKAGES
from labkit.recipe.recipe import REGISTRIES, Recipe
from labkit.toys.gradients.losses import LOSSES
from labkit.toys.surfaces import SURFACES
from labkit.training.history import History
from labkit.training.trainer import fit
from labkit.views import VIEWS
from tests.batch.notebooks import make

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


def refusal(*words: object) -> str:
    """The one line that a mistake is answered with (after click's own usage, if any)."""
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
    for name in ("lab", "run", "report", "train", "inspect", "list", "doctor"):
        assert f"\n  {name} " in output


@pytest.mark.parametrize("command", ["lab", "run", "report", "train", "inspect", "list", "doctor"])
def test_every_command_explains_itself(command):
    assert len(done(command, "--help").splitlines()) > 4


def test_the_version():
    assert done("--version").split()[-1] == labkit.__version__


@pytest.mark.parametrize("words", [["trian"], ["train", "--bogus", "1"], ["list", "init", "more"]])
def test_an_unknown_command_option_or_argument(words):
    assert refusal(*words)


def test_other_commands_do_not_wait_for_torch():
    """`labkit --help` and `labkit lab` start at once."""
    code = (
        "import sys; from click.testing import CliRunner; from labkit.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "assert CliRunner().invoke(main, ['lab', '--help']).exit_code == 0;"
        "assert CliRunner().invoke(main, ['run', '--help']).exit_code == 0;"
        "heavy = {'torch', 'plotly', 'ipywidgets', 'pydantic', 'pandas', 'papermill', 'nbformat'};"
        "sys.exit(sorted(heavy & set(sys.modules)))"
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


def test_values_are_read_as_the_panel_shows_them():
    """Options are not joined to a line that spaces would take apart again."""
    output = done("train", *QUICK, "--hidden", "8, 4", "--init", "normal( std = 0.1 )")
    assert "hidden=8-4" in output
    assert "init=normal(std=0.1)" in output
    assert Recipe.from_text(output.splitlines()[0]).hidden == (8, 4)


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
        (["--hidden", "8,x"], ["hidden='x' is not allowed", "whole numbers such as 8,8"]),
        (["--hidden", "8 8"], ["hidden='8 8' is not allowed", "whole numbers such as 8,8"]),
        (["--init", "normal(std=0.1"], ["'normal(std=0.1' is not understood"]),
        (["--steps", "1.5"], ["steps=1.5", "whole number"]),
        (["--init", "normal(stdd=1)"], ["stdd", "'std'"]),
        (["lr=0.1", "--lr", "0.2"], ["lr is given twice"]),
        (["lrr=0.1"], ["lrr is not a field", "'lr'"]),
        (["fast"], ["'fast' is not understood", "lr=0.01"]),
        (["network=cnn"], ["needs pictures"]),
    ],
    ids=str,
)
def test_a_mistake_in_a_recipe(words, parts):
    message = refusal("train", *words)
    for part in parts:
        assert part in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    assert "no CUDA GPU" in refusal("train", "--device", "cuda")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    code, output = labkit_command("train", *QUICK, "--save", tmp_path / "file" / "run")
    assert code == 1
    assert "val_loss" in output, "what was trained is lost"
    assert output.splitlines()[-1].startswith("Error: ")
    assert str(tmp_path / "file") in output.splitlines()[-1]


# --- inspect ---------------------------------------------------------------------------


@pytest.fixture
def weight_file(tmp_path) -> Path:
    from labkit.weights import save

    tensors = {"a.weight": torch.ones(300, 4), "a.bias": torch.zeros(300).half()}
    tensors["a.running_mean"] = torch.zeros(3)
    about = {"names": ["cat", "dog"], "task": "detect", "date": "2026-01-02", "licence": "MIT"}
    arguments = {"epochs": 7, "data": "pets.yaml", "unusual": 1}
    return save(tmp_path / "pets", tensors, **about, train_args=arguments)


def test_inspect_says_what_is_in_a_file(weight_file):
    facts, kinds, largest = (rows(part) for part in done("inspect", weight_file).split("\n\n"))
    assert facts["file"] == str(weight_file)
    assert facts["format"] == "safetensors"
    assert facts["SHA-256"] == hashlib.sha256(weight_file.read_bytes()).hexdigest()
    assert facts["classes"] == "2: cat, dog"
    assert facts["trained"].split() == ["with", "data=pets.yaml", "epochs=7"]
    assert (facts["task"], facts["date"], facts["licence"]) == ("detect", "2026-01-02", "MIT")
    assert facts["tensors"] == "3 with 1,503 values"
    assert kinds["weight"].split() == ["float32", "1", "1,200", "4.80", "kB"]
    assert kinds["bias"].split() == ["float16", "1", "300", "600", "B"]
    assert kinds["buffer"].split() == ["float32", "1", "3", "12", "B"]
    assert list(largest) == ["largest", "a.weight", "a.bias", "a.running_mean"]
    assert largest["a.weight"].split() == ["300x4", "float32", "1,200", "88.7%"]


def test_inspect_as_json_has_everything(weight_file):
    facts = json.loads(done("inspect", weight_file, "--json"))
    assert facts["size"] == weight_file.stat().st_size
    assert facts["names"] == {"0": "cat", "1": "dog"}
    assert facts["train_args"] == {"epochs": 7, "data": "pets.yaml", "unusual": 1}
    assert facts["about"] == {"licence": "MIT"}
    assert (facts["tensors"], facts["values"]) == (3, 1503)
    assert sum(kind["bytes"] for kind in facts["kinds"]) == facts["bytes"] == 5412
    assert facts["largest"][0]["shape"] == [300, 4]


def test_inspect_shows_no_control_codes_of_a_file(tmp_path):
    from labkit.weights import save

    path = save(
        tmp_path / "x", {"\x1b[2J\nw": torch.ones(1)}, licence="\x1b]0;owned\x07", names=["\x1b"]
    )
    output = done("inspect", path)
    assert all(line.isprintable() for line in output.splitlines())
    assert "\x1b" not in done("inspect", path, "--json")


def test_inspect_answers_a_bad_file_in_one_line(tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(os.system))
    assert "posix.system" in refusal("inspect", path)
    assert "is not there" in refusal("inspect", tmp_path / "none.pt")
    assert "labkit reads weights from .pt" in refusal("inspect", __file__)


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
    assert "did you mean 'init'" in refusal("list", "inits")


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
    path = tmp_path / "small.ipynb"
    path.write_bytes(make(source, parameters="a = 1\nb = ''\nseed = 0"))
    return path


@pytest.fixture
def performed(monkeypatch) -> list[Job]:
    """Runs that need no kernel: those with a `b` fail, the others double `a`."""
    jobs = []

    def perform(job: Job) -> Outcome:
        jobs.append(job)
        failure = None
        if text := job.parameters.get("b"):
            failure = Failure(f"cell [3]: RuntimeError: {text}", 3, "RuntimeError")
        else:
            doubled = json.dumps({"double": 2 * job.parameters.get("a", 1)})
            (Path(job.folder) / "results.json").write_text(doubled)
        state = "failed" if failure else "done"
        return Outcome(state, failure, False, "here", os.getpid(), time.time(), 2.0)

    monkeypatch.setattr("labkit.batch.perform.perform", perform)
    return jobs


def last(output: str, count: int) -> list[str]:
    return output.strip().splitlines()[-count:]


def test_run_keeps_and_prints_what_came_out(notebook, tmp_path):
    output = done("run", notebook, "-p", "a=21", "--out", tmp_path / "runs")
    assert rows(output)["double"] == "42"
    (folder,) = (tmp_path / "runs").glob("small-*")
    assert f"notebook  {folder / 'small.ipynb'}" in output
    assert f"page      {folder / 'small.html'}" in output
    assert json.loads((folder / "results.json").read_text()) == {"double": 42}


def test_a_run_that_fails_says_where_and_ends_in_an_error(notebook, tmp_path):
    code, output = labkit_command("run", notebook, "-p", "b=a = b", "--out", tmp_path / "runs")
    assert code == 1
    assert rows(output)["double"] == "2"
    assert last(output, 1) == ["Error: small failed: cell [3]: RuntimeError: a = b"]


def test_a_grid_ends_in_a_table_and_a_page(notebook, tmp_path, performed):
    out = tmp_path / "runs"
    output = done("run", notebook, "-p", "a=1:3:lin:3", "--seeds", 2, "--out", out)
    asked = [(job.parameters["a"], job.parameters["seed"]) for job in performed]
    assert sorted(asked) == [(a, seed) for a in (1, 2, 3) for seed in (0, 1)]
    assert last(output, 3) == [
        "6 runs: 6 done",
        f"results  {out / 'results.csv'}",
        f"report   {out / 'report.html'}",
    ]
    with (out / "results.csv").open() as file:
        found = [(int(row["a"]), int(row["double"])) for row in csv.DictReader(file)]
    assert sorted(found) == [(1, 2), (1, 2), (2, 4), (2, 4), (3, 6), (3, 6)]
    assert (out / "report.html").exists()


def test_failures_come_last_with_their_reason(notebook, tmp_path, performed):
    out = tmp_path / "runs"
    code, output = labkit_command(
        "run", notebook, "-p", 'b=["", "no"]', "-p", "a=1,2", "--out", out
    )
    assert code == 1
    error, *failed = last(output, 3)
    assert error == "Error: 2 of 4 runs are not done:"
    assert [line.split("  ")[-1] for line in failed] == ["cell [3]: RuntimeError: no"] * 2
    assert f"report   {out / 'report.html'}" in output


def test_what_is_done_is_not_run_again(notebook, tmp_path, performed):
    words = ["run", notebook, "-p", 'b=["", "no"]', "--out", tmp_path / "runs"]
    for options, more in (([], 2), ([], 0), (["--failed"], 1), (["--again"], 2)):
        before = len(performed)
        _, output = labkit_command(*words, *options)
        assert len(performed) - before == more, options
        assert ("(1 of them before)" in output) == (before > 0 and options != ["--again"])
    again = done("run", notebook, "-p", "a=1", "--out", tmp_path / "runs")
    assert "done before" not in again
    again = done("run", notebook, "-p", "a=1", "--out", tmp_path / "runs")
    assert last(again, 1) == [
        "It was done before and was not run again; --again runs it once more."
    ]


def test_a_dry_run_lists_and_estimates_and_touches_nothing(notebook, tmp_path, performed):
    words = ["run", notebook, "-p", "a=1,2,3", "--out", tmp_path / "runs", "--dry-run"]
    output = done(*words)
    assert "3 runs. The time is not known" in output
    assert performed == []
    assert not (tmp_path / "runs").exists()
    done("run", notebook, "-p", "a=1,2", "--out", tmp_path / "runs")
    before = sorted((tmp_path / "runs").rglob("*"))
    output = done(*words, "--jobs", 1)
    assert [line.split()[1] for line in output.splitlines()[1:4]] == ["done", "done", "new"]
    assert "3 runs, 1 of them to do. About 2 s, 1 at once" in output
    assert sorted((tmp_path / "runs").rglob("*")) == before


def test_a_grid_may_come_from_a_file(notebook, tmp_path, performed):
    file = tmp_path / "grid.yaml"
    file.write_text("notebooks: small.ipynb\nparameters: {a: [1, 2]}\nseeds: 2")
    done("run", "--grid", file, "-p", "a=5", "--out", tmp_path / "runs")
    asked = {(job.parameters["a"], job.parameters["seed"]) for job in performed}
    assert (asked, len(performed)) == ({(5, 0), (5, 1)}, 2), "two jobs run at once, in any order"


def test_a_folder_runs_fast(tmp_path, performed):
    content = json.loads(make(parameters="a = 10"))
    content["metadata"]["labkit"] = {"fast": {"a": 3}}
    (tmp_path / "one.ipynb").write_text(json.dumps(content))
    (tmp_path / "two.ipynb").write_bytes(make(parameters="a = 10"))
    output = done("run", tmp_path, "--fast", "--out", tmp_path / "runs")
    assert {job.name: job.parameters for job in performed} == {"one": {"a": 3}, "two": {}}
    assert f"{tmp_path / 'two.ipynb'} has no values for a fast run" in output


def test_status_and_resume_and_report(notebook, tmp_path, performed):
    out = tmp_path / "runs"
    labkit_command("run", notebook, "-p", 'b=["", "no"]', "--out", out)
    output = done("run", "--status", out)
    assert output.startswith("2 runs: 1 done, 1 failed\n")
    assert last(output, 1)[0].endswith("failed  cell [3]: RuntimeError: no")
    code, output = labkit_command("run", "--resume", out)
    assert (code, len(performed)) == (1, 2), "a notebook's own failure stays"
    code, output = labkit_command("run", "--resume", out, "--failed")
    assert (code, len(performed)) == (1, 3)
    (out / "report.html").unlink()
    assert done("report", out).strip() == str(out / "report.html")
    assert (out / "report.html").exists()


@pytest.mark.parametrize("words", [["run", "--status"], ["run", "--resume"], ["report"]])
def test_a_folder_without_a_batch(words, tmp_path):
    assert f"{tmp_path} holds no batch" in refusal(*words, tmp_path)


def test_every_option_arrives(notebook, tmp_path, monkeypatch):
    given = {}

    def run_batch(notebooks, grid, out, **options):
        given.update(options, notebooks=notebooks, most=grid.most, out=out)
        raise KeyboardInterrupt

    monkeypatch.setattr("labkit.batch.command.run_batch", run_batch)
    words = (
        "--jobs 3 --threads 2 --kernel plain --retries 4 --report-mode --fast --failed --most 7 "
        "--timeout 5m --cell-timeout 90 --memory 4GB --out new/runs"
    )
    assert labkit_command("run", notebook, *words.split())[0] == 130
    assert given == {
        "notebooks": [notebook],
        "out": "new/runs",
        "most": 7,
        "executor": None,
        "jobs": 3,
        "threads": 2,
        "kernel": "plain",
        "retries": 4,
        "report_mode": True,
        "fast": True,
        "again": "failed",
        "limits": Limits(cell_seconds=90, run_seconds=300, memory=4 * 10**9),
    }


def test_a_cluster_is_asked_for_what_a_run_needs(notebook, tmp_path, monkeypatch, performed):
    asked = {}

    def dask_executor(address, **resources):
        asked.update(resources, address=address)
        return ThreadPoolExecutor(1)

    monkeypatch.setattr("labkit.batch.cluster.dask_executor", dask_executor)
    words = ["--dask", "tcp://box:8786", "--gpu", "1", "--memory", "2GB"]
    code, _ = labkit_command("run", notebook, *words, "--out", tmp_path / "runs", "--dry-run")
    assert (code, asked) == (0, {}), "a dry run connects to nothing"
    monkeypatch.setattr("labkit.batch.command.run_batch", lambda *a, **k: asked.update(k) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        labkit_command("run", notebook, *words, "--out", tmp_path / "runs")
    assert asked["address"] == "tcp://box:8786"
    assert (asked["gpus"], asked["memory"]) == (1, 2 * 10**9)
    assert isinstance(asked["executor"], ThreadPoolExecutor)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["labkit run NOTEBOOK"]),
        (["small.ipynb", "-p", "a"], ["a: write NAME=VALUE, as in -p lr=0.1"]),
        (["small.ipynb", "-p", "=1"], ["=1: write NAME=VALUE"]),
        (["small.ipynb", "--cell-timeout", "0"], ["'0' is not a time: write 90"]),
        (["small.ipynb", "--memory", "-1GB"], ["'-1GB' is not a size: write 4GB"]),
        (["small.ipynb", "--jobs", "two"], ["--jobs", "'two' is not a valid integer"]),
        (["small.ipynb", "--dask", "tcp://a:1", "--gpu", "-1"], ["--gpu", "not in the range"]),
        (["small.ipynb", "--seeds", "0"], ["--seeds", "0 is not in the range"]),
        (["small.ipynb", "--timeout", "soon"], ["'soon' is not a time: write 90"]),
        (["small.ipynb", "--memory", "lots"], ["'lots' is not a size: write 4GB"]),
        (["small.ipynb", "--kernel", "hot"], ["'hot' is not one of 'warm', 'plain'"]),
        (["small.ipynb", "--gpu", "1"], ["--gpu is for --dask"]),
        (["--resume", "runs", "-p", "a=1"], ["--resume DIR is about the batch in DIR", "-p"]),
        (["--resume", "runs", "--memory", "1GB"], ["--memory is for --dask here"]),
        (["small.ipynb", "--status", "runs"], ["leave out NOTEBOOK"]),
        (["--status", "a", "--resume", "b"], ["--status DIR is about the batch", "--resume"]),
    ],
    ids=str,
)
def test_words_that_make_no_sense_together(words, parts, notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal("run", *words)
    for part in parts:
        assert part in message
    assert labkit_command("run", *words)[0] == 2
    assert list(tmp_path.iterdir()) == [notebook]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["-p", "aa=1"], ["'aa' is not a parameter", "'a'", "Known: a, b, seed."]),
        (["-p", "a=x"], ["a='x' is not allowed", "a whole number such as 1"]),
        (["-p", "a=1:2:log:0"], ["1 or more"]),
        (["-p", "seed=1", "--seeds", "2"], ["not both"]),
        (["--grid", "missing.yaml"], ["missing.yaml is not there"]),
        (["-p", "a=1,2,3", "--most", "2"], ["3 runs are more than 2", "--most 3"]),
    ],
    ids=str,
)
def test_a_mistake_in_a_parameter(words, parts, notebook, tmp_path):
    message = refusal("run", notebook, *words, "--out", tmp_path / "runs")
    for part in parts:
        assert part in message
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_have_a_line_each(notebook):
    code, output = labkit_command("run", notebook, "-p", "a=x", "-p", "c=1")
    assert code == 1
    assert len(output.splitlines()) == 2


def test_a_notebook_that_is_not_there(tmp_path):
    assert "is not there" in refusal("run", tmp_path / "missing.ipynb", "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_notebook(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("hello")
    assert "is not a notebook" in refusal("run", path)


def test_a_folder_without_notebooks(tmp_path):
    assert "is a folder without notebooks" in refusal("run", tmp_path)


def test_a_notebook_without_parameters_hears_how_to_tag_them(notebook):
    notebook.write_text(notebook.read_text().replace('"parameters"', '"other"'))
    message = refusal("run", notebook)
    assert "has no cell tagged 'parameters'" in message
    assert "property inspector" in message


def test_a_place_for_runs_that_is_a_file(notebook, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in refusal("run", notebook, "--out", tmp_path / "file")


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
    assert "folder" in refusal("lab", *words).lower()
