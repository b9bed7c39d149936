"""Forks of a preloaded process: like fresh ones, and none outlives whoever asked for it.

The servers here preload next to nothing; what they preload otherwise is tested with kernels.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.warm import forkserver
from labkit.warm.forkserver import ADDRESS, Fork, ForkError, ForkServer
from labkit.warm.process import SACRIFICE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
ROOT = str(Path(__file__).parents[2])
TARGETS = "tests.warm.targets:"
SOON = 20.0  # seconds in which what is killed must be gone


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., ForkServer]]:
    """Servers that find this file's targets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ROOT)
        patch.delenv(ADDRESS, raising=False)
        servers = []

        def start(preload: str = "nothing", **settings: Any) -> ForkServer:
            servers.append(ForkServer(preload=TARGETS + preload, **settings))
            return servers[-1]

        yield start
        for server in servers:
            server.close()


@pytest.fixture(scope="module")
def server(serve: Callable[..., ForkServer]) -> ForkServer:
    return serve("numpy")


def first_line(log: Path) -> Any:
    """What a fork prints first, once it has."""
    until(lambda: log.exists() and "\n" in log.read_text())
    return json.loads(log.read_text().splitlines()[0])


def until(condition: Callable[[], Any]) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- like a fresh process ----------------------------------------------------------------


def test_a_fork_knows_of_itself_what_a_fresh_process_would(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LEFT", "over")
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    env = {"PATH": "/bin", "PYTHONPATH": f"{ROOT}:/nowhere::{ROOT}", "x": "ü =\n"}
    fork = server.fork(TARGETS + "tell", ["a", "é"], cwd=tmp_path, env=env, log=log, threads=1)
    assert fork.wait(SOON) == 0
    before, told = log.read_text().splitlines()
    facts = json.loads(told)
    assert before == "before"
    assert facts["arguments"] == ["a", "é"]
    assert facts["argv"] == [TARGETS + "tell", "a", "é"]
    assert facts["cwd"] == str(tmp_path)
    address = facts["env"].pop(ADDRESS)
    assert Path(address).parent == Path(server.address).parent
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    assert facts["env"] == env | threads
    fresh = [sys.executable, "-P", "-c", "import json, sys; print(json.dumps(sys.path))"]
    assert facts["path"] == json.loads(subprocess.check_output(fresh, env=env))
    assert facts["main"] == sorted(vars(type(sys)("__main__")))
    assert facts["leads"] is True
    assert facts["descriptors"] == []
    assert facts["input"] == ""
    assert facts["signals"] == [True, True]
    assert facts["sacrifice"] == SACRIFICE


def test_random_numbers_differ_from_fork_to_fork(server, tmp_path):
    drawn = []
    for name in "ab":
        assert server.fork(TARGETS + "draw", log=tmp_path / name).wait(SOON) == 0
        drawn += [(tmp_path / name).read_text().split()]
    assert len(drawn[0]) == 5
    assert not set(drawn[0]) & set(drawn[1])


@pytest.mark.parametrize(
    ("how", "value", "code", "says"),
    [
        ("return", "null", 0, ""),
        ("return", "3", 3, ""),
        ("exit", "null", 0, ""),
        ("exit", "4", 4, ""),
        ("exit", '"too hot"', 1, "too hot\n"),
        ("at once", "5", 5, ""),
        ("signal", str(int(signal.SIGKILL)), -signal.SIGKILL, ""),
        ("signal", str(int(signal.SIGTERM)), -signal.SIGTERM, ""),
        ("signal", str(int(signal.SIGINT)), -signal.SIGINT, "KeyboardInterrupt"),
        ("raise", "broken", 1, "RuntimeError: broken"),
    ],
)
def test_exit_codes(how, value, code, says, server, tmp_path):
    log = tmp_path / "log.txt"
    fork = server.fork(TARGETS + "end", [how, value], log=log)
    assert fork.wait(SOON) == code
    assert fork.poll() == fork.returncode == code
    if "Error" in says or "Interrupt" in says:
        assert log.read_text().strip().splitlines()[0].startswith("Traceback")
        assert log.read_text().strip().splitlines()[-1] == says
    else:
        assert log.read_text() == says


def test_it_ends_as_programs_do(server, tmp_path):
    fork = server.fork(TARGETS + "leave_in_order", log=tmp_path / "log.txt")
    assert fork.wait(SOON) == 0
    assert (tmp_path / "log.txt").read_text() == "worked\nat exit\n"


def test_what_cannot_start_says_why(server, tmp_path):
    log = tmp_path / "log.txt"
    assert server.fork("no.such:thing", log=log).wait(SOON) == 1
    assert "No module named 'no'" in log.read_text()
    with pytest.raises(ForkError, match="missing"):
        server.fork(TARGETS + "nothing", log=tmp_path / "missing" / "log.txt")
    assert server.fork(TARGETS + "nothing", cwd=tmp_path / "missing", log=log).wait(SOON) == 1
    assert "FileNotFoundError" in log.read_text()


# --- waiting and ending ------------------------------------------------------------------


def test_waiting_and_signals(server, tmp_path):
    fork = server.fork(TARGETS + "wait", log=tmp_path / "log.txt")
    assert fork.poll() is None
    assert fork.wait(0.05) is None
    assert first_line(tmp_path / "log.txt") == fork.pid
    fork.terminate()
    assert fork.wait(SOON) == -signal.SIGTERM
    fork.kill()  # harmless by now
    assert gone(fork.pid)
    assert fork.family() == []


@pytest.mark.parametrize("wait", [True, False], ids=["killed", "by itself"])
def test_whatever_it_started_ends_with_it(wait, server, tmp_path):
    """Also what runs in another session, without the environment and without a parent."""
    log = tmp_path / "log.txt"
    fork = server.fork(TARGETS + "start_a_family", ["wait"] * wait, log=log)
    pids = first_line(log)
    assert len(set(pids)) == 4
    if wait:
        assert {process.pid for process in fork.family()} == set(pids)
        fork.kill()
    assert fork.wait(SOON) == (-signal.SIGKILL if wait else 0)
    assert [pid for pid in pids if not gone(pid)] == []


def test_a_fork_of_a_fork_is_of_its_family(server, tmp_path):
    log = tmp_path / "log.txt"
    fork = server.fork(TARGETS + "ask_for_another", [str(tmp_path / "another")], log=log)
    pids = first_line(log)
    assert set(pids) <= {process.pid for process in fork.family()}
    fork.kill()
    fork.wait(SOON)
    assert [pid for pid in pids if not gone(pid)] == []


def test_nobody_holds_it(server, tmp_path):
    log = tmp_path / "log.txt"
    fork = server.fork(TARGETS + "start_a_family", ["wait"], log=log)
    pids = first_line(log)
    del fork
    for pid in pids:
        until(lambda pid=pid: gone(pid))


CLIENT = f"""
import os, sys, time
from labkit.warm.forkserver import ForkServer
server = ForkServer(preload="{TARGETS}nothing")
fork = server.fork("{TARGETS}start_a_family", ["wait"], log=sys.argv[1])
if os.fork() == 0:  # inherits the lifeline
    time.sleep({SOON * 2})
    os._exit(0)
print(server.address, server._process.pid, fork.keeper, flush=True)
time.sleep({SOON * 2})
"""


@pytest.mark.usefixtures("serve")
def test_when_its_client_is_killed(tmp_path):
    """The client has a child that keeps all its connections open."""
    log = tmp_path / "log.txt"
    command = [sys.executable, "-c", CLIENT, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        pids = first_line(log)
        address, *others = client.stdout.readline().split()
        (child,) = (p for p in psutil.Process(client.pid).children() if str(p.pid) not in others)
        client.kill()
        client.wait()
        for pid in [*pids, *map(int, others)]:
            until(lambda pid=pid: gone(pid))
        until(lambda: not Path(address).parent.exists())
        child.kill()


# --- the server --------------------------------------------------------------------------


def test_when_the_server_is_killed(serve, tmp_path):
    server = serve()
    log = tmp_path / "log.txt"
    before = server.fork(TARGETS + "wait", log=log)
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    assert server.fork(TARGETS + "nothing").wait(SOON) == 0
    assert first_line(log) == before.pid
    assert before.poll() is None, "a run ended with a server that it needs no more"
    before.kill()
    assert before.wait(SOON) == -signal.SIGKILL


def test_what_the_killed_server_forked_may_still_ask_for_forks(serve, tmp_path):
    server = serve("numpy")
    go, answer = tmp_path / "go", tmp_path / "answer"
    before = server.fork(TARGETS + "wait_and_ask", [str(go), str(answer)])
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    assert server.fork(TARGETS + "nothing").wait(SOON) == 0
    go.touch()
    assert before.wait(SOON) == 0
    assert answer.read_text() == "warm"


def test_when_a_keeper_is_killed(serve, tmp_path):
    fork = serve().fork(TARGETS + "wait", log=tmp_path / "log.txt")
    os.kill(fork.keeper, signal.SIGKILL)
    assert fork.wait(SOON) == -signal.SIGKILL
    until(lambda: gone(fork.pid))


def test_many_at_once(server):
    with ThreadPoolExecutor(8) as pool:
        forks = list(pool.map(lambda _: server.fork(TARGETS + "nothing"), range(24)))
        assert [fork.wait(SOON) for fork in forks] == [0] * 24
    assert len({fork.pid for fork in forks}) == 24


def test_a_client_that_says_nothing_delays_nobody(server):
    server.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(server.address)
        assert server.fork(TARGETS + "nothing").wait(SOON) == 0


def test_a_server_with_threads_forks_nothing(serve):
    with pytest.raises(ForkError, match="has 2 threads: python"):
        serve("a_thread").fork(TARGETS + "nothing")


def test_a_server_that_cannot_start(serve, capfd):
    with pytest.raises(ForkError, match="is gone"):
        serve("broken").fork(TARGETS + "nothing")
    assert "RuntimeError: broken" in capfd.readouterr().err


def test_nothing_is_left(serve, monkeypatch):
    with tempfile.TemporaryDirectory() as short:  # pytest's own is too long for sockets
        monkeypatch.setattr(tempfile, "tempdir", short)
        server = serve()
        fork = server.fork(TARGETS + "wait", log=os.devnull)
        (folder,) = Path(short).iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        server.close()
        assert fork.wait(SOON) == -signal.SIGKILL
        assert gone(fork.pid)
        assert list(Path(short).iterdir()) == []


def test_a_fork_of_the_client_leaves_the_server_alone(serve):
    server = serve()
    assert server.fork(TARGETS + "nothing").wait(SOON) == 0
    if (pid := os.fork()) == 0:
        try:
            server.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert server.fork(TARGETS + "nothing").wait(SOON) == 0
    assert server._starts == 1


def test_a_server_that_still_imports_is_not_waited_for(serve):
    server = serve("slow")
    server.start()
    process = server._process
    server.close()
    assert process.returncode == -signal.SIGKILL


def test_sockets_do_not_lie_where_names_are_too_long(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = forkserver.private_folder()
    try:
        assert len(os.fsencode(folder)) <= forkserver.LONGEST_SOCKET
        assert list(long.iterdir()) == []
    finally:
        folder.rmdir()


def test_one_server_is_shared(monkeypatch, tmp_path):
    monkeypatch.setattr(forkserver, "_shared", None)
    monkeypatch.delenv(ADDRESS, raising=False)
    assert forkserver.shared() is forkserver.shared()
    assert forkserver.shared().address is None, "it was started before it was needed"
    monkeypatch.setattr(forkserver, "_shared", None)
    monkeypatch.setenv(ADDRESS, str(tmp_path))
    assert forkserver.shared().address == str(tmp_path)


def test_a_borrowed_server_that_has_died_is_replaced(serve, tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))
    server = serve(address=str(tmp_path / "s"))
    fork: Fork = server.fork(TARGETS + "nothing")
    assert fork.wait(SOON) == 0


def test_where_it_is_not_to_be_had(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "need Linux" in forkserver.unavailable()
    with pytest.raises(ForkError, match="darwin"):
        forkserver.shared()
