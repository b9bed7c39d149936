"""Runs on real Dask clusters: a scheduler and workers as processes with folders of their own."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
)
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from distributed import Client

from labkit.batch import Folder, run_batch, status
from labkit.batch.cluster import WorkerLost, dask_executor
from labkit.batch.job import Job, Outcome
from labkit.batch.perform import perform
from labkit.batch.plan import plan
from labkit.batch.results import load
from labkit.batch.schedule import drive
from labkit.core.errors import LabError
from tests.batch import notebooks

DASK, LABKIT = (str(Path(sys.executable).parent / name) for name in ("dask", "labkit"))
WORKER = "198.18.0.6"  # its address, on a network of its own
PATIENCE = 180  # seconds for what should take a few


class Cluster:
    """A scheduler and its workers, each a process that is started and ended here."""

    def __init__(
        self, folder: Path, host: str = "127.0.0.1", port: int | None = None, **scheduler: Any
    ) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.started = 0
        port = port or free_port()
        self.address = f"tcp://{host}:{port}"
        where = ["--host", host, "--port", str(port), "--dashboard-address", "127.0.0.1:0"]
        self.scheduler = self.start("scheduler", *where, **scheduler)

    def start(
        self, *command: str, path: str = "", machine: Machine | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a `dask …` in a new folder; `path` is its PYTHONPATH."""
        self.started += 1
        folder = self.folder / f"{self.started}-{command[0]}"
        (folder / "tmp").mkdir(parents=True)
        environment = dict(os.environ, PYTHONPATH=path, TMPDIR=str(folder / "tmp"))
        environment["OMP_NUM_THREADS"] = "1"
        before = machine.enter(folder) if machine else []
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [*before, DASK, *command], cwd=folder, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def worker(
        self, *options: str, host: str = "127.0.0.1", path: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start a worker; its nanny is the process."""
        options = ("--no-dashboard", "--host", host, *options)
        return self.start("worker", self.address, *options, path=path)

    def temporary(self) -> list[Path]:
        """What lies in the temporary folders of all."""
        return [path for path in self.folder.glob("*/tmp/**/*") if path.is_file()]

    def wait(self, workers: int) -> None:
        """Until so many workers are there."""
        with Client(self.address, set_as_default=False, timeout=PATIENCE) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)

    def close(self) -> None:
        for process in self.processes:
            kill(process)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker with its nanny, or a scheduler, as a power cut does."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]
        for member in reversed(family):  # the nanny first: it would start another worker
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A scheduler without labkit; one worker for two runs at once, another with resources."""
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder, path=without_labkit(folder))
    try:
        made.worker("--nthreads", "2")
        made.worker("--nthreads", "4", "--resources", "GPU=2,memory=8e9", host="127.0.0.2")
        made.wait(2)
        yield made
    finally:
        made.close()


@pytest.fixture
def bare(tmp_path) -> Iterator[Cluster]:
    """A scheduler that a test starts its own workers for."""
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def without_labkit(folder: Path) -> str:
    """A folder for PYTHONPATH: in its processes labkit is not to be found."""
    place = folder / "without"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'labkit':\n"
        "            raise ModuleNotFoundError('labkit is not here')\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    return str(place)


def other_version(folder: Path, package: str, version: str | None) -> str:
    """A folder for PYTHONPATH: its processes believe to have another version of a package,
    or none.
    """
    place = folder / f"other-{package}"
    info = place / f"{package}-0.dist-info"
    info.mkdir(parents=True)
    if version:
        (info / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
    return str(place)


# --- an executor like any other --------------------------------------------------------


def test_functions_and_results_travel_as_bytes(cluster):
    """The lambda's module is not importable there, and the scheduler has no labkit."""
    with dask_executor(cluster.address) as executor:
        assert isinstance(executor, Executor)
        assert executor.slots == 6
        here = executor.submit(lambda data: (os.getpid(), os.getcwd(), data * 2), b"a")
        pid, folder, data = here.result(PATIENCE)
        assert pid != os.getpid()
        assert Path(folder).parent == cluster.folder
        assert data == b"aa"
        failed = executor.submit(lambda: [][1])
        assert isinstance(failed.exception(PATIENCE), IndexError)


def test_resources_bound_how_many_run_at_once(cluster):
    def at_once(mark: str) -> tuple[int, str]:
        """How many calls there were while this one was, and where."""
        from distributed import get_worker

        folder = Path(mark)
        (folder / f"{threading.get_ident()}").touch()
        time.sleep(0.3)
        seen = len(list(folder.iterdir()))
        (folder / f"{threading.get_ident()}").unlink()
        return seen, get_worker().address

    with dask_executor(cluster.address, gpus=1, memory=1e9) as executor:
        assert executor.slots == 2
        marks = cluster.folder / "marks"
        marks.mkdir()
        calls = [executor.submit(at_once, str(marks)) for _ in range(6)]
        seen, where = zip(*(call.result(PATIENCE) for call in calls), strict=True)
    assert max(seen) == 2
    assert all("//127.0.0.2:" in address for address in where)


def test_what_no_worker_offers_is_an_error(cluster):
    with pytest.raises(LabError) as error:
        dask_executor(cluster.address, gpus=3, memory=1e9)
    told = str(error.value)
    assert "a run needs GPU=3,memory=1000000000, and no worker" in told
    assert "GPU=2,memory=8000000000; nothing" in told
    assert f"dask worker {cluster.address} --resources GPU=3,memory=1000000000" in told


def runs(call: Future[Any]) -> None:
    """Wait until a call has begun."""
    deadline = time.monotonic() + PATIENCE
    while not call.running():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_call_says_when_it_begins_and_where(cluster):
    with dask_executor(cluster.address, gpus=2) as executor:
        first, second = (executor.submit(lambda: time.sleep(1) or os.getpid()) for _ in range(2))
        runs(first)
        assert not second.running()
        assert first.where == {"host": socket.gethostname(), "pid": first.result(PATIENCE)}
        runs(second)
        assert second.cancel()
        with pytest.raises(CancelledError):
            second.result(PATIENCE)
        assert not second.cancel()


def test_cancelled_calls_do_not_begin(cluster):
    marks = cluster.folder / "begun"
    marks.mkdir()

    def begin(number: int) -> None:
        (marks / str(number)).touch()
        time.sleep(0.5)

    with dask_executor(cluster.address) as executor:
        calls = [executor.submit(begin, i) for i in range(40)]
        calls[0].result(PATIENCE)
        executor.shutdown(cancel_futures=True)
        assert all(call.done() for call in calls)
    begun = len(list(marks.iterdir()))
    assert 1 <= begun <= 18  # three rounds of six


# --- errors before anything starts -----------------------------------------------------


def test_no_scheduler(tmp_path):
    with socket.socket() as silent:  # it takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (1, silent.getsockname()[1]):
            with pytest.raises(LabError, match="no Dask scheduler answers at"):
                dask_executor(f"tcp://127.0.0.1:{port}", connect_seconds=1)
    with pytest.raises(LabError, match="'scheduler' is not the address of a Dask scheduler"):
        dask_executor("scheduler")


def test_a_worker_is_no_scheduler(cluster):
    with Client(cluster.address, set_as_default=False) as client:
        worker = next(iter(client.nthreads()))
    with pytest.raises(LabError, match=r"is a Dask worker: give the scheduler's address"):
        dask_executor(worker)


def test_distributed_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LabError, match=r'pip install "labkit\[dask\]"'):
        dask_executor("tcp://127.0.0.1:1")


def test_no_worker(bare):
    with pytest.raises(LabError, match=f"start one with dask worker {bare.address}"):
        dask_executor(bare.address, worker_seconds=0.5)


def test_versions(bare, tmp_path):
    """Another version on the scheduler's only worker, and on one that joins later."""
    import papermill

    odd = bare.worker(path=other_version(tmp_path, "papermill", "9.9"))
    with pytest.raises(LabError) as error:
        dask_executor(bare.address)
    told = str(error.value)
    assert told.startswith("papermill is 9.9 on tcp://127.0.0.1:")
    assert f"here it is {papermill.__version__}" in told
    assert len(told.splitlines()) == 1

    kill(odd)
    good = bare.worker()
    build = bare.worker(path=other_version(tmp_path, "torch", _torch() + "+cu999"))
    bare.wait(2)
    with dask_executor(bare.address) as executor:  # another build is the same version
        assert executor.submit(abs, -1).result(PATIENCE) == 1
        bare.worker(path=other_version(tmp_path, "labkit", None))
        bare.wait(3)
        kill(good)
        kill(build)
        answer = executor.submit(abs, -1).exception(PATIENCE)
        assert isinstance(answer, LabError)
        assert str(answer).startswith("labkit is missing on tcp://127.0.0.1:")


def _torch() -> str:
    from importlib.metadata import version

    return version("torch").partition("+")[0]


# --- runs ------------------------------------------------------------------------------


def test_two_runs_at_once_on_one_worker(cluster, tmp_path):
    """Each waits until it sees the other's mark; nothing is left there."""
    source = """
        import os, pathlib, time
        pathlib.Path(marks, str(number)).write_text(os.getcwd())
        while len(os.listdir(marks)) < 2:
            time.sleep(0.05)
        print(number, file=open("note.txt", "w"))
        """
    made = notebooks.make(dedent(source), parameters="number = 0\nmarks = ''")
    jobs = [notebooks.job(made, number=i, marks=str(tmp_path)) for i in (1, 2)]
    with dask_executor(cluster.address, gpus=1) as executor:  # both come to the same worker
        outcomes = [call.result(PATIENCE) for call in [executor.submit(perform, j) for j in jobs]]
    assert outcomes[0].pid == outcomes[1].pid != os.getpid()
    for number, outcome in enumerate(outcomes, 1):
        assert (outcome.state, outcome.failure) == ("done", None)
        assert outcome.files["note.txt"] == f"{number}\n".encode()
        assert {"small.ipynb", "small.html", "results.json", "log.txt"} <= set(outcome.files)
        folder = Path((tmp_path / str(number)).read_text())
        assert folder.is_relative_to(cluster.folder)
        assert not folder.exists()
    assert not [path for path in cluster.temporary() if path.name == "small.ipynb"]


def test_a_run_that_ends_its_process_harms_no_other(cluster):
    good = notebooks.make("import time; time.sleep(1); print(x)")
    poison = notebooks.make("import os; os._exit(3)")
    with dask_executor(cluster.address, gpus=1) as executor:
        calls = [executor.submit(perform, notebooks.job(n)) for n in (good, poison, good)]
        done, dead, also = (call.result(PATIENCE) for call in calls)
    assert dead.state == "failed"
    assert "3" in dead.failure.reason
    assert (done.state, also.state) == ("done", "done")
    assert done.pid == dead.pid == also.pid


FOREVER = """
import os, pathlib, time
pathlib.Path(mark).write_text(str(os.getpid()))
while True:
    time.sleep(0.1)
"""


def forever(mark: Path) -> Job:
    """A run that writes its process's number into a file and never ends."""
    return notebooks.job(notebooks.make(FOREVER, parameters="mark = ''"), mark=str(mark))


def begun(mark: Path) -> psutil.Process:
    """The process that wrote the mark."""
    deadline = time.monotonic() + PATIENCE
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return psutil.Process(int(mark.read_text()))


def ended(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(PATIENCE)
    return not process.is_running()


def test_a_cancelled_run_is_ended_there(cluster, tmp_path):
    with dask_executor(cluster.address, gpus=1) as executor:
        call = executor.submit(perform, forever(tmp_path / "mark"))
        kernel = begun(tmp_path / "mark")
        call.cancel()
        assert ended(kernel)
        again = executor.submit(perform, notebooks.job(notebooks.make("print(x)")))
        assert again.result(PATIENCE).state == "done"


def test_runs_of_a_driver_that_is_gone_are_ended(cluster, tmp_path):
    (tmp_path / "job").write_bytes(pickle.dumps(forever(tmp_path / "mark")))
    script = (
        "import pathlib, pickle, sys\n"
        "from labkit.batch.cluster import dask_executor\n"
        "from labkit.batch.perform import perform\n"
        "job = pickle.loads(pathlib.Path(sys.argv[2]).read_bytes())\n"
        "dask_executor(sys.argv[1], gpus=1).submit(perform, job).result()\n"
    )
    arguments = [sys.executable, "-c", script, cluster.address, str(tmp_path / "job")]
    driver = subprocess.Popen(arguments)
    try:
        kernel = begun(tmp_path / "mark")
    finally:
        driver.kill()
        driver.wait()
    assert ended(kernel)


# --- batches ---------------------------------------------------------------------------

MARKED = """
import os, pathlib, time
pathlib.Path(marks, str(os.getpid())).touch()
time.sleep(seconds)
report(square=number**2)
"""


def marked(path: Path) -> Path:
    """A notebook that leaves a mark each time it is begun."""
    parameters = "number = 0\nmarks = ''\nseconds = 0.0"
    path.write_bytes(notebooks.make(notebooks.REPORT, MARKED, parameters=parameters))
    return path


def test_a_worker_vanishes_midway(bare, tmp_path):
    """Two hosts by address; the one that is at work is gone: its runs are made elsewhere."""
    marks, out = tmp_path / "marks", tmp_path / "out"
    marks.mkdir()
    path = marked(tmp_path / "small.ipynb")
    grid = [{"number": i, "marks": str(marks), "seconds": 1.5} for i in range(8)]
    workers = [bare.worker("--nthreads", "2", host=f"127.0.0.{i}") for i in (2, 3)]
    bare.wait(2)
    with dask_executor(bare.address) as executor, ThreadPoolExecutor(1) as here:
        batch = here.submit(run_batch, path, grid, out, executor=executor, progress=False)
        victim, family = busy(marks, workers, out)
        kill(victim)
        assert all(map(ended, family))  # the runs' processes too
        assert batch.result(PATIENCE).counts == {"done": 8}
    assert len(list(marks.iterdir())) > 8  # one was begun twice at least
    table = load(out)
    assert sorted(table["number"]) == list(range(8))  # and none is there twice
    assert (table["square"] == table["number"] ** 2).all()
    assert len(list(out.glob("small-*/small.html"))) == 8


def busy(
    marks: Path, workers: list[subprocess.Popen[bytes]], out: Path
) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A worker that runs a notebook, as its mark and the driver's status say; its processes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        begun = {int(mark.name) for mark in marks.iterdir()}
        for worker in workers:
            family = psutil.Process(worker.pid).children(recursive=True)
            numbers = {process.pid for process in family}
            if begun & numbers and running(out) & numbers:
                return worker, family
        time.sleep(0.05)
    raise AssertionError("no run has begun")


def running(out: Path) -> set[int]:
    """The processes that run something now, as the status files say."""
    return {run["pid"] for run in status(out) if run["state"] == "running"}


def test_a_run_whose_workers_die_is_failed(cluster, tmp_path):
    """A stub takes the place of the runs: one of them ends worker after worker."""
    path = marked(tmp_path / "small.ipynb")
    folder = Folder(tmp_path / "out")
    jobs = plan(path, [{"number": i} for i in range(10)])
    folder.ask(jobs)

    def stub(job: Job) -> Outcome:
        if job.parameters["number"] == 3:
            os._exit(1)
        time.sleep(0.2)
        return Outcome("done", None, False, "", os.getpid(), time.time(), 0.1, {"a": b"b"})

    with dask_executor(cluster.address) as executor:
        batch = drive(jobs, folder, executor, perform=stub, progress=False)
    assert batch.counts == {"done": 9, "failed": 1}
    (failed,) = batch.failed
    assert failed["parameters"]["number"] == 3
    assert failed["failure"]["reason"].startswith("worker lost: 4 workers died during this run")


def test_a_worker_with_other_versions_ends_the_batch(bare, tmp_path):
    """It joins later; what was done stays, and the rest can be run when it is repaired."""
    path = marked(tmp_path / "small.ipynb")
    folder = Folder(tmp_path / "out")
    jobs = plan(path, [{"number": i} for i in range(8)])
    folder.ask(jobs)

    def stub(job: Job) -> Outcome:
        time.sleep(0.1)
        return Outcome("done", None, False, "", os.getpid(), time.time(), 0.1, {})

    good = bare.worker()
    with dask_executor(bare.address) as executor:
        drive(jobs[:4], folder, executor, perform=stub, progress=False)
        bare.worker(path=other_version(tmp_path, "nbclient", "0.1"))
        bare.wait(2)
        kill(good)
        with pytest.raises(LabError, match=r"nbclient is 0\.1 on tcp://"):
            drive(jobs, folder, executor, perform=stub, progress=False)
    states = [run["state"] for run in folder.statuses()]
    assert states == ["done"] * 4 + ["queued"] * 4


# --- machines of their own -------------------------------------------------------------


class Machine:
    """A network and a file system of its own, as far as the kernel makes them.

    Both last as long as the process that holds them, which ends with this one.
    """

    def __init__(self, hidden: list[Path]) -> None:
        hide = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
        script = f"set -e; ip link set lo up; {hide or ':'}; echo ready; exec cat"
        command = ["unshare", "--net", "--mount", "sh", "-c", script]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise OSError("no namespaces available")

    def enter(self, folder: Path = Path("/")) -> list[str]:
        """What to put before a command, to run it there."""
        return ["nsenter", "-t", str(self.holder.pid), "--net", "--mount", f"--wd={folder}"]

    def connect(self, other: Machine, name: str, ours: str, theirs: str) -> None:
        """A cable between the two, with an address at each end."""
        pids = [str(self.holder.pid), str(other.holder.pid)]
        ends = ["name", name, "netns", pids[0], "type", "veth"]
        call("ip", "link", "add", *ends, "peer", "name", name, "netns", pids[1])
        for machine, address in ((self, ours), (other, theirs)):
            call(*machine.enter(), "ip", "addr", "add", f"{address}/30", "dev", name)
            call(*machine.enter(), "ip", "link", "set", name, "up")

    def close(self) -> None:
        self.holder.communicate()


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def machines(tmp_path) -> Iterator[list[Machine]]:
    """One for the driver, one for the scheduler, one for a worker: cables lead to the
    scheduler alone, and the worker does not see the driver's folder.
    """
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("separate networks need root, iproute2 and util-linux")
    (tmp_path / "driver").mkdir()
    made: list[Machine] = []
    try:
        try:
            for hidden in ([], [tmp_path / "driver"], [tmp_path / "driver"]):
                made.append(Machine(hidden))
            driver, scheduler, worker = made
            scheduler.connect(driver, "driver", "198.18.0.1", "198.18.0.2")
            scheduler.connect(worker, "worker", "198.18.0.5", WORKER)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no separate networks here: {error}")
        yield made
    finally:
        for machine in made:
            machine.close()


def test_the_command_on_separate_networks(machines, tmp_path):
    """Driver and worker cannot reach each other, and share no folder."""
    driver, scheduler, worker = machines
    far = subprocess.run([*driver.enter(), "ip", "route", "get", WORKER], capture_output=True)
    assert b"unreachable" in far.stderr
    folder = tmp_path / "driver"
    (folder / "small.ipynb").write_bytes(notebooks.make(notebooks.REPORT, "report(y=x * 2)"))
    made = Cluster(tmp_path, host="0.0.0.0", port=8786, machine=scheduler)
    try:
        address = "tcp://198.18.0.5:8786"
        made.start("worker", address, "--no-dashboard", "--nthreads", "2", machine=worker)
        command = "run small.ipynb -p x=1,2 --out out --dask tcp://198.18.0.1:8786"
        told = subprocess.run(
            [*driver.enter(folder), LABKIT, *command.split()],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        made.close()
    assert told.returncode == 0, told.stderr
    assert sorted(load(folder / "out")["y"]) == [2, 4]


# --- what breaks -----------------------------------------------------------------------


def test_a_call_that_ends_its_workers(cluster):
    """Nannies start new workers; the call gives up on the fourth."""
    with dask_executor(cluster.address) as executor:
        poison = executor.submit(os._exit, 1)
        with pytest.raises(WorkerLost, match="worker lost: 4 workers died during this run"):
            poison.result(PATIENCE)
        assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_the_scheduler_goes_away(bare):
    bare.worker()
    with dask_executor(bare.address) as executor:
        call = executor.submit(time.sleep, PATIENCE)
        runs(call)
        kill(bare.scheduler)
        error = call.exception(PATIENCE)
        assert isinstance(error, BrokenExecutor)
        assert str(error) == f"the Dask scheduler at {bare.address} went away"
        with pytest.raises(BrokenExecutor, match="went away"):
            executor.submit(abs, 1)
