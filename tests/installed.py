"""Check an installed labkit the way its first user meets it.

`python tests/installed.py ENVIRONMENT` takes the `labkit` command of a virtual environment and
uses it in an empty folder with an empty home: `labkit lab` has to answer, and `labkit run` has to
finish one of the notebooks that the lab has copied. The clone takes no part, and that the package
comes from the environment is checked first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

START = 120  # seconds that the lab may take to name its address
ANSWER = 30  # seconds to an answer after that
RUN = 600  # seconds of one quick notebook, the preloaded process included
NOTEBOOK = "01_what_weights_are.ipynb"


def main(environment: Path) -> None:
    """Raise at the first thing that is not as it should be."""
    bin_ = environment.absolute() / "bin"
    with tempfile.TemporaryDirectory(prefix="labkit-installed-") as place:
        folder = Path(place)
        env = surroundings(bin_, folder)
        where = output(
            [bin_ / "python", "-c", "import labkit; print(labkit.__file__)"], env, folder
        )
        assert Path(where).is_relative_to(environment.absolute()), f"labkit is taken from {where}"
        print(output([bin_ / "labkit", "--version"], env, folder), flush=True)
        check_lab([bin_ / "labkit", "lab", "mine", "--no-browser", "--port=0"], env, folder)
        print(f"labkit lab: answers, and has copied {len(list(folder.glob('mine/*.ipynb')))}")
        command = [bin_ / "labkit", "run", f"mine/{NOTEBOOK}", "--fast", "--out", "runs"]
        check_run(command, env, folder)
        print(f"labkit run: {NOTEBOOK} is done, with its page and its table", flush=True)


def surroundings(bin_: Path, folder: Path) -> dict[str, str]:
    """The variables of somebody who has never used Python or Jupyter here."""
    unknown = ("JUPYTER", "LABKIT", "PIP", "PLOTLY", "PYTHON", "VIRTUAL_ENV", "XDG", "YOLO")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unknown)}
    own = {"HOME": str(folder / "home"), "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    (folder / "home").mkdir()
    return {**kept, **own}


def output(command: list[str | Path], env: dict[str, str], folder: Path) -> str:
    """What a command prints."""
    done = subprocess.run(
        command, env=env, cwd=folder, check=True, timeout=RUN, capture_output=True, text=True
    )
    return done.stdout.strip()


def check_lab(command: list[str | Path], env: dict[str, str], folder: Path) -> None:
    """Start the lab, ask it for its page, its kernels and a notebook, and end it."""
    lines: list[str] = []
    named = threading.Event()
    lab = subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def read() -> None:  # to the end: a full pipe would stop the lab
        for line in lab.stdout or ():
            lines.append(line)
            if "token=" in line:
                named.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert named.wait(START), "the lab did not start:\n" + "".join(lines)
        found = re.search(r"(http://[^/\s]+)/\S*token=(\w+)", "".join(lines))
        assert found, "the lab names no address:\n" + "".join(lines)
        base, token = found.groups()
        assert "<title>" in get(base, "/lab/tree/00_start_here.ipynb", token)
        kernels = json.loads(get(base, "/api/kernelspecs", token))["kernelspecs"]
        assert {"python3", "labkit-warm"} <= kernels.keys(), sorted(kernels)
        first = json.loads(get(base, "/api/contents/00_start_here.ipynb", token))
        assert first["content"]["cells"]
        assert end(lab) == 0, "".join(lines)
    finally:
        if lab.poll() is None:
            lab.kill()
            lab.wait()


def end(lab: subprocess.Popen[str]) -> int:
    """Ask it to end; once more where it was still starting. (A job in the background of a shell
    would not hear Ctrl-C.)
    """
    for _ in range(2):
        lab.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return lab.wait(ANSWER / 2)
    raise AssertionError("the lab does not end when it is asked to")


def get(base: str, path: str, token: str) -> str:
    """A page of the lab, which names its address a moment before it listens there."""
    request = urllib.request.Request(base + path, headers={"Authorization": f"token {token}"})
    deadline = time.monotonic() + ANSWER
    while True:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def check_run(command: list[str | Path], env: dict[str, str], folder: Path) -> None:
    """Run a notebook and read what it leaves."""
    done = subprocess.run(
        command, env=env, cwd=folder, timeout=RUN, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = folder.glob("runs/**/results.json")
    assert json.loads(results.read_text(encoding="utf-8"))
    assert (folder / "runs" / "results.csv").is_file()
    pages = [path for path in results.parent.glob("*.html") if path.stat().st_size > 100_000]
    assert pages, "the executed notebook has no page"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
