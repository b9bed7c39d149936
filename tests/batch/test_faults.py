"""Everything that can happen to a run: at every moment the truth is told and nothing is torn."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from labkit.batch import perform as performing
from labkit.batch.job import Job, Limits, Outcome
from labkit.batch.perform import perform, stop_all
from labkit.batch.process import MARK, descendants, is_alive
from labkit.core.files import RESULTS
from labkit.warm import forkserver
from tests.batch.notebooks import REPORT, job, make, outputs, read, statuses

MIB = 2**20
ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("LABKIT_SEED", "0"))
STEPS = ["import time", *(f"print('step {i}')\ntime.sleep(0.1)" for i in range(10))]


@pytest.fixture(params=["warm", "plain"])
def kernel(request):
    return request.param


# A process that a notebook leaves behind is told by how long it sleeps.
SLEEP = f"{1000 + os.getpid() / 1e8:.8f}"


@pytest.fixture(autouse=True)
def private(tmp_path) -> Iterator[Path]:
    """Whatever happens, a run's processes and private folders end with it."""
    with tempfile.TemporaryDirectory(prefix="faults-", dir="/tmp") as folder:
        with pytest.MonkeyPatch.context() as patch:
            if forkserver.unavailable() is None:
                forkserver.shared().start()
            patch.setattr(tempfile, "tempdir", folder)
            yield Path(folder)
        deadline = time.monotonic() + 5  # a fork's keeper ends after the outcome is there
        while (left := of_runs(Path(folder))) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in left:
            process.kill()
        assert left == []
        assert list(Path(folder).iterdir()) == []


def of_runs(private: Path) -> list[psutil.Process]:
    """Runners, kernels, and whatever their notebooks started."""
    children = psutil.Process().children()
    found = [forked for child in children for forked in child.children(recursive=True)]
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            mark = process.environ().get(MARK, "")
            if SLEEP in (process.info["cmdline"] or []) or mark.startswith(str(private)):
                found.append(process)
    return [process for process in found if is_alive(process)]


def run_in_background(given: Job) -> tuple[Future[Outcome], performing._Execution]:
    """Perform a job on a thread, and its run as soon as there is a runner."""
    executor = ThreadPoolExecutor(1)
    known = set(performing._running)
    future = executor.submit(perform, given)
    executor.shutdown(wait=False)
    run = wait_for(lambda: next((r for r in performing._running if r not in known), None))
    wait_for(lambda: hasattr(run, "process"))
    return future, run


def wait_for(look: Callable, seconds: float = 60):
    """What `look` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def kernel_of(run: performing._Execution) -> int | None:
    """The process of a run's kernel, once it has one."""
    return next((event["kernel"] for event in run._journal() if "kernel" in event), None)


def check_truth(folder: Path, outcome: Outcome) -> list[str]:
    """What holds after any fault; gives the statuses of the cells."""
    executed = read(folder)
    found = statuses(executed)
    order = ["completed", "failed", "pending"]
    assert found == sorted(found, key=order.index), found
    assert found.count("failed") <= 1
    if outcome.state == "done":
        assert set(found) == {"completed"}
        assert outcome.failure is None
    else:
        assert outcome.failure.reason
    for cell in executed.cells:
        if cell.cell_type == "code" and cell.metadata.papermill.status == "pending":
            assert cell.outputs == []
    assert isinstance(json.loads((folder / "results.json").read_text()), dict)
    assert "</html>" in (folder / "small.html").read_text()
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert hidden == [], "something unfinished is left"
    return found


# --- killed from outside, at random moments ---------------------------------------------


@pytest.mark.parametrize("victim", ["kernel", "runner"])
@pytest.mark.parametrize("moment", range(4))
def test_sigkill_of_a_process(victim, moment, tmp_path):
    randomness = random.Random(f"{SEED} {victim} {moment}")
    future, run = run_in_background(job(make(*STEPS), tmp_path, x=1))
    pid = wait_for(lambda: kernel_of(run)) if victim == "kernel" else run.process.pid
    time.sleep(randomness.uniform(0, 1.2))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    outcome = future.result(timeout=60)
    found = check_truth(tmp_path, outcome)
    if outcome.state != "done":
        assert (outcome.state, outcome.infrastructure) == ("failed", True)
        if "failed" in found:
            assert outcome.failure.reason.startswith(f"cell [{outcome.failure.cell}]: ")
            assert found.index("failed") + 1 == outcome.failure.cell
        assert "killed by SIGKILL" in outcome.failure.reason or victim == "kernel"


def test_what_a_killed_runner_had_shown_is_kept(tmp_path, kernel):
    source = "print('shown')\nimport sys, time; sys.stdout.flush()\ntime.sleep(60)"
    future, run = run_in_background(job(make("1", source, "2"), tmp_path, kernel=kernel))
    hidden = tmp_path / ".small.ipynb"
    wait_for(lambda: hidden.exists() and "shown\\n" in hidden.read_text())
    os.kill(run.process.pid, signal.SIGKILL)
    outcome = future.result(timeout=60)
    assert outcome.infrastructure
    assert outcome.failure.reason == (
        "cell [3]: the process that ran the notebook was killed by SIGKILL"
    )
    assert check_truth(tmp_path, outcome) == ["completed", "completed", "failed", "pending"]
    assert outputs(read(tmp_path))[2] == "shown\n"


def test_whoever_performs_is_killed(tmp_path, private, kernel):
    """Nothing goes on; the fixture looks."""
    program = (
        "import sys; from tests.batch.notebooks import *\n"
        "from labkit.batch.perform import perform\n"
        "if __name__ == '__main__':\n"
        f"    source = \"import subprocess; subprocess.Popen(['sleep', '{SLEEP}'])\"\n"
        "    source += \"\\nopen('begun', 'w').close()\\nwhile True: pass\"\n"
        f"    perform(job(make(source), {str(tmp_path)!r}, kernel={kernel!r}))\n"
    )
    env = {**os.environ, "TMPDIR": str(private)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=env)
    try:
        wait_for((tmp_path / "begun").exists)
        family = descendants(process.pid)
    finally:
        process.kill()
        process.wait()
    assert len(family) > 2
    wait_for(lambda: not any(map(is_alive, family)))
    if (tmp_path / "small.ipynb").exists():  # a runner may have come that far
        assert statuses(read(tmp_path))[-1] == "failed"
    for folder in private.iterdir():
        shutil.rmtree(folder)  # which nobody is left to do


def test_stop_all_ends_every_run(tmp_path):
    source = "print('shown')\nimport time; time.sleep(60)"
    runs = [run_in_background(job(make(source), tmp_path / str(i))) for i in range(2)]
    for _, run in runs:
        wait_for(lambda run=run: any(event.get("cell") == 2 for event in run._journal()))
    stop_all()
    for i, (future, _) in enumerate(runs):
        outcome = future.result(timeout=60)
        assert (outcome.state, outcome.infrastructure) == ("killed", False)
        assert check_truth(tmp_path / str(i), outcome)[-1] == "failed"


# --- what a notebook does to itself -----------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason", "infrastructure"),
    [
        ("os._exit(3)", "the notebook ended its kernel with exit code 3", False),
        ("os._exit(0)", "the notebook ended its kernel with exit code 0", False),
        ("os.kill(os.getpid(), 9)", "the kernel was killed by SIGKILL", True),
        ("os.abort()", "the kernel was killed by SIGABRT", True),
        ("os.closerange(3, 4096)", "the kernel was killed by SIG", True),
    ],
    ids=["exit3", "exit0", "kill", "abort", "closes_files"],
)
def test_a_kernel_that_ends(how, reason, infrastructure, tmp_path):
    check_a_kernel_that_ends(how, reason, infrastructure, tmp_path, "warm")


def test_a_plain_kernel_that_ends(tmp_path):
    reason = "the notebook ended its kernel with exit code 3"
    check_a_kernel_that_ends("os._exit(3)", reason, False, tmp_path, "plain")


def check_a_kernel_that_ends(how, reason, infrastructure, tmp_path, kernel):
    notebook = make(REPORT, "report(x=x)", f"print('last words', flush=True)\n{how}", "print(1)")
    outcome = perform(job(notebook, tmp_path, kernel=kernel, x=2))
    assert (outcome.state, outcome.infrastructure) == ("failed", infrastructure)
    assert outcome.failure.reason.startswith(f"cell [5]: {reason}")
    assert check_truth(tmp_path, outcome)[-2:] == ["failed", "pending"]
    assert json.loads((tmp_path / "results.json").read_text()) == {"x": 2}


def test_torn_results_of_a_killed_kernel_are_not_read_as_good(tmp_path):
    source = (
        f"import os\nfile = open(os.environ[{RESULTS!r}], 'w')\n"
        "file.write('{\"a\": 1, '); file.flush(); os.kill(os.getpid(), 9)"
    )
    outcome = perform(job(make(source), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert (tmp_path / "results.json").read_text() == "{}"
    assert (tmp_path / "results.broken.json").read_text() == '{"a": 1, '


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_cell_that_loops_for_ever(stubborn, tmp_path):
    notebook = make(
        "import signal\nfor number in (signal.SIGINT, signal.SIGTERM):\n"
        f"    {stubborn} and signal.signal(number, signal.SIG_IGN)",
        "print('before', flush=True)\nwhile True: pass",
        "print('never')",
    )
    outcome = perform(job(notebook, tmp_path, limits=Limits(cell_seconds=0.8)))
    assert (outcome.state, outcome.infrastructure) == ("timed out", False)
    assert outcome.failure.reason == "cell [3]: took longer than 0.8 s"
    assert outcome.failure.lines == ("before",)
    assert check_truth(tmp_path, outcome)[-2:] == ["failed", "pending"]


def test_a_run_that_takes_too_long(tmp_path):
    """No cell does; the kernel's start is a part of it."""
    notebook = make(*["import time; time.sleep(0.2)"] * 100)
    outcome = perform(job(notebook, tmp_path, limits=Limits(cell_seconds=50, run_seconds=2)))
    assert (outcome.state, outcome.infrastructure) == ("timed out", False)
    assert outcome.failure.reason.endswith("the run took longer than 2 s")
    assert "pending" in check_truth(tmp_path, outcome)


def test_a_run_that_ends_before_it_has_begun(tmp_path):
    outcome = perform(job(make("1"), tmp_path, limits=Limits(run_seconds=0.01)))
    assert outcome.state == "timed out"
    assert check_truth(tmp_path, outcome) == ["pending", "pending"]


@pytest.mark.parametrize("ask", ["input('name? ')", "import getpass; getpass.getpass()"])
def test_a_question_is_an_error(ask, tmp_path):
    outcome = perform(job(make(ask, "print('never')"), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert "does not support input requests" in outcome.failure.reason


def test_stdin_is_at_its_end(tmp_path):
    source = "import subprocess, sys\nprint([sys.stdin.read(), subprocess.check_output('cat')])"
    perform(job(make(source), tmp_path))
    assert outputs(read(tmp_path))[-1] == "['', b'']\n"


def test_forks_and_daemons_end_with_the_run(tmp_path, kernel):
    """The fixture looks for what is left."""
    notebook = make(
        "import os, subprocess\n"
        f"subprocess.Popen(['setsid', 'sleep', '{SLEEP}'])\n"
        f"subprocess.Popen(['sh', '-c', 'sleep {SLEEP} & exit'])",
        f"if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        os.execvp('sleep', ['sleep', '{SLEEP}'])\n    os._exit(0)",
        "pid = os.fork()\nif pid == 0:\n    os._exit(0)\nprint(os.waitpid(pid, 0)[1])",
        "print('after')",
    )
    outcome = perform(job(notebook, tmp_path, kernel=kernel))
    assert outcome.failure is None
    assert outputs(read(tmp_path))[-2:] == ["0\n", "after\n"]


def test_a_copy_of_the_kernel_does_no_harm(tmp_path):
    notebook = make("import os\nmine = os.getpid()\nos.fork()\nprint(mine == os.getpid())", "'end'")
    outcome = perform(job(notebook, tmp_path, limits=Limits(run_seconds=60)))
    assert outcome.failure is None
    assert outputs(read(tmp_path))[-1] == "'end'"


def test_a_folder_that_is_taken_away(tmp_path):
    source = "import os, shutil\nshutil.rmtree(os.getcwd())\nos.chdir('/')"
    outcome = perform(job(make(source, "print('after')"), tmp_path / "run"))
    assert outcome.state == "done"
    assert check_truth(tmp_path / "run", outcome)


# --- memory and disk --------------------------------------------------------------------

FILL = (
    "import time\nheld = []\nfor i in range({count}):\n"
    "    held.append(bytearray(b'1') * 10_000_000)\n    time.sleep(0.02)\n"
    "print('held')"
)


def test_memory_over_the_limit_ends_the_run(tmp_path):
    limits = Limits(memory=500 * MIB, run_seconds=60)
    outcome = perform(job(make(FILL.format(count=300)), tmp_path, limits=limits))
    assert (outcome.state, outcome.infrastructure) == ("failed", False)
    assert outcome.failure.reason.startswith("cell [2]: used ")
    assert outcome.failure.reason.endswith("of memory, over its limit of 500 MiB")
    assert check_truth(tmp_path, outcome) == ["completed", "failed"]


def test_memory_below_the_limit_does_not(tmp_path):
    """What a warm kernel shares with the others is not its own."""
    limits = Limits(memory=300 * MIB)
    source = FILL.format(count=15) + "\ntime.sleep(0.8)"
    outcome = perform(job(make(source), tmp_path, limits=limits))
    assert outcome.failure is None


def test_memory_of_children_counts(tmp_path):
    source = (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', "
        "'import time; x = bytearray(b\"1\") * 600_000_000; time.sleep(30)'])"
    )
    outcome = perform(job(make(source), tmp_path, limits=Limits(memory=500 * MIB)))
    assert "of memory, over its limit of 500 MiB" in outcome.failure.reason


def test_the_largest_run_ends_where_the_machine_has_no_memory_left(tmp_path, monkeypatch):
    small = job(make("import time; time.sleep(4)"), tmp_path / "small")
    large = job(make("x = bytearray(b'1') * 200_000_000", "import time; time.sleep(30)"), tmp_path)
    futures = [run_in_background(small), run_in_background(large)]
    wait_for(lambda: any(event.get("cell") == 3 for event in futures[1][1]._journal()))
    total = psutil.virtual_memory()

    def memory():
        scarce = futures[1][1] in performing._running
        return total._replace(available=MIB if scarce else total.available)

    monkeypatch.setattr(performing.psutil, "virtual_memory", memory)
    outcome = futures[1][0].result(timeout=60)
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert "the machine had 1 MiB left" in outcome.failure.reason
    assert futures[0][0].result(timeout=60).state == "done"


def test_what_is_printed_costs_no_memory(tmp_path):
    """200 MB here; a gigabyte takes five times as long."""
    source = "for i in range(200):\n    print('x' * 1_000_000)"
    limits = Limits(memory=250 * MIB)
    outcome = perform(job(make(source, "print('after')"), tmp_path, limits=limits))
    assert outcome.failure is None
    printed, after = outputs(read(tmp_path))[-2:]
    assert printed.endswith("it is cut off after 4,194,304 bytes]\n")
    assert after == "after\n"
    assert (tmp_path / "small.ipynb").stat().st_size < 5 * MIB


@pytest.fixture
def disk(tmp_path):
    """A disk of so many kilobytes."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only Linux's root can mount a small disk")
    mounted = []

    def mount(kilobytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("this machine does not let its root mount a disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 16, 64, 256])
def test_a_full_disk(kilobytes, disk):
    """It is full at the log, at the notebook or at its page."""
    folder = disk(kilobytes) / "run"
    outcome = perform(job(make("print('x' * 20_000)"), folder))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert outcome.failure.reason.startswith("no space left on device: ")
    assert str(folder) in outcome.failure.reason
    if (folder / "small.ipynb").exists():
        read(folder)
    assert not (folder / "small.html").exists() or kilobytes == 256


def test_a_disk_that_the_notebook_fills(disk):
    folder = disk(1500) / "run"
    source = "open('big', 'wb').write(bytes(10_000_000))"
    outcome = perform(job(make(source), folder))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert "no space left on device" in outcome.failure.reason.lower()
    assert str(folder) in outcome.failure.reason


def test_a_full_disk_in_a_cell_may_be_better_later(tmp_path):
    source = "raise OSError(28, 'No space left on device')"
    outcome = perform(job(make(source), tmp_path))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    reason = "cell [2]: OSError: [Errno 28] No space left on device in "
    assert outcome.failure.reason == f"{reason}{tmp_path}"


def test_no_space_for_what_is_private(disk, monkeypatch):
    monkeypatch.setattr(performing.tempfile, "tempdir", str(disk(4)))
    outcome = perform(job(make("x" * 10_000)))
    assert (outcome.state, outcome.infrastructure) == ("failed", True)
    assert outcome.failure.reason.startswith("no space left on device")
