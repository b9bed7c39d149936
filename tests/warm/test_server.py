"""Parts of the preloaded process that need no fork; whole families are in test_forkserver.py."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import pytest

from labkit.warm import server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_process_of_one_thread_may_be_forked():
    assert run("from labkit.warm.server import unfit; print(unfit())") == "None"


def test_a_process_with_threads_may_not():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert "threads: " in server.unfit()
    finally:
        stop.set()
        thread.join()


def test_a_process_that_has_opened_a_gpu_may_not(monkeypatch):
    code = (
        "from labkit.warm import server\n"
        "server._open_files = lambda: iter(['/dev/null', '/dev/nvidia0'])\n"
        "print(server.unfit())"
    )
    assert run(code) == "the preloaded process has used CUDA"


def test_what_is_printed_goes_to_the_end_of_a_file(tmp_path):
    (tmp_path / "log").write_text("before\n")
    code = (
        "import os, sys\nfrom labkit.warm.server import redirect\n"
        f"redirect({str(tmp_path / 'log')!r})\n"
        "print('out', flush=True); print('error', file=sys.stderr); os.system('echo child')"
    )
    assert run(code) == ""
    assert (tmp_path / "log").read_text() == "before\nout\nerror\nchild\n"


def test_the_end_of_the_process_at_the_other_side_is_noticed(tmp_path):
    path = str(tmp_path / "door")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        code = (
            "import socket, sys\ndoor = socket.socket(socket.AF_UNIX)\n"
            "door.connect(sys.argv[1])\nsys.stdin.read()"
        )
        client = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE)
        accepted, _ = listener.accept()
    with Connection(accepted.detach()) as link:
        descriptors = server.owners(link)
        try:
            if not descriptors:
                pytest.skip("this system has no descriptors of processes")
            assert select.select(descriptors, [], [], 0)[0] == []
            client.communicate()
            assert select.select(descriptors, [], [], 60)[0] == descriptors
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            client.kill()
            client.wait()
        with pytest.raises(EOFError):  # it is gone, as its number is
            server.owners(link)
