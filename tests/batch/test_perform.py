"""One job: small notebooks, made here and named by how they behave."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import stat
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from labkit.batch.job import Limits
from labkit.batch.perform import perform
from labkit.batch.runner import choose_kernel
from labkit.core.errors import LabError
from labkit.core.files import RESULTS
from tests.batch.notebooks import REPORT, job, make, outputs, read, statuses
from tests.page import Page

MARKER = "pwned"


@pytest.fixture(params=["warm", "plain"])
def kernel(request):
    return request.param


# --- a run that goes well --------------------------------------------------------------


def test_a_run_and_what_it_leaves(tmp_path, capfd, kernel):
    folder, name = tmp_path / "runs {a} ü", "adds {up} λ"
    folder.mkdir()
    for stale in ("results.json", "log.txt", f"{name}.ipynb", f"{name}.html", f".{name}.ipynb"):
        (folder / stale).write_text('{"old": true}')
    before, here = dict(os.environ), os.getcwd()
    notebook = make(
        REPORT,
        "open('here.txt', 'w').close()\nprint(os.getcwd())",
        "from ipykernel.connect import get_connection_file\n"
        "print(json.loads(pathlib.Path(get_connection_file()).read_text())['transport'])",
        "report(sum=a + 1, b=b)\nprint('λ 😀')",
        "import sys\nos.write(1, b'from below')\nprint('aside', file=sys.__stderr__)",
        parameters="a: float = 1.0\nb = 'x = y'",
    )
    outcome = perform(job(notebook, folder, name=name, kernel=kernel, a=2.5))
    assert (outcome.state, outcome.failure, outcome.infrastructure) == ("done", None, False)
    assert outcome.files == {}
    assert outcome.pid == os.getpid()
    assert outcome.seconds > 0
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    left = {entry.name for entry in folder.iterdir()}
    assert left == {f"{name}.ipynb", f"{name}.html", "results.json", "log.txt", "here.txt"}
    assert json.loads((folder / "results.json").read_text()) == {"sum": 3.5, "b": "x = y"}
    executed = read(folder, name)
    assert statuses(executed) == ["completed"] * 7
    where, transport, printed = outputs(executed)[3:6]
    assert Path(where.strip()).samefile(folder)
    assert transport.strip() == ("ipc" if os.name == "posix" else "tcp")
    assert printed == "λ 😀\n"
    assert "aside" in (folder / "log.txt").read_text()
    assert executed.metadata.kernelspec.name == "python3"
    papermill = executed.metadata.papermill
    assert papermill.parameters == {"a": 2.5}
    assert papermill.input_path == papermill.output_path == f"{name}.ipynb"
    assert Page((folder / f"{name}.html").read_text()).title == name
    assert dict(os.environ) == before
    assert os.getcwd() == here
    for private in Path(tempfile.gettempdir()).glob("labkit-*"):
        # Another test's, which is just ending, or no folder.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            assert not [entry for entry in os.listdir(private) if entry.startswith(name)]
    _, errors = capfd.readouterr()
    assert "papermill" not in errors
    assert "unknown parameter" not in errors


def test_files_come_back_where_nothing_is_shared():
    source = "import os\nos.mkdir('deep')\nopen('deep/data.bin', 'wb').write(bytes(range(256)))"
    outcome = perform(job(make(source, "os.symlink('/etc/passwd', 'link')")))
    assert outcome.state == "done"
    assert set(outcome.files) == {
        *("small.ipynb", "small.html", "results.json", "log.txt", "deep/data.bin")
    }
    assert outcome.files["deep/data.bin"] == bytes(range(256))
    assert outcome.files["results.json"] == b"{}"


def test_without_parameters_the_notebook_is_as_it_was(tmp_path):
    given = make("print(x)")
    assert perform(job(given, tmp_path)).state == "done"
    sources = [cell.source for cell in nbformat.reads(given.decode(), 4).cells]
    assert [cell.source for cell in read(tmp_path).cells] == sources


@pytest.mark.skipif(os.name != "posix", reason="needs sockets that are files")
@pytest.mark.parametrize(("length", "transport"), [(10, "ipc"), (90, "tcp")])
def test_sockets_lie_in_a_private_folder_unless_its_name_is_too_long(
    length, transport, tmp_path, monkeypatch
):
    notebook = make(
        "import json, os, stat\nfrom ipykernel.connect import get_connection_file\n"
        "file = get_connection_file()\ninfo = json.load(open(file))\n"
        "folder = os.path.dirname(file)\n"
        "print(info['transport'], info['ip'], oct(os.stat(folder).st_mode & 0o077))",
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short, "x" * length)
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        outcome = perform(job(notebook, tmp_path))
        assert outcome.failure is None
        assert list(folder.iterdir()) == [], "something is left"
    found, ip, others = outputs(read(tmp_path))[-1].split()
    assert found == transport
    if transport == "ipc":
        assert (ip.startswith(str(folder)), others) == (True, "0o0")


def test_threads_are_those_of_the_job(tmp_path):
    source = "import os, torch; print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])"
    perform(job(make(source), tmp_path))
    assert outputs(read(tmp_path))[-1] == "1 1\n"


# --- papermill's own behaviours --------------------------------------------------------


def test_an_error_stops_the_run_and_is_shown(tmp_path):
    notebook = make(REPORT, "report(half=x)", "print('here')\n1 / 0", "print('never')")
    outcome = perform(job(notebook, tmp_path, x=5))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    failure = outcome.failure
    assert failure.reason == "cell [5]: ZeroDivisionError: division by zero"
    assert (failure.cell, failure.name) == (5, "ZeroDivisionError")
    assert failure.lines[-1] == "ZeroDivisionError: division by zero"
    assert "\x1b" not in "".join(failure.lines)
    assert json.loads((tmp_path / "results.json").read_text()) == {"half": 5}
    executed = read(tmp_path)
    assert outputs(executed)[-2:] == ["here\ndivision by zero", ""]
    assert statuses(executed) == ["completed"] * 4 + ["failed", "pending"]
    texts = [cell.source for cell in executed.cells if cell.cell_type == "markdown"]
    assert "An Exception was encountered at" in texts[0]
    page = Page((tmp_path / "small.html").read_text())
    assert "ZeroDivisionError" in page.text
    assert "[5]:" in page.text, "the page does not show the number that the failure gives"
    again = perform(job((tmp_path / "small.ipynb").read_bytes(), tmp_path, x=5))
    assert again.failure.reason == failure.reason, "the markers of the first run are in the way"


def test_a_slip_reads_as_it_was_written_in_one_line(tmp_path):
    source = "import labkit\nlabkit.Recipe(optimizer='adamm', lr=-1)"
    failure = perform(job(make(source), tmp_path)).failure
    assert failure.reason.startswith("cell [2]: RecipeError: optimizer='adamm' is not known: did")
    assert failure.reason.endswith("lr=-1 is not allowed: give a number from 1e-05 to 10.")
    assert len(failure.reason.splitlines()) == 1
    assert "Traceback" not in (tmp_path / "small.ipynb").read_text()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import sys; sys.exit(1)", "cell [3]: SystemExit: 1"),
        ("import sys; sys.exit('no data')", "cell [3]: SystemExit: no data"),
        ("x = = 1", "cell [3]: SyntaxError: invalid syntax"),
        ("raise KeyboardInterrupt", "cell [3]: KeyboardInterrupt"),
        ("raise ValueError", "cell [3]: ValueError"),
        ("raise ValueError('a' * 10_000)", "cell [3]: ValueError: aaa"),
    ],
    ids=["sysexit1", "sysexit_text", "syntax_error", "keyboard_interrupt", "empty", "long"],
)
def test_other_ways_to_fail(source, reason, tmp_path):
    outcome = perform(job(make("print(x)", source, "print('never')"), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert outcome.failure.reason.startswith(reason)
    assert len(outcome.failure.reason) <= 300
    assert "never\n" not in outputs(read(tmp_path))


def test_sysexit0_ends_the_notebook_and_is_no_failure(tmp_path):
    outcome = perform(job(make("import sys; sys.exit(0)", "print('never')"), tmp_path))
    assert (outcome.state, outcome.failure) == ("done", None)
    assert statuses(read(tmp_path))[-1] == "pending"


def test_tags(tmp_path):
    def cell(tag: str) -> dict:
        return {"source": f"print('{tag}'.upper(), len('source'))", "metadata": {"tags": [tag]}}

    tags = ["remove-input", "remove-output", "remove-cell", "skip-execution"]
    failing = {"source": "1 / 0", "metadata": {"tags": ["raises-exception"]}}
    outcome = perform(job(make(*map(cell, tags), failing, "print('after')"), tmp_path))
    # papermill takes an error that a tag allows for a failure once all cells have run
    executed = read(tmp_path)
    assert outputs(executed)[-1] == "after\n"
    assert outcome.failure.reason.endswith("ZeroDivisionError: division by zero")
    printed = [text for text in outputs(executed) if "6" in text]
    assert printed == ["REMOVE-INPUT 6\n", "REMOVE-OUTPUT 6\n", "REMOVE-CELL 6\n"]
    text = Page((tmp_path / "small.html").read_text()).text
    assert "REMOVE-INPUT 6" in text
    assert "'remove-input'" not in text
    assert "REMOVE-OUTPUT 6" not in text
    assert "'remove-output'" in text
    assert "REMOVE-CELL" not in text
    assert "'remove-cell'" not in text


def test_report_mode_hides_the_code(tmp_path):
    perform(job(make("the_answer = 42\nprint('shown')"), tmp_path, report_mode=True, x=3))
    executed = read(tmp_path)
    hidden = [c.metadata.jupyter.source_hidden for c in executed.cells if c.cell_type == "code"]
    assert hidden == [True] * 3
    text = Page((tmp_path / "small.html").read_text()).text
    assert "shown" in text
    assert "the_answer" not in text


def test_magics(tmp_path):
    notebook = make("%time y = 1 + 1", "!echo hello {y}", "%%bash\necho there", "y?", "%pwd")
    assert perform(job(notebook, tmp_path)).state == "done"
    timed, echoed, there, *_ = outputs(read(tmp_path))[1:]
    assert "Wall time" in timed
    assert echoed.strip() == "hello 2"
    assert there == "there\n"


def test_parameters_of_an_earlier_run_are_replaced(tmp_path):
    perform(job(make("print(x)"), tmp_path / "1", x=3))
    perform(job((tmp_path / "1/small.ipynb").read_bytes(), tmp_path / "2", x=4))
    executed = read(tmp_path / "2")
    assert outputs(executed)[-1] == "4\n"
    injected = [c for c in executed.cells if "injected-parameters" in c.metadata.tags]
    assert [cell.source for cell in injected] == ["# Parameters\nx = 4\n"]


def test_a_notebook_of_parameters_alone(tmp_path):
    assert perform(job(make(), tmp_path, x=3)).state == "done"
    assert (tmp_path / "results.json").read_text() == "{}"


def test_a_figure_is_live_on_the_page(tmp_path):
    source = "import plotly.graph_objects as go\ngo.Figure([go.Scatter(y=[1, 2])])"
    assert perform(job(make(source), tmp_path)).state == "done"
    cell = read(tmp_path).cells[-1]
    assert "application/vnd.plotly.v1+json" in cell.outputs[0].data
    assert "text/html" not in cell.outputs[0].data, "plotly.js is in the notebook"
    assert Page((tmp_path / "small.html").read_text()).figures == 1


@pytest.mark.parametrize(
    "source",
    [
        "print('\\ud800 half a pair \\x00 \\x1b[31m')",
        "from IPython.display import publish_display_data as publish\n"
        "publish({'application/vnd.plotly.v1+json': {}, 'text/plain': ''})",
        "publish = get_ipython().display_pub.publish\n"
        "publish({'application/vnd.plotly.v1+json': 3, 'text/html': ['<b>', 'x']})",
    ],
)
def test_strange_output_is_no_failure(source, tmp_path):
    outcome = perform(job(make(source, "print('after')"), tmp_path))
    assert outcome.failure is None
    assert outputs(read(tmp_path))[-1] == "after\n"
    assert "</html>" in (tmp_path / "small.html").read_text()


# --- kernels ---------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "", "labkit-warm"])
def test_python_is_the_kernel_of_a_notebook_that_names_none(given, tmp_path):
    outcome = perform(job(make("print(x)", kernel=given), tmp_path, x=2))
    assert outcome.failure is None
    found = read(tmp_path).metadata.get("kernelspec", {}).get("name")
    assert found == given, "the notebook's own kernel is forgotten"


def test_a_kernel_that_is_not_installed_is_named_beside_those_that_are(tmp_path):
    outcome = perform(job(make("print(x)", kernel="fortran"), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert "'fortran', which is not installed here" in outcome.failure.reason
    assert "python3" in outcome.failure.reason
    assert statuses(read(tmp_path)) == ["pending", "pending"]
    assert (tmp_path / "small.html").exists()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a kernel for one test."""

    def write(name: str, language: str, *command: str) -> None:
        folder = tmp_path / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": list(command), "display_name": name, "language": language}
        (folder / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    return write


IPYKERNEL = ("-m", "ipykernel_launcher", "-f", "{connection_file}")


def test_which_kernels_are_warm(install):
    install("mine", "python", sys.executable, *IPYKERNEL)
    install("another", "python", "/opt/other/bin/python", *IPYKERNEL)
    install("xeus", "python", sys.executable, "-m", "xpython", "-f", "{connection_file}")

    def chosen(name: str, warm: bool = True) -> str:
        return choose_kernel({"kernelspec": {"name": name}}, {}, warm)[0]

    assert {name: chosen(name) for name in ("python3", "mine", "another", "xeus")} == {
        "python3": "labkit-warm",
        "mine": "labkit-warm",
        "another": "another",
        "xeus": "xeus",
    }
    assert chosen("python3", warm=False) == "python3"


def test_parameters_are_for_python_only(install, tmp_path):
    """A text is code where strings are interpolated: `"$(run(cmd))"` in Julia."""
    install("julia", "julia", sys.executable, *IPYKERNEL)
    notebook = make("print(1)", kernel="julia")
    outcome = perform(job(notebook, tmp_path / "1", x="$(touch pwned)"))
    assert outcome.failure.reason.startswith("parameters are for Python")
    assert perform(job(notebook, tmp_path / "2")).state == "done"
    with pytest.raises(LabError, match="of julia"):
        choose_kernel({"kernelspec": {"name": "julia"}}, {"x": 1}, True)


def test_a_kernel_that_does_not_start_is_tried_again(install, tmp_path):
    install("ends", "python", sys.executable, "-c", "raise SystemExit(7)")
    outcome = perform(job(make("print(1)", kernel="ends"), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert "the kernel died while it started" in outcome.failure.reason
    assert statuses(read(tmp_path)) == ["pending", "pending"]


# --- what is shown is bounded ----------------------------------------------------------


def test_output_is_cut_with_a_line_that_says_so(tmp_path):
    notebook = make(
        "for i in range(50): print('λ' * 1000)",
        "print('short')",
        "from IPython.display import display, HTML, clear_output\n"
        "for i in range(100): display(HTML('<b>' + 'y' * 10_000 + '</b>'))",
        "for i in range(100):\n    print('z' * 1000)\n    clear_output(wait=True)\nprint('end')",
        "raise ValueError('e' * 100_000)",
    )
    outcome = perform(job(notebook, tmp_path, limits=Limits(output=20_000)))
    cells = [cell for cell in read(tmp_path).cells if cell.cell_type == "code"]
    printed, short, rich, cleared, error = cells[-5:]
    (stream,) = printed.outputs
    assert stream.text.startswith("λ" * 1000)
    assert stream.text.endswith("it is cut off after 20,000 bytes]\n")
    assert 18_000 < len(stream.text.encode()) < 20_200
    assert short.outputs[0].text == "short\n"
    assert 20 < len(rich.outputs) < 40
    assert "cut off after 320,000 bytes" in rich.outputs[-1].data["text/plain"]
    assert [output.text for output in cleared.outputs] == ["end\n"]
    assert len(error.outputs[0].evalue) < 21_000
    assert len(outcome.failure.reason) <= 300
    assert (tmp_path / "small.ipynb").stat().st_size < 1_000_000


def test_what_is_printed_in_pieces_is_one_text(tmp_path):
    source = "import sys, time\nfor i in range(3):\n    print(i)\n    sys.stdout.flush()"
    perform(job(make(f"{source}\nprint('!', file=sys.stderr)\nsys.stderr.flush()"), tmp_path))
    found = [(o.name, o.text) for o in read(tmp_path).cells[-1].outputs]
    assert found == [("stdout", "0\n1\n2\n"), ("stderr", "!\n")]


def test_widgets_and_displays_that_change_are_as_papermill_has_them(tmp_path):
    notebook = make(
        "import ipywidgets\nfrom IPython.display import display\n"
        "out = ipywidgets.Output()\nwith out:\n    print('inside')\nout",
        "handle = display('before', display_id=True)",
        "handle.update('after')",
    )
    assert perform(job(notebook, tmp_path)).state == "done"
    executed = read(tmp_path)
    assert executed.cells[-2].outputs[0].data["text/plain"] == "'after'"
    state = executed.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    (model,) = [m for m in state.values() if m["model_name"] == "OutputModel"]
    assert model["state"]["outputs"][0]["text"] == "inside\n"


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


def test_text_that_looks_like_code_arrives_as_text(tmp_path):
    given = {f"text{i}": payload for i, payload in enumerate(PAYLOADS)}
    notebook = make(
        REPORT,
        f"report(texts=[{', '.join(given)}], many=many, nested=nested, "
        f"there=os.path.exists('{MARKER}'))",
        parameters="\n".join([*(f"{name} = ''" for name in given), "many = []", "nested = {}"]),
    )
    outcome = perform(job(notebook, tmp_path, **given, many=PAYLOADS, nested={"a": PAYLOADS}))
    assert outcome.failure is None
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["there"] is False, "a parameter ran as code"
    assert results["texts"] == results["many"] == results["nested"]["a"] == PAYLOADS
    assert not list(tmp_path.rglob(MARKER))
    assert "<script>alert(1)" not in (tmp_path / "small.html").read_text()


# --- results ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": ', "[1]", "", "\x00" * 10, "[" * 100_000])
def test_results_that_are_no_object_of_json_are_set_aside(text, tmp_path):
    source = f"import os\nopen(os.environ[{RESULTS!r}], 'w').write({text!r})"
    outcome = perform(job(make(source), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert outcome.failure.reason.startswith("results.json is no object of JSON")
    assert (tmp_path / "results.json").read_text() == "{}"
    assert (tmp_path / "results.broken.json").read_text() == text


def test_the_mode_of_what_is_left_follows_the_users_mask(tmp_path):
    before = os.umask(0o022)
    try:
        perform(job(make("x"), tmp_path))
    finally:
        os.umask(before)
    for name in ("small.ipynb", "small.html", "results.json", "log.txt"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644, name


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b'{"cells": 3}', b"\xff\xfe"])
def test_what_is_no_notebook_is_a_failure(content, tmp_path):
    given = job(make("x"), tmp_path)
    outcome = perform(type(given)(**{**vars(given), "notebook": content}))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert outcome.failure.reason.startswith("small.ipynb is not a notebook")
