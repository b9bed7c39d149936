"""One run of one notebook: small notebooks, made here and named by how they behave."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.batch import run_notebook
from labkit.errors import FileError, LabError
from labkit.results import RESULTS
from tests.page import Page

# What labkit.report does, without waiting for its import in every kernel.
REPORT = """
import json, os, pathlib

def report(**values):
    pathlib.Path(os.environ["LABKIT_RESULTS"]).write_text(json.dumps(values))
"""
MARKER = "pwned"


def notebook(path: Path, parameters: str, *sources: str, kernel: str = "python3") -> Path:
    cells = [
        new_markdown_cell("# A title"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, sources),
    ]
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def outputs(path: Path) -> list[str]:
    """What each code cell of an executed notebook printed or raised."""
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            parts = [o.get("text") or o.get("evalue") or "" for o in cell.outputs]
            texts.append("".join(parts))
    return texts


# --- a run that goes well --------------------------------------------------------------


def test_a_run_and_what_it_leaves(tmp_path, capfd):
    path = notebook(
        tmp_path / "a folder {with} braces" / "adds up.ipynb",
        "interactive = True\na: float = 1.0\nb = 'x = y'",
        REPORT,
        "open('here.txt', 'w').close()\nprint(os.getcwd())",
        "from ipykernel.connect import get_connection_file\n"
        "print(json.loads(pathlib.Path(get_connection_file()).read_text())['transport'])",
        "report(sum=a + 1, b=b, interactive=interactive)",
    )
    before = {name: os.environ.get(name) for name in (RESULTS, "PLOTLY_RENDERER")}
    here = os.getcwd()
    stale = tmp_path / "runs {a}" / "adds up" / "results.json"
    stale.parent.mkdir(parents=True)
    stale.write_text('{"old": true}')
    run = run_notebook(path, {"a": "2.5"}, tmp_path / "runs {a}")
    assert run.error is None
    assert run.results == {"sum": 3.5, "b": "x = y", "interactive": False}
    assert json.loads(stale.read_text()) == run.results
    assert run.folder == tmp_path / "runs {a}" / "adds up"
    left = {entry.name for entry in run.folder.iterdir()}
    assert left == {"adds up.ipynb", "adds up.html", "results.json", "here.txt"}
    where, transport = outputs(run.notebook)[3:5]
    assert Path(where.strip()).samefile(run.folder)
    assert transport.strip() == ("ipc" if os.name == "posix" else "tcp")
    nbformat.validate(nbformat.read(run.notebook, as_version=4))
    assert Page(run.page.read_text()).title == "adds up"
    assert {name: os.environ.get(name) for name in before} == before
    assert os.getcwd() == here
    _, errors = capfd.readouterr()
    assert "encryption" not in errors
    assert "unknown parameter" not in errors


def test_a_notebook_that_reports_nothing(tmp_path, monkeypatch):
    """Also: without `interactive`, without parameters, from a relative path."""
    notebook(tmp_path / "quiet.ipynb", "x = 1", "print(x)\nassert 'interactive' not in dir()")
    monkeypatch.chdir(tmp_path)
    run = run_notebook("quiet.ipynb")
    assert (run.error, run.results) == (None, {})
    assert run.folder == Path("runs/quiet")
    assert (tmp_path / "runs/quiet/results.json").read_text() == "{}"
    assert outputs(run.notebook) == ["", "1\n"]


@pytest.mark.skipif(os.name != "posix", reason="needs sockets that are files")
@pytest.mark.parametrize(("length", "transport"), [(10, "ipc"), (90, "tcp")])
def test_sockets_lie_in_a_private_folder_unless_its_name_is_too_long(
    length, transport, tmp_path, monkeypatch
):
    path = notebook(
        tmp_path / "a.ipynb",
        "x = 1",
        "import json, os, stat\nfrom ipykernel.connect import get_connection_file\n"
        "file = get_connection_file()\ninfo = json.load(open(file))\n"
        "folder = os.path.dirname(file)\n"
        "print(info['transport'], info['ip'], oct(os.stat(folder).st_mode & 0o077))",
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short, "x" * length)
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        run = run_notebook(path, out=tmp_path)
        assert run.error is None
        assert list(folder.iterdir()) == [], "something is left"
    found, ip, others = outputs(run.notebook)[-1].split()
    assert found == transport
    if transport == "ipc":
        assert (ip.startswith(str(folder)), others) == (True, "0o0")


# --- runs that fail --------------------------------------------------------------------


def test_a_cell_that_fails_is_named_and_everything_is_kept(tmp_path):
    path = notebook(
        tmp_path / "broken2.ipynb", "x = 1", REPORT, "report(half=x)", "1 / 0", "print('never')"
    )
    run = run_notebook(path, {"x": 5}, tmp_path / "runs")
    assert run.error == "cell [5]: ZeroDivisionError: division by zero"
    assert run.results == {"half": 5}, "what was reported before is lost"
    texts = outputs(run.notebook)
    assert texts[-2:] == ["division by zero", ""]
    page = Page(run.page.read_text())
    assert "ZeroDivisionError" in page.text
    assert "[5]:" in page.text, "the page does not show the number that the error gives"
    assert {entry.name for entry in run.folder.iterdir()} == {
        "broken2.ipynb",
        "broken2.html",
        "results.json",
    }


def test_a_users_slip_inside_a_notebook_reads_as_it_was_written(tmp_path):
    source = "import labkit\nlabkit.Recipe(optimizer='adamm', lr=-1)"
    run = run_notebook(notebook(tmp_path / "slip.ipynb", "x = 1", source), out=tmp_path / "runs")
    first, second = run.error.splitlines()
    assert first.startswith("cell [2]: RecipeError: optimizer='adamm' is not known: did you mean")
    assert second == "lr=-1 is not allowed: give a number from 1e-05 to 10."
    assert "Traceback" not in run.notebook.read_text()
    assert "\x1b" not in run.error


@pytest.mark.parametrize(
    ("name", "source", "error"),
    [
        ("sysexit1", "import sys; sys.exit(1)", "cell [3]: SystemExit: 1"),
        ("syntax_error", "x = = 1", "cell [3]: SyntaxError: invalid syntax"),
        ("keyboard_interrupt", "raise KeyboardInterrupt", "cell [3]: KeyboardInterrupt: "),
    ],
)
def test_other_ways_to_fail(name, source, error, tmp_path):
    path = notebook(tmp_path / f"{name}.ipynb", "x = 1", "print(x)", source, "print('never')")
    run = run_notebook(path, out=tmp_path / "runs")
    assert run.error.startswith(error)
    assert run.results == {}
    assert "never" not in "".join(outputs(run.notebook))


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_kernel_that_dies_is_said_to_have_died(how, tmp_path):
    path = notebook(tmp_path / "dies.ipynb", "x = 1", REPORT, "report(x=x)", how, "print('never')")
    run = run_notebook(path, {"x": 2}, tmp_path / "runs")
    assert run.error.startswith("the kernel died")
    assert run.results == {"x": 2}
    assert nbformat.read(run.notebook, as_version=4).cells
    assert run.page.exists()
    assert "never\n" not in outputs(run.notebook)


def test_a_kernel_that_is_not_installed_is_named(tmp_path):
    path = notebook(tmp_path / "fortran.ipynb", "x = 1", "print(x)", kernel="no_such_kernel")
    run = run_notebook(path, out=tmp_path / "runs")
    assert "no_such_kernel" in run.error
    assert "died" not in run.error


def test_nothing_is_made_before_the_parameters_are_right(tmp_path):
    path = notebook(tmp_path / "a.ipynb", "lr = 0.1")
    with pytest.raises(LabError, match="did you mean 'lr'"):
        run_notebook(path, {"lrr": 1}, tmp_path / "runs")
    with pytest.raises(FileError, match="is not there"):
        run_notebook(tmp_path / "b.ipynb", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# --- parameters are data ---------------------------------------------------------------

PAYLOADS = [
    f'"; open("{MARKER}", "w"); "',
    f"'; open('{MARKER}', 'w'); '",
    f"\nopen('{MARKER}', 'w')\n",
    f'""" + open("{MARKER}", "w").name + """',
    f'\\"; open("{MARKER}", "w"); #',
    f"\\'; open('{MARKER}', 'w'); #",
    f"\\\n; open('{MARKER}', 'w')",
    f"{{open('{MARKER}', 'w')}}",
    "{0.__class__.__mro__}",
    f"__import__('pathlib').Path('{MARKER}').touch()",
    f"%system touch {MARKER}",
    f"!touch {MARKER}",
    f"$(touch {MARKER})",
    f"\r\nopen('{MARKER}', 'w')",
    f"\u2028open('{MARKER}', 'w')\u2029",
    "\\",
    '\\"',
    "\x00\x1b[31m\x7f",
    "λ \U0001f600 \\N{BULLET} \\u0022",
    "</script><script>alert(1)</script>",
]
NAMES = [
    f"x = open('{MARKER}', 'w'); y",
    f"x\nopen('{MARKER}', 'w')\ny",
    f"open('{MARKER}', 'w').x",
    "__builtins__",
    "print",
    "text0 ",
    " text0",
    "text0;",
    "text0=1;text1",
    "",
    "import os",
    "text0: 1",
]


def test_text_that_looks_like_code_arrives_as_text(tmp_path):
    names = [f"text{i}" for i in range(len(PAYLOADS))]
    path = notebook(
        tmp_path / "echo.ipynb",
        "\n".join([*(f"{name} = ''" for name in names), "many = ['']", "nested = {'a': ''}"]),
        REPORT,
        "report(texts=["
        + ", ".join(names)
        + f"], many=many, nested=nested, there=os.path.exists('{MARKER}'))",
    )
    given = dict(zip(names, PAYLOADS, strict=True))
    run = run_notebook(
        path, {**given, "many": PAYLOADS, "nested": {"a": PAYLOADS}}, tmp_path / "runs"
    )
    assert run.error is None
    assert run.results["there"] is False, "a parameter ran as code"
    assert run.results["texts"] == PAYLOADS
    assert run.results["many"] == PAYLOADS
    assert run.results["nested"] == {"a": PAYLOADS}
    assert not list(tmp_path.rglob(MARKER))
    assert "<script>alert(1)" not in run.page.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_looks_like_code_is_refused(name, tmp_path):
    path = notebook(tmp_path / "echo.ipynb", "text0 = ''")
    with pytest.raises(LabError, match="is not a parameter of this notebook"):
        run_notebook(path, {name: "1"}, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("default", ["1", "0.5", "True", "[1]", "{'a': 1}"])
def test_text_for_another_type_is_refused(payload, default, tmp_path):
    path = notebook(tmp_path / "echo.ipynb", f"x = {default}")
    with pytest.raises(LabError, match="is not allowed: give "):
        run_notebook(path, {"x": payload}, tmp_path / "runs")


class Disguised(str):
    """A value whose text is not what it is."""

    def __str__(self) -> str:
        return f"open('{MARKER}', 'w')"


class Number(float):
    """A number that writes code."""

    __str__ = __repr__ = Disguised.__str__


@pytest.mark.parametrize(("default", "value"), [("''", Disguised("a")), ("0.5", Number(1))])
def test_values_of_a_type_of_their_own_are_refused(default, value, tmp_path):
    path = notebook(tmp_path / "echo.ipynb", f"x = {default}")
    with pytest.raises(LabError, match="is not allowed"):
        run_notebook(path, {"x": value}, tmp_path / "runs")


def test_nor_do_they_hide_in_a_list_or_behind_no_default(tmp_path):
    path = notebook(tmp_path / "echo.ipynb", "x = []\ny = None")
    for given in ({"x": [Number(1)]}, {"y": Disguised("a")}, {"y": {Disguised("a"): 1}}):
        with pytest.raises(LabError, match=r"is not JSON|plain names"):
            run_notebook(path, given, tmp_path / "runs")
