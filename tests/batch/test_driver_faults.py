"""Drivers that die, meet each other or find the disk full, at random moments.

After each fault, resuming ends with every run done, and none done twice: a run is begun
again only if its status did not say that it was done.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.batch import queue, schedule
from labkit.batch.driver import resume, run_batch, status
from labkit.batch.folder import Folder
from labkit.batch.schedule import drive
from labkit.core import files
from labkit.core.errors import LabError
from tests.batch.notebooks import REPORT, make
from tests.batch.stubs import asked, begun, count, jobs, states

ROOT = Path(__file__).parents[2]
RUNS = 24
SECONDS = 0.02
# More seeds find more: LABKIT_FAULT_SEEDS=20 pytest tests/batch/test_driver_faults.py
SEEDS = range(int(os.environ.get("LABKIT_FAULT_SEEDS", "3")))
posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module, name in ((schedule, "TICK"), (queue, "OTHERS"), (queue, "BACKOFF")):
        monkeypatch.setattr(module, name, 0.02)


@pytest.fixture
def start(tmp_path) -> Iterator:
    """Starts drivers in processes of their own, and ends them."""
    started = []

    def start() -> subprocess.Popen:
        numbers = [str(RUNS), str(SECONDS), "2"]
        command = [sys.executable, "-m", "tests.batch.stubs", tmp_path / "runs", tmp_path / "log"]
        started.append(
            subprocess.Popen([*command, *numbers], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def batch(tmp_path):
    return jobs(RUNS, log=str(tmp_path / "log"), seconds=SECONDS)


def wait_for_runs(tmp_path, number):
    deadline = time.monotonic() + 60
    while sum(begun(tmp_path / "log").values()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def check_the_rest_is_done_once(tmp_path, drive_on=drive):
    """Resume; runs that were done are not begun again, the others exactly once more."""
    folder = Folder(tmp_path / "runs")
    before = begun(tmp_path / "log")
    done = {s["id"] for s in folder.statuses() if s["state"] == "done"}
    ended = drive_on(batch(tmp_path), folder, at_once=2, progress=False, perform=count)
    assert ended.counts == {"done": RUNS}
    after = begun(tmp_path / "log")
    for run in batch(tmp_path):
        assert after[run.id] - before[run.id] == (run.id not in done)
    return done


@posix
@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_that_is_killed(tmp_path, start, seed):
    chance = random.Random(seed)
    driver = start()
    wait_for_runs(tmp_path, chance.randrange(1, RUNS))
    time.sleep(chance.random() * SECONDS)
    driver.kill()
    driver.wait()
    assert "running" not in states(Folder(tmp_path / "runs")), "its driver is dead: it is stale"
    check_the_rest_is_done_once(tmp_path)


@posix
@pytest.mark.parametrize("seed", SEEDS)
def test_two_drivers_at_once(tmp_path, start, seed):
    chance = random.Random(seed)
    drivers = [start()]
    time.sleep(chance.random() * 0.05)
    drivers.append(start())
    assert [driver.wait(60) for driver in drivers] == [0, 0]
    assert begun(tmp_path / "log") == {run.id: 1 for run in batch(tmp_path)}
    folder = Folder(tmp_path / "runs")
    assert states(folder) == ["done"] * RUNS
    assert len({s["driver"]["token"] for s in folder.statuses()}) <= 2
    assert not (tmp_path / "runs" / "batch-2.json").exists()
    assert list((tmp_path / "runs/.labkit/claims").iterdir()) == []


@posix
@pytest.mark.parametrize("seed", SEEDS)
def test_one_of_two_drivers_is_killed_and_the_other_takes_over(tmp_path, start, seed):
    chance = random.Random(seed)
    drivers = [start(), start()]
    wait_for_runs(tmp_path, chance.randrange(1, RUNS))
    time.sleep(chance.random() * SECONDS)
    victim = drivers.pop(chance.randrange(2))
    victim.kill()
    victim.wait()
    assert drivers[0].wait(60) == 0
    assert states(Folder(tmp_path / "runs")) == ["done"] * RUNS
    twice = [run for run, times in begun(tmp_path / "log").items() if times > 1]
    assert len(twice) <= 2, "what the dead one was at, and nothing else"
    assert max(begun(tmp_path / "log").values()) <= 2


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_that_is_asked_to_end(tmp_path, start, seed, number):
    chance = random.Random(seed)
    driver = start()
    wait_for_runs(tmp_path, chance.randrange(1, RUNS - 5))
    time.sleep(chance.random() * SECONDS)
    driver.send_signal(number)
    _, errors = driver.communicate(timeout=60)
    assert f"labkit run --resume {tmp_path}/runs" in errors
    assert set(states(Folder(tmp_path / "runs"))) <= {"done", "killed", "queued"}
    check_the_rest_is_done_once(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_torn_status_files(tmp_path, seed):
    chance = random.Random(seed)
    folder = asked(tmp_path / "runs", batch(tmp_path))
    drive(batch(tmp_path), folder, at_once=2, progress=False, perform=count)
    torn = chance.sample(batch(tmp_path), 5)
    for run in torn:
        file = tmp_path / "runs" / run.id / "status.json"
        whole = file.read_bytes()
        cut = whole[: chance.randrange(len(whole) - 1)]
        file.write_bytes(chance.choice([cut, b"", os.urandom(40), whole[::-1]]))
    done = check_the_rest_is_done_once(tmp_path)
    assert len(done) == RUNS - len(torn)


# --- a full disk -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_status_that_cannot_be_written(tmp_path, monkeypatch, seed):
    """From a random write on, all fail, as on a full disk."""
    chance = random.Random(seed)
    left = chance.randrange(6, 4 * RUNS)
    write = files.write_beside

    def full(path, data):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    folder = asked(tmp_path / "runs", batch(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_beside", full)
        patch.setattr("labkit.batch.store.write_beside", full)
        match = "runs.* cannot be written: No space left on device.*labkit run --resume"
        with pytest.raises(LabError, match=match):
            drive(batch(tmp_path), folder, at_once=2, progress=False, perform=count)
    assert not [path for path in (tmp_path / "runs").rglob(".*") if path.name != ".labkit"]
    check_the_rest_is_done_once(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """Half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disk_that_is_full(tmp_path, small_disk, seed):
    out = small_disk / "runs"
    many = jobs(400, log=str(tmp_path / "log"), seed=seed)
    folder = asked(out, many)
    with pytest.raises(LabError, match=f"^{out}.* cannot be written: No space left on device"):
        drive(many, folder, at_once=2, progress=False, perform=count)
    done = states(folder).count("done")
    assert 0 < done < 400
    assert set(states(folder)) <= {"done", "queued", "killed", "stale"}
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert drive(many, folder, at_once=2, progress=False, perform=count).counts == {"done": 400}
    again = [run for run, times in begun(tmp_path / "log").items() if times > 1]
    assert len(again) <= 4, "those in flight when the disk was full"


# --- with notebooks ----------------------------------------------------------------------

DRIVER = """
import sys
from labkit.batch import run_batch
grid = [{"x": i, "log": sys.argv[3]} for i in range(6)]
run_batch(sys.argv[1], grid, sys.argv[2], jobs=2, progress=False)
"""


@posix
@pytest.mark.parametrize("seed", SEEDS[: max(1, len(SEEDS) // 3)])
def test_a_driver_with_notebooks_that_is_killed(tmp_path, seed):
    """Its runners and kernels go with it; the rest is done by who resumes."""
    chance = random.Random(seed)
    notebook, log = tmp_path / "small.ipynb", tmp_path / "log"
    parameters = "x = 1\nlog = ''"
    begin = "import time\nwith open(log, 'a') as file:\n    file.write(f'{x} {os.getpid()}\\n')"
    notebook.write_bytes(
        make(REPORT, begin, "time.sleep(0.3)\nreport(y=2 * x)", parameters=parameters)
    )
    arguments = [str(notebook), str(tmp_path / "runs"), str(log)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        number = chance.randrange(1, 6)
        while not log.exists() or len(log.read_text().splitlines()) < number:
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.01)
        time.sleep(chance.random() * 0.6)
    finally:
        driver.kill()
        driver.wait()
    before = log.read_text().split()[::2]
    done = {s["parameters"]["x"] for s in status(tmp_path / "runs") if s["state"] == "done"}
    again = resume(tmp_path / "runs", progress=False)
    assert again.counts == {"done": 6}
    after = log.read_text().split()[::2]
    for x in range(6):
        assert after.count(str(x)) - before.count(str(x)) == (x not in done)
    kernels = set(map(int, log.read_text().split()[1::2]))
    assert not kernels & set(psutil.pids())
    table = again.folder.read("results.csv").decode().splitlines()
    assert len(table) == 7


def test_a_broken_folder_is_said_before_anything_runs(tmp_path):
    (tmp_path / "a.ipynb").write_bytes(make())
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LabError, match=r"file.* cannot be written: Not a directory"):
        run_batch(tmp_path / "a.ipynb", out=tmp_path / "file" / "runs")
