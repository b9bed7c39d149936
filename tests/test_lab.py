from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit import lab
from labkit.cli import main
from labkit.core.errors import LabError


def write_notebook(path: Path, source: str, **metadata: object) -> None:
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    notebook = {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))


def source(path: Path) -> str:
    return "".join(json.loads(path.read_text())["cells"][0]["source"])


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    write_notebook(folder / lab.FIRST, "1")
    write_notebook(folder / "01_next.ipynb", "1")
    monkeypatch.setattr(lab, "shipped", lambda: folder)
    return folder


def test_notebooks_are_copied_and_may_be_read_by_others(shipped: Path, tmp_path: Path):
    folder = lab.prepare(tmp_path / "a" / "b")
    for path in shipped.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in shipped.iterdir()),
        lab.MANIFEST,
    }


def test_an_untouched_notebook_follows_the_package(shipped: Path, tmp_path: Path, capsys):
    folder = lab.prepare(tmp_path / "mine")
    write_notebook(shipped / lab.FIRST, "2")
    lab.prepare(folder)
    assert source(folder / lab.FIRST) == "2"
    assert capsys.readouterr().out == ""


def test_a_notebook_that_was_only_opened_is_untouched(shipped: Path, tmp_path: Path):
    # JupyterLab writes the kernel's language into it, and splits its lines.
    folder = lab.prepare(tmp_path / "mine")
    write_notebook(folder / lab.FIRST, ["1"], language_info={"name": "python"})  # type: ignore[arg-type]
    write_notebook(shipped / lab.FIRST, "2")
    lab.prepare(folder)
    assert source(folder / lab.FIRST) == "2"


def test_a_changed_notebook_is_kept_and_said_so_once_there_is_a_newer(
    shipped: Path, tmp_path: Path, capsys
):
    folder = lab.prepare(tmp_path / "mine")
    write_notebook(folder / lab.FIRST, "mine")
    lab.prepare(folder)
    assert capsys.readouterr().out == ""
    for version in ("2", "3"):
        write_notebook(shipped / lab.FIRST, version)
        lab.prepare(folder)
        assert source(folder / lab.FIRST) == "mine"
        assert re.fullmatch(r"labkit: kept 00_start_here.ipynb, .*\n", capsys.readouterr().out)


@pytest.mark.parametrize("manifest", [None, "", "[]", '{"copied": 1}'])
def test_a_notebook_of_unknown_origin_is_kept(shipped: Path, tmp_path: Path, manifest: str | None):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_notebook(folder / lab.FIRST, "mine")
    if manifest is not None:
        (folder / lab.MANIFEST).write_text(manifest)
    lab.prepare(folder)
    assert source(folder / lab.FIRST) == "mine"
    assert (folder / "01_next.ipynb").exists()


def test_a_file_that_is_no_notebook_is_kept(shipped: Path, tmp_path: Path):
    folder = lab.prepare(tmp_path / "mine")
    (folder / lab.FIRST).write_bytes(b"\xff not json")
    write_notebook(shipped / lab.FIRST, "2")
    lab.prepare(folder)
    assert (folder / lab.FIRST).read_bytes() == b"\xff not json"


def test_a_removed_notebook_comes_back(shipped: Path, tmp_path: Path):
    folder = lab.prepare(tmp_path / "mine")
    (folder / lab.FIRST).unlink()
    lab.prepare(folder)
    assert (folder / lab.FIRST).exists()


def test_the_folder_they_are_shipped_in_is_left_alone(shipped: Path):
    before = sorted(shipped.iterdir())
    assert lab.prepare(shipped) == shipped
    assert sorted(shipped.iterdir()) == before


def test_a_file_in_the_way_is_named(shipped: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="file is in the way"):
        lab.prepare(tmp_path / "file")
    (tmp_path / "folder" / lab.FIRST).mkdir(parents=True)
    with pytest.raises(LabError, match=f"{lab.FIRST} is in the way"):
        lab.prepare(tmp_path / "folder")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder that even root cannot write to")
def test_an_unwritable_folder_is_one_line(shipped: Path):
    result = CliRunner().invoke(main, ["lab", "/proc/lab"])
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: cannot write to /proc/lab: .*\n", result.output)


def test_options_go_on_to_jupyterlab(shipped: Path, tmp_path: Path, monkeypatch):
    called = []
    monkeypatch.setattr(lab, "launch", lambda *args: called.append(args) or 0)
    options = ["--no-browser", "--port", "8890", "--ServerApp.token=t"]
    result = CliRunner().invoke(main, ["lab", str(tmp_path / "mine"), *options])
    assert result.exit_code == 0
    assert called == [(tmp_path / "mine", tuple(options))]


def test_options_before_the_folder_are_refused():
    result = CliRunner().invoke(main, ["lab", "--port", "8890"])
    assert result.exit_code == 2
    assert "the folder comes first" in result.output


def test_command_asks_for_root_and_browser_only_where_they_are(tmp_path: Path):
    (tmp_path / "02_only.ipynb").touch()
    plain = lab.command(tmp_path, ["--port=1"], root=False, display=True)
    assert "--allow-root" not in plain
    assert "--no-browser" not in plain
    assert "--LabApp.default_url=/lab/tree/02_only.ipynb" in plain
    assert plain[-1] == "--port=1"
    container = lab.command(tmp_path, root=True, display=False)
    assert {"--allow-root", "--no-browser"} <= set(container)


def test_our_settings_and_kernel_come_before_the_users(tmp_path: Path):
    base = {"JUPYTER_CONFIG_PATH": "/theirs", "JUPYTER_PATH": "/theirs", "PLOTLY_RENDERER": "png"}
    env = lab.environment(tmp_path, base)
    assert env["JUPYTER_CONFIG_PATH"] == f"{lab.CONFIG}{os.pathsep}/theirs"
    assert env["JUPYTER_PATH"].endswith(f"{os.pathsep}/theirs")
    assert env["PLOTLY_RENDERER"] == "png"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A lab started in an unkind home, with all that it said up to its URL."""
    home = tmp_path / "home"
    kernel = home / ".local/share/jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    folder = tmp_path / "mine"
    folder.mkdir()
    write_notebook(folder / lab.FIRST, "1")
    start = (
        "import sys, pathlib, labkit.lab as lab;lab.launch(pathlib.Path(sys.argv[1]), ['--port=0'])"
    )
    env = {**os.environ, "HOME": str(home)}
    env = {k: v for k, v in env.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    process = subprocess.Popen(
        [sys.executable, "-c", start, str(folder)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if url := re.search(r"http://127\.0\.0\.1\S+", line):
            yield process, said, url[0]
            break
    else:
        pytest.fail(said)
    process.kill()
    process.wait()


def wait_until_listening(base: str) -> None:
    host, port = base.removeprefix("http://").split(":")
    for _ in range(200):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=10).close()
            return
        time.sleep(0.1)


def test_lab_answers_at_its_first_notebook_and_ends_at_once(running):
    process, said, url = running
    assert f"/lab/tree/{lab.FIRST}?token=" in url
    assert "Error" not in said
    base, token = re.fullmatch(r"(http://[^/]+)/lab.*token=(\w+)", url).groups()

    def get(path: str) -> str:
        request = urllib.request.Request(base + path, headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    wait_until_listening(base)  # the URL is said a moment before
    page = get(f"/lab/tree/{lab.FIRST}")
    assert re.search(r'"news":\s*{\s*"disabled":\s*true', page)
    spec = json.loads(get("/api/kernelspecs"))["kernelspecs"]["python3"]["spec"]
    assert "ipykernel_launcher" in spec["argv"]
    settings = json.loads(get("/lab/api/settings/@jupyterlab/apputils-extension:notification"))
    assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"

    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert time.monotonic() - start < 10
