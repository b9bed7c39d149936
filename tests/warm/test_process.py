"""What a fork does to be like a fresh process, beside a fresh process.

Whole forks are in test_forkserver.py; these are the parts that need none.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from labkit.warm import process

BECOME = """
import os, sys
from labkit.warm import process
request = {"target": sys.argv[1], "arguments": sys.argv[2:], "cwd": "/", "env": dict(os.environ),
           "threads": 1}
process.become(request, "/nowhere")
"""


def become(code: str, *arguments: str, folder) -> subprocess.CompletedProcess[str]:
    """A process that becomes the function `main` of a module with this code."""
    (folder / "a_target.py").write_text(f"import atexit, os, sys\n{code}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-c", BECOME, "a_target:main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", 0),
        ("return 5", 5),
        ("sys.exit(3)", 3),
        ("sys.exit('a message')", 1),
        ("raise ValueError('wrong')", 1),
        ("raise KeyboardInterrupt", -2),
    ],
)
def test_it_ends_as_a_program_with_that_end(body, code, tmp_path):
    done = become(f"def main(arguments): {body}", folder=tmp_path)
    assert done.returncode == code
    assert ("a message" in body) == ("a message" in done.stderr)
    assert ("ValueError" in body) == ("ValueError: wrong" in done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_it_has_a_session_a_folder_and_arguments_of_its_own(tmp_path):
    code = (
        "def main(arguments):\n"
        "    atexit.register(print, 'at exit')\n"
        "    print(os.getsid(0) == os.getpid(), os.getcwd(), arguments, sys.argv[1:])\n"
        "    print(os.environ['LABKIT_FORKSERVER'], os.environ['OMP_NUM_THREADS'])\n"
    )
    done = become(code, "a", "b", folder=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True / ['a', 'b'] ['a', 'b']",
        "/nowhere 1",
        "at exit",
    ]


def test_a_function_is_found_by_its_name():
    assert process.find("os.path:join") is os.path.join
    with pytest.raises(AttributeError):
        process.find("os.path:nothing")
    with pytest.raises(ModuleNotFoundError):
        process.find("no_such_module:main")


def test_the_libraries_with_threads_are_looked_up_once():
    pytest.importorskip("threadpoolctl")
    assert process.thread_pools() is process.thread_pools()
