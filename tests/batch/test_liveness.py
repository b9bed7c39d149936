"""Which drivers are alive: on this machine by their process, elsewhere by their heartbeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from labkit.batch.liveness import DRIVERS, Drivers, machine
from tests.batch.stubs import asked, jobs


def driver_file(folder, token="t", **changed):
    about = {
        "pid": os.getppid(),
        "started": psutil.Process(os.getppid()).create_time(),
        "machine": machine(),
        **changed,
    }
    folder.store.write(f"{DRIVERS}/{token}.json", json.dumps(about).encode())


def alive(folder, age=0.0):
    file = folder.store.root / DRIVERS / "t.json"
    os.utime(file, (time.time() - age,) * 2)
    return Drivers(folder.store).alive("t")


def test_a_driver_lives_while_its_process_does(tmp_path):
    folder = asked(tmp_path, jobs(1))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        driver_file(folder, pid=child.pid, started=psutil.Process(child.pid).create_time())
        assert alive(folder)
        assert alive(folder, age=1000), "it may be suspended"
        child.kill()
        deadline = time.monotonic() + 30
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not alive(folder), "what is left until its parent asks is no process"
    finally:
        child.kill()
        child.wait()
    assert not alive(folder)


@pytest.mark.parametrize(
    ("changed", "age", "expected"),
    [
        ({}, 0, True),
        ({"started": 1.0}, 1000, False),  # its number was given to another process
        ({"machine": "elsewhere"}, 30, True),
        ({"machine": "elsewhere", "pid": 2**22 + 1}, 30, True),
        ({"machine": "elsewhere"}, 61, False),
        ({"pid": 2**22 + 1}, 0, False),
        ({"pid": os.getpid()}, 0, False),  # this process knows that it is not its own
    ],
)
def test_signs_of_life(tmp_path, changed, age, expected):
    folder = asked(tmp_path, jobs(1))
    driver_file(folder, **changed)
    assert alive(folder, age) is expected


def test_a_torn_driver_file_is_believed_for_a_minute(tmp_path):
    folder = asked(tmp_path, jobs(1))
    folder.store.write(f"{DRIVERS}/t.json", b'{"pid": 12')
    assert alive(folder, 30)
    assert not alive(folder, 61)
