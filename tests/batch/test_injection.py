"""Nothing that is given is ever executed: it arrives as the data it was, or is refused.

Papermill alone is shown beside: what it writes into the parameters cell is executed by
IPython, as a kernel would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from papermill.translators import papermill_translators

from labkit.batch import run_batch
from labkit.batch.grid import GridSpec, read_grid, read_options
from labkit.batch.perform import perform
from labkit.batch.plan import plan
from labkit.batch.runner import choose_kernel
from labkit.core.errors import LabError
from labkit.core.table import Table
from tests.batch.notebooks import REPORT, make

MARK = Path(tempfile.gettempdir()) / f"labkit-marker-{os.getpid()}"
CODE = f"open('{MARK}', 'w')"
CODE2 = f'open("{MARK}", "w")'
KERNEL = os.environ.get("LABKIT_TEST_KERNEL", "warm")


@pytest.fixture(autouse=True)
def no_marker():
    """The file whose existence proves that something was executed."""
    MARK.unlink(missing_ok=True)
    yield
    executed = MARK.exists()
    MARK.unlink(missing_ok=True)
    assert not executed


# --- what is tried ---------------------------------------------------------------------

TEXTS = [
    f'"; {CODE2}; "',
    f"'; {CODE}; '",
    f"\n{CODE}\n",
    f"\r\n{CODE}",
    f'""" + {CODE2}.name + """',
    f"''' + {CODE}.name + '''",
    f'\\"; {CODE2}; #',
    f"\\'; {CODE}; #",
    f"\\\n; {CODE}",
    f'\\\\" ; {CODE} #',
    f"{{{CODE}}}",
    f"${{{CODE}}}",
    "{0.__class__.__mro__}",
    f"__import__('pathlib').Path('{MARK}').touch()",
    f"%system touch {MARK}",
    f"%%bash\ntouch {MARK}",
    f"!touch {MARK}",
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"'; touch {MARK}; '",
    f"\u2028{CODE}\u2029",
    f"\x0c{CODE}\x85{CODE}",
    "\\",
    '\\"',
    "\x00\x1b[31m\x7f",
    "λ \U0001f600 \\N{BULLET} \\u0022 \\x22",
    "</script><script>alert(1)</script>",
    "-->'\"<img src=x onerror=alert(1)>",
    f"!!python/object/apply:os.system ['touch {MARK}']",
    f"{{% {CODE} %}}{{{{ 7*7 }}}}",
    "x" * 10_000,
]


class Text(str):
    """A text that writes something else."""

    def __str__(self) -> str:
        return CODE

    __repr__ = __str__


class Whole(int):
    """A number that writes code."""

    __str__ = __repr__ = Text.__str__


class Number(float):
    """Another one."""

    __str__ = __repr__ = Text.__str__


class Thing:
    """Anything else; its quote ends the text that it is written into."""

    def __str__(self) -> str:
        return f'"; {CODE2}; "'


OBJECTS = [
    Text("a"),
    Whole(1),
    Number(1),
    Thing(),
    PurePosixPath(f'"; {CODE}; "'),
    (f'"; {CODE}; "',),
    {f'"; {CODE}; "'},
    f'"; {CODE}; "'.encode(),
    [Whole(1)],
    {"a": Number(1)},
    {Thing(): 1},
    {b'": %s}  #' % CODE.encode(): 1},
    {Text("a"): 1},
]
NAMES = [
    f"{CODE}\nx",
    f"x = {CODE}; y",
    f"{CODE}.x",
    f"!touch {MARK} #",
    f"%system touch {MARK} #",
    f"x: {CODE}",
    f"x[{CODE}]",
    f"x\n{CODE}\ny",
    "__builtins__",
    "class",
    "None",
    "print",
    "x ",
    " x",
    "x;",
    "x=1;y",
    "",
    "import os",
    "x\u037e",
    "ｘ",  # what Python reads as x
    "\ud800",
]
LANGUAGES = ["matlab", "bash", "julia", "R", "scala", ".net-powershell"]


# --- papermill alone -------------------------------------------------------------------

EXECUTE = """
import json, sys, contextlib, io, os
from IPython.core.interactiveshell import InteractiveShell
shell, mark, count = InteractiveShell(), sys.argv[1], []
for code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()):
        shell.run_cell(code)
    count.append(os.path.exists(mark))
    if count[-1]:
        os.unlink(mark)
json.dump(count, sys.stdout)
"""


def papermill_executes(codes: list[str], folder: Path) -> list[bool]:
    """Which of the cells leave the marker, executed as a kernel would."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(MARK)],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "IPYTHONDIR": str(folder)},
        timeout=120,
    )
    return json.loads(done.stdout)


def written(parameters: dict[Any, Any], kernel: str = "python3", language: str = "python") -> str:
    """The cell that papermill writes."""
    return papermill_translators.find_translator(kernel, language).codify(parameters)


# --- labkit ----------------------------------------------------------------------------


def echo(folder: Path, count: int) -> Path:
    """A notebook that reports what it was given."""
    names = [f"{kind}{i}" for kind in ("text", "any") for i in range(count)]
    defaults = [f"{name} = {'None' if name.startswith('any') else repr('')}" for name in names]
    path = folder / "echo.ipynb"
    told = ", ".join(f"{name}={name}" for name in names)
    path.write_bytes(make(REPORT, f"report({told})", parameters="\n".join(defaults)))
    return path


def refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except LabError as error:
        return bool(str(error).strip())
    return False


def test_texts_arrive_as_they_were(tmp_path):
    path = echo(tmp_path, len(TEXTS))
    given: dict[str, Any] = {f"text{i}": text for i, text in enumerate(TEXTS)}
    given |= {f"any{i}": [text, {text: {"a": [text]}}] for i, text in enumerate(TEXTS)}
    (job,) = plan(path, [given], kernel=KERNEL)
    outcome = perform(replace(job, folder=str(tmp_path / "run")))
    assert outcome.failure is None
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == given
    page = (tmp_path / "run" / "echo.html").read_text()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_come_whole_through_the_command_line_and_a_file(text, tmp_path):
    path = echo(tmp_path, 1)
    options = read_options([f"text0={json.dumps([text])}", f"any0={json.dumps(text)}"])
    (job,) = plan(path, options)
    assert job.parameters == {"text0": text, "any0": text}
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump({"parameters": {"text0": text, "any0": [text]}}))
    (by_file,) = plan(path, read_grid(file))
    assert by_file == job


def test_nothing_else_than_json_arrives(tmp_path):
    path = echo(tmp_path, 1)
    for value in OBJECTS:
        for name in ("text0", "any0"):
            assert refused(lambda n=name, v=value: plan(path, [{n: v}])), value
            assert refused(lambda n=name, v=value: plan(path, GridSpec(values={n: [v]}))), value


def test_no_name_but_a_parameters_own_arrives(tmp_path):
    path = echo(tmp_path, 1)
    for name in NAMES:
        assert refused(lambda n=name: plan(path, [{n: "1"}])), name
        assert refused(lambda n=name: plan(path, read_options([f"{n}=1"]))), name


def test_no_language_but_python_is_written(tmp_path):
    path = echo(tmp_path, 1)
    content = json.loads(path.read_text())
    for language in LANGUAGES:
        content["metadata"]["kernelspec"]["language"] = language
        path.write_text(json.dumps(content))
        assert refused(lambda: plan(path, [{"text0": "1"}])), language


@pytest.mark.parametrize(
    "name",
    [f"python3; touch {MARK}", f"$(touch {MARK})", "../../../tmp", "py{x}", "-c", "a\0b"],
    ids=range(6),  # the marker's name differs from process to process
)
def test_a_kernels_name_is_only_looked_up(name):
    metadata = {"kernelspec": {"name": name, "display_name": f"'; {CODE}"}}
    with pytest.raises(LabError, match="is not installed here"):
        choose_kernel(metadata, {"x": 1}, warm=True)


PATHS = [
    "$(touch marker)",
    "'; touch marker; '",
    '"; touch marker; "',
    "`touch marker`",
    "{x.__class__} {0} {{}}",
    "-rf --help",
    "a\nb",
    "..",
    "<script>alert(1)",
    "%s %(x)s ${HOME} ~",
    "λ & ; | > marker",
]


def test_paths_are_only_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = make(REPORT, "report(x=x)", parameters="x = 'a'")
    for number, name in enumerate(PATHS):
        folder = tmp_path / (name if name != ".." else "dots")
        folder.mkdir()
        path = folder / f"{name}.ipynb"
        path.write_bytes(code)
        out = folder / ".." / folder.name / f"out {name}"
        batch = run_batch(path, [{"x": name}], out, jobs=1, kernel=KERNEL, progress=False)
        (run,) = batch.runs
        assert run["state"] == "done", (name, run)
        assert json.loads(batch.folder.read(run["id"], "results.json")) == {"x": name}, number
        page = batch.folder.read(run["id"], f"{run['notebook']}.html").decode()
        assert "<script>alert(1)" not in page
    assert not list(tmp_path.rglob("marker"))


def attempts(folder: Path) -> list[tuple[str, str, str | None]]:
    """Kind, the cell that papermill alone writes, and the one for what labkit lets through."""
    path, content = echo(folder, 1), json.loads(echo(folder, 1).read_text())

    def through(name: Any, value: Any) -> str | None:
        try:
            (job,) = plan(path, [{name: value}], text=False)
        except LabError:
            return None
        return written(job.parameters)

    found = [("texts", written({"x": text}), through("text0", text)) for text in TEXTS]
    found += [("keys", written({"x": {t: 1}}), through("any0", {t: 1})) for t in TEXTS]
    found += [("objects", written({"x": value}), through("any0", value)) for value in OBJECTS]
    found += [("names", written({name: 1}), through(name, 1)) for name in NAMES]
    ends = f"\\'\" ; {CODE2} #"  # a quoted text of the shell, and code to Python
    for language in LANGUAGES:
        content["metadata"]["kernelspec"]["language"] = language
        path.write_text(json.dumps(content))
        found.append(
            ("languages", written({"x": ends}, "python3", language), through("text0", ends))
        )
    return found


def test_beside_papermill_alone(tmp_path, capsys):
    """How many of the same attempts are executed."""
    found = attempts(tmp_path)
    alone = papermill_executes([code for _, code, _ in found], tmp_path)
    ours = papermill_executes([code or "" for *_, code in found], tmp_path)
    assert len(alone) == len(ours) == len(found) > 20
    kinds = [kind for kind, *_ in found]
    rows = [
        {
            "tried": kind,
            "attempts": kinds.count(kind),
            "papermill executed": sum(
                flag for k, flag in zip(kinds, alone, strict=True) if k == kind
            ),
            "labkit refused": sum(k == kind and code is None for k, _, code in found),
            "labkit executed": sum(flag for k, flag in zip(kinds, ours, strict=True) if k == kind),
        }
        for kind in dict.fromkeys(kinds)
    ]
    with capsys.disabled():
        print(f"\n{Table(rows)!r}")
    assert sum(ours) == 0
    executed = {row["tried"]: row["papermill executed"] for row in rows}
    assert executed["texts"] == executed["keys"] == 0, "papermill escapes text"
    assert min(executed[kind] for kind in ("objects", "names", "languages")) >= 1
    refused = {row["tried"]: row["labkit refused"] for row in rows}
    assert refused["texts"] == refused["keys"] == 0, "text is data"
