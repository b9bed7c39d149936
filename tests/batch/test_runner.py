"""What a runner makes of a notebook's end: failures, files and kernels."""

from __future__ import annotations

import errno
import signal

import nbformat
import pytest

from labkit.batch import runner
from labkit.batch.job import Job
from labkit.batch.runner import (
    Files,
    choose_kernel,
    died,
    failure_of,
    is_full,
    one_line,
    os_failure,
    page_of,
    plain,
    signal_name,
    unfinished,
    write,
)
from labkit.core.errors import FileError, LabError
from tests.batch.notebooks import job, make


class Ended:
    """A kernel's end, as the engine reports it."""

    def __init__(self, code, started=True):
        self.code, self.started = code, started

    def __str__(self):
        return "the kernel did not start"


@pytest.mark.parametrize(
    ("end", "reason", "blameless"),
    [
        (Ended(None, started=False), "the kernel did not start", True),
        (Ended(None), "the kernel died", True),
        (Ended(-9), "the kernel was killed by SIGKILL", True),
        (Ended(3), "the notebook ended its kernel with exit code 3", False),
    ],
)
def test_why_a_kernel_ended(end, reason, blameless):
    assert died(end) == (reason, blameless)


def test_signals_have_names():
    assert signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert signal_name(9999) == "signal 9999"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "no space left on device: /a"),
        (OSError("odd"), "odd"),
    ],
)
def test_a_file_that_could_not_be_written(error, reason):
    failure = os_failure(error)
    assert (failure.reason, failure.name) == (reason, type(error).__name__)


def test_only_a_full_disk_is_worth_another_attempt():
    assert is_full(str(OSError(errno.ENOSPC, "full")))
    assert not is_full(str(OSError(errno.EACCES, "denied")))


def test_text_for_a_table_is_one_line_without_colours():
    assert plain("\x1b[31mred\x1b[0m") == "red"
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("x" * 10_000)) == runner.REASON


def test_a_failure_names_the_cell_and_quotes_its_last_lines():
    notebook = nbformat.reads(make("print(1)", "while True: pass").decode(), 4)
    notebook.cells[-1].metadata.papermill = {"status": "failed"}
    notebook.cells[-1].outputs = [
        nbformat.v4.new_output("stream", text="\n".join(map(str, range(100))))
    ]
    failure = failure_of(notebook, "took too long", "CellTimeoutError")
    assert (failure.reason, failure.cell) == ("cell [3]: took too long", 3)
    assert failure.lines == tuple(map(str, range(80, 100)))
    assert failure_of(None, "gone").cell is None


def test_an_error_in_writing_names_the_file(tmp_path):
    write(tmp_path / "a", "half of a pair: \ud800")
    assert (tmp_path / "a").read_text() == "half of a pair: ?"
    with pytest.raises(OSError, match="missing"):
        write(tmp_path / "a" / "missing", "text")


def test_a_page_that_cannot_be_made_says_so(monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("no <template>")

    monkeypatch.setattr("labkit.batch.page.to_html", broken)
    page = page_of(None, "title")
    assert "This page could not be made: RuntimeError: no &lt;template&gt;" in page
    assert "Traceback" in capsys.readouterr().err


def test_the_files_of_a_run_are_hidden_until_they_are_complete(tmp_path):
    files = Files(job(make("print(1)"), tmp_path))
    files.take(nbformat.reads(make("print(1)").decode(), 4))
    assert [path.name for path in tmp_path.iterdir()] == [unfinished("small.ipynb")]
    files.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"small.ipynb", "small.html"}
    nbformat.read(tmp_path / "small.ipynb", 4)


@pytest.mark.parametrize("content", [b"hello", b"[]", b'{"cells": []}', b"[" * 100_000])
def test_what_is_not_a_notebook(content):
    with pytest.raises(FileError, match=r"small\.ipynb is not a notebook"):
        Files(Job("a", "small", content, {})).source()


def test_a_kernel_that_is_not_installed_is_refused_with_those_that_are():
    with pytest.raises(LabError, match=r"'julia-9', which is not installed here.*python3"):
        choose_kernel({"kernelspec": {"name": "julia-9"}}, {}, warm=False)


@pytest.mark.parametrize("given", [None, "", "python3", "labkit-warm"])
def test_pythons_own_kernel_is_this_interpreters(given):
    name, extra = choose_kernel({"kernelspec": {"name": given}}, {"x": 1}, warm=False)
    assert name == "python3"
    assert any("PacedStream" in argument for argument in extra)
