"""The loop of a batch, with performers that take no time."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest

from labkit.batch import perform, queue, schedule
from labkit.batch.claims import driving
from labkit.batch.cluster import WorkerLost
from labkit.batch.folder import Folder
from labkit.batch.schedule import drive
from labkit.core.errors import LabError
from labkit.core.executors import SynchronousExecutor
from tests.batch.stubs import PLACES, Manual, asked, begun, count, job, jobs, outcome, place, states


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module, name in ((schedule, "TICK"), (queue, "OTHERS"), (queue, "BACKOFF")):
        monkeypatch.setattr(module, name, 0.01)


def run(batch, folder, executor=None, **options):
    options = {"perform": count, "progress": False, "at_once": 2, **options}
    return drive(batch, folder, executor, **options)


# --- runs that go well -------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize(
    "executor",
    [
        lambda: None,
        lambda: ThreadPoolExecutor(3),
        lambda: ThreadPoolExecutor,  # makes one
        SynchronousExecutor,
        lambda: ProcessPoolExecutor(1),
    ],
    ids=["ours", "threads", "a maker", "synchronous", "processes"],
)
def test_every_run_is_done_once_wherever_it_lies(kind, executor, tmp_path):
    log = tmp_path / "log"
    batch = jobs(7, log=str(log))
    folder = asked(place(kind, tmp_path), batch)
    executor = executor()
    done = run(batch, folder, executor)
    assert begun(log) == {j.id: 1 for j in batch}
    assert done.counts == {"done": 7}
    assert done.failed == []
    assert [r["id"] for r in done.runs] == [j.id for j in batch]
    status = done.runs[3]
    assert status["attempt"] == 1
    assert status["seconds"] == 0.25
    assert (status["host"], status["pid"], status["failure"]) == ("here", 1, None)
    assert status["started"] <= status["ended"]
    assert status["ended"].endswith("+00:00")
    assert folder.read("results.csv").count(b"\n") == 8
    assert [n for n in folder.store.names(".labkit") if "notebooks" not in n] == []
    assert run(batch, folder, executor).counts == {"done": 7}, "nothing is left to do"
    assert begun(log) == {j.id: 1 for j in batch}
    if hasattr(executor, "shutdown"):
        executor.shutdown() if not isinstance(executor, type) else None


def test_files_come_as_bytes_where_nothing_is_shared(tmp_path):
    def performs(job):
        assert job.folder is None
        return outcome(files={"results.json": b'{"y": 2}', "sub/log.txt": b"said"})

    batch = jobs(2)
    folder = asked(place("memory", tmp_path), batch)
    done = run(batch, folder, perform=performs)
    assert folder.read(batch[1].id, "sub/log.txt") == b"said"
    assert done.counts == {"done": 2}
    assert b"y" in folder.read("results.csv").split(b"\n")[0]


@pytest.mark.parametrize("executor", [None, SynchronousExecutor()], ids=["ours", "another"])
def test_a_file_that_would_lead_elsewhere_fails_its_run(tmp_path, executor):
    files = {"good": b"", "../../elsewhere": b""}
    batch = jobs(1)
    folder = asked(place("memory", tmp_path), batch)
    done = run(batch, folder, executor, perform=lambda job: outcome(files=files))
    assert "no name of a file" in done.failed[0]["failure"]["reason"]
    assert not [name for name in folder.store.names("") if "elsewhere" in name]


def test_the_status_is_the_last_file_that_is_written(tmp_path, monkeypatch):
    batch = jobs(1)
    folder = asked(place("memory", tmp_path), batch)
    order = []
    write_many = folder.store.write_many

    def watch(files):
        order.extend(files)
        write_many(files)

    monkeypatch.setattr(folder.store, "write_many", watch)
    run(batch, folder, perform=lambda job: outcome(files={"a": b"", "b": b""}))
    written = [name.removeprefix(f"{batch[0].id}/") for name in order if batch[0].id in name]
    assert written[-3:] == ["a", "b", "status.json"]


def test_a_run_knows_its_folder_where_the_disk_is_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def performs(job):
        status = Folder("runs").status(job.id)
        seen.append((job.folder, status["state"], status.get("pid")))
        return outcome()

    batch = jobs(1)
    run(batch, asked("runs", batch), perform=performs)
    run(batch, asked("runs", batch), ThreadPoolExecutor(1), perform=performs, again="all")
    run(batch, asked("runs", batch), SynchronousExecutor(), perform=performs, again="all")
    folder = str(tmp_path / "runs" / batch[0].id)
    assert seen[0] == (folder, "running", os.getpid())
    assert [place for place, _, _ in seen] == [folder, folder, None]


def test_never_more_in_flight_than_there_is_room_for(tmp_path):
    """And the executor may grow: Dask's workers come and go."""
    executor, batch = Manual(slots=2), jobs(40)
    ended = threading.Event()

    def work():
        chance = random.Random(3)
        while not ended.is_set():
            open_ = [call for call in executor.calls if not call[0].done()]
            if open_ and len(open_) >= min(
                2 * executor.slots, 40 - len(executor.calls) + len(open_)
            ):
                future, fn, args = chance.choice(open_)
                executor.most = max(executor.most, len(open_))
                future.set_result(fn(*args))
            if len(executor.calls) == 20:
                assert executor.most == 4
                executor.slots = 5
            time.sleep(0.001)

    worker = threading.Thread(target=work)
    worker.start()
    done = run(batch, asked(tmp_path, batch), executor, perform=lambda job: outcome())
    ended.set()
    worker.join()
    assert done.counts == {"done": 40}
    assert executor.most == 10


# --- what is run again -------------------------------------------------------------------

STATUSES = {
    "done": {},
    "failed": {"infrastructure": False},
    "lost": {"state": "failed", "infrastructure": True},
    "timed out": {},
    "killed": {},
    "running": {},
    "queued": {},
}


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ("unfinished", {"lost", "timed out", "killed", "running", "queued"}),
        ("failed", {"failed", "lost", "timed out", "killed", "running", "queued"}),
        ("all", set(STATUSES)),
    ],
)
def test_what_is_run_again(again, expected, tmp_path):
    log = tmp_path / "log"
    batch = [job(name=name, log=str(log)) for name in STATUSES]
    folder = asked(tmp_path / "runs", batch)
    with driving(folder) as driver:
        for j, (name, more) in zip(batch, STATUSES.items(), strict=True):
            driver.claim(j.id, lambda status: True)
            driver.begin(j.id, {"id": j.id, "state": name, "attempt": 4, **more})
            driver.release(j.id)
    done = run(batch, folder, again=again)
    assert {j.parameters["name"] for j in batch if begun(log)[j.id]} == expected
    assert {r["attempt"] for r in done.runs if r["parameters"]["name"] in expected} == {5}


# --- failures ----------------------------------------------------------------------------


def failing(times, result):
    """A performer that fails so many times for each run."""
    tries: dict[str, int] = {}

    def performs(job):
        tries[job.id] = tries.get(job.id, 0) + 1
        if tries[job.id] > times:
            return outcome()
        if isinstance(result, BaseException):
            raise result
        return result

    performs.tries = tries
    return performs


def test_an_error_in_the_notebook_is_not_tried_again(tmp_path):
    performs = failing(9, outcome("failed", "cell [3]: ValueError: no"))
    batch = jobs(2)
    done = run(batch, asked(tmp_path, batch), perform=performs, retries=5)
    assert done.counts == {"failed": 2}
    assert set(performs.tries.values()) == {1}
    assert done.failed[0]["failure"]["reason"] == "cell [3]: ValueError: no"


@pytest.mark.parametrize(
    "problem",
    [
        outcome("failed", "the kernel did not start", infrastructure=True),
        OSError("the worker's disk is full"),
        RuntimeError("no answer"),
    ],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize(("times", "state"), [(2, "done"), (3, "failed")])
def test_what_is_not_the_notebooks_fault_is_tried_again(problem, times, state, tmp_path):
    performs = failing(times, problem)
    batch = jobs(2)
    done = run(batch, asked(tmp_path, batch), perform=performs, retries=2)
    assert set(performs.tries.values()) == {3}
    assert {(r["state"], r["attempt"]) for r in done.runs} == {(state, 3)}
    for status in done.failed:
        text = getattr(getattr(problem, "failure", None), "reason", None) or str(problem)
        assert status["failure"]["reason"].endswith(text)
        assert status["infrastructure"] is True
    assert run(batch, asked(tmp_path, batch), perform=performs).counts == {"done": 2}


def test_the_last_failure_is_told_while_the_next_attempt_waits(tmp_path):
    batch = jobs(1)
    folder, seen = asked(tmp_path, batch), []

    def performs(job):
        seen.append(folder.status(job.id))
        return outcome("killed", "out of memory", True) if len(seen) == 1 else outcome()

    run(batch, folder, perform=performs)
    assert [(s["state"], s["attempt"]) for s in seen] == [("running", 1), ("running", 2)]
    assert [s["failure"] and s["failure"]["reason"] for s in seen] == [None, "out of memory"]


def test_a_cancelled_call_is_a_lost_one(tmp_path):
    class Forgetful(SynchronousExecutor):
        calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            if self.calls > 1:
                return super().submit(fn, *args, **kwargs)
            future: Future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    batch, executor = jobs(2), Forgetful()
    done = run(batch, asked(tmp_path, batch), executor, perform=lambda job: outcome())
    assert done.counts == {"done": 2}
    assert executor.calls == 3


def test_what_every_run_would_meet_ends_the_batch(tmp_path):
    """The cluster is gone, or has other software: that is said once, and not of each run."""
    performs = failing(1, LabError("the scheduler went away"))
    batch = jobs(5)
    folder = asked(tmp_path, batch)
    with pytest.raises(LabError, match="the scheduler went away"):
        run(batch, folder, SynchronousExecutor(), perform=performs, retries=2)
    assert set(states(folder)) == {"queued"}
    assert run(batch, folder, perform=lambda job: outcome()).counts == {"done": 5}


# --- executors that break ----------------------------------------------------------------


def poisonous(job):
    """Run 3 takes its worker with it."""
    if job.parameters["x"] == 3:
        os._exit(7)
    return count(job)


def test_a_run_that_kills_its_workers_takes_no_other_down(tmp_path):
    log = tmp_path / "log"
    batch = jobs(8, log=str(log))
    done = run(
        batch, asked(tmp_path / "runs", batch), lambda: ProcessPoolExecutor(2), perform=poisonous
    )
    assert done.counts == {"done": 7, "failed": 1}
    (failed,) = done.failed
    assert failed["parameters"]["x"] == 3
    assert failed["failure"]["reason"].startswith("worker lost: ")
    assert failed["attempt"] == 3, "once among others, then alone, with one more try"
    assert max(begun(log).values()) <= 2, "the others were there once when it happened"


def test_a_run_that_has_cost_a_cluster_its_workers_is_tried_once_more_alone(tmp_path):
    """Dask has moved it from worker to worker by then; it may have been another run's fault."""
    executor, tries = SynchronousExecutor(), []

    def performs(job):
        tries.append(x := job.parameters["x"])
        if x == 0 or (x == 1 and tries.count(1) == 1):
            raise WorkerLost("worker lost: 4 workers died during this run")
        return outcome()

    batch = jobs(4)
    done = run(batch, asked(tmp_path, batch), executor, perform=performs, retries=5)
    assert tries == [0, 1, 2, 3, 0, 1]
    assert [r["state"] for r in done.runs] == ["failed", "done", "done", "done"]
    assert [r["attempt"] for r in done.runs] == [2, 2, 1, 1]
    assert done.failed[0]["failure"]["reason"] == "worker lost: 4 workers died during this run"


def test_an_executor_that_cannot_be_replaced_ends_the_batch_resumably(tmp_path):
    log = tmp_path / "log"
    batch = jobs(8, log=str(log))
    folder = asked(tmp_path / "runs", batch)
    with ProcessPoolExecutor(1) as executor:
        match = r"takes no more runs .*\. With another one go on with: labkit run --resume"
        with pytest.raises(LabError, match=match):
            run(batch, folder, executor, perform=poisonous)
    assert states(folder)[:3] == ["done"] * 3
    assert set(states(folder)[3:]) <= {"queued", "failed"}
    before = begun(log)
    done = run(batch, folder)
    assert done.counts == {"done": 8}
    assert [begun(log)[j.id] for j in batch[:3]] == [before[j.id] for j in batch[:3]]


def test_an_executor_that_is_shut_down(tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    batch = jobs(2)
    folder = asked(tmp_path, batch)
    with pytest.raises(LabError, match="cannot schedule new futures after shutdown"):
        run(batch, folder, executor)
    assert states(folder) == ["queued"] * 2


def test_an_executor_that_is_always_broken_ends(tmp_path):
    class Broken(SynchronousExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future: Future = Future()
            future.set_exception(BrokenExecutor("no worker starts"))
            return future

    batch = jobs(3)
    done = run(batch, asked(tmp_path, batch), Broken)
    assert done.counts == {"failed": 3}
    assert {r["failure"]["reason"] for r in done.runs} == {"worker lost: no worker starts"}


# --- several drivers ---------------------------------------------------------------------


def test_another_drivers_runs_are_waited_for(tmp_path):
    log = tmp_path / "log"
    batch = jobs(3, log=str(log))
    folder = asked(tmp_path / "runs", batch)
    gate = threading.Event()

    def slow(job):
        gate.wait(60)
        return count(job)

    results = []
    first = threading.Thread(target=lambda: results.append(run(batch[:1], folder, perform=slow)))
    first.start()
    while states(folder)[0] != "running":
        time.sleep(0.005)
    second = threading.Thread(target=lambda: results.append(run(batch, folder)))
    second.start()
    while states(folder)[1:] != ["done", "done"]:
        time.sleep(0.005)
    assert second.is_alive()
    gate.set()
    first.join()
    second.join()
    assert [b.counts for b in results] == [{"done": 1}, {"done": 3}]
    assert begun(log) == {j.id: 1 for j in batch}


def test_what_another_driver_found_to_fail_is_not_tried_by_us_too(tmp_path):
    """Both were told to try failed runs again: one of them is enough."""
    batch = jobs(6)
    folder = asked(tmp_path, batch)
    performs = failing(9, outcome("failed", "cell [3]: ValueError: no"))
    run(batch, folder, perform=performs)
    gate = threading.Barrier(2)

    def both():
        gate.wait()
        run(batch, Folder(tmp_path), perform=performs, again="failed", retries=0)

    threads = [threading.Thread(target=both) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(performs.tries.values()) <= {2, 3}, "3 where the second began after the first"


def test_a_run_that_was_taken_over_keeps_its_new_owners_outcome(tmp_path):
    """We were silent for a minute: another machine took us for dead."""
    batch = jobs(1)
    folder = asked(tmp_path, batch)

    def performs(job):
        status = folder.status(job.id)
        theirs = {"token": "theirs", "host": "there", "pid": 1, "claim": 2}
        folder.write_status(job.id, {**status, "state": "done", "seconds": 9, "driver": theirs})
        return outcome("failed", "cell [1]: KeyError: a")

    done = run(batch, folder, perform=performs)
    assert (done.runs[0]["state"], done.runs[0]["seconds"]) == ("done", 9)


# --- the end before its time -------------------------------------------------------------


@pytest.fixture
def stoppable(monkeypatch):
    """A performer that ends when it is told to, as the real one does."""
    stopped = threading.Event()
    monkeypatch.setattr(perform, "stop_all", stopped.set)

    def performs(job):
        if job.parameters["x"] < 3:
            return outcome()
        if job.parameters["x"] == 3:
            os.kill(os.getpid(), performs.signal)
        assert stopped.wait(60)
        return outcome("failed", "cell [2]: KeyboardInterrupt: ")

    performs.signal = signal.SIGINT
    return performs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_runs_and_says_how_to_go_on(number, tmp_path, stoppable):
    stoppable.signal = number
    batch = jobs(12)
    folder = asked(tmp_path / "my runs", batch)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match=r"go on with: labkit run --resume '.*/my runs'"):
        run(batch, folder, perform=stoppable)
    assert signal.getsignal(number) is before
    assert states(folder)[:4] == ["done"] * 3 + ["killed"]
    assert set(states(folder)[4:]) <= {"killed", "queued"}
    assert "killed" in folder.read("results.csv").decode()
    assert [n for n in folder.store.names(".labkit") if "notebooks" not in n] == []
    done = run(batch, folder, perform=lambda job: outcome())
    assert done.counts == {"done": 12}
    assert [r["attempt"] for r in done.runs[:4]] == [1, 1, 1, 2]


def test_what_does_not_end_in_time_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "SHUTDOWN", 0.05)
    executor, batch = Manual(slots=1), jobs(4)

    def start():
        while len(executor.calls) < 2:
            time.sleep(0.001)
        executor.calls[0][0].set_running_or_notify_cancel()
        os.kill(os.getpid(), signal.SIGINT)

    folder = asked(tmp_path, batch)
    thread = threading.Thread(target=start)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(batch, folder, executor)
    thread.join()
    assert executor.calls[1][0].cancelled()
    assert states(folder) == ["killed", "queued", "queued", "queued"]
    assert "did not end in time" in folder.status(batch[0].id)["failure"]["reason"]


def test_a_second_ctrl_c_quits_at_once(tmp_path, monkeypatch):
    executor, batch = Manual(slots=1), jobs(4)
    folder = asked(tmp_path, batch)

    def stop():
        while len(executor.calls) < 2:
            time.sleep(0.001)
        executor.calls[0][0].set_running_or_notify_cancel()
        os.kill(os.getpid(), signal.SIGINT)
        while not executor.calls[1][0].cancelled():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(batch, folder, executor)
    thread.join()
    assert states(folder)[0] in ("stale", "queued")
    assert not (tmp_path / "results.csv").exists()
    assert run(batch, folder, perform=lambda job: outcome()).counts == {"done": 4}


def test_in_a_thread_there_are_no_signals(tmp_path):
    batch, results = jobs(2), []
    folder = asked(tmp_path, batch)
    thread = threading.Thread(
        target=lambda: results.append(run(batch, folder, perform=lambda job: outcome()))
    )
    thread.start()
    thread.join()
    assert results[0].counts == {"done": 2}


def test_a_torn_status_is_said_and_run_again(tmp_path, capsys):
    log = tmp_path / "log"
    batch = jobs(2, log=str(log))
    folder = asked(tmp_path / "runs", batch)
    run(batch, folder)
    file = tmp_path / "runs" / batch[0].id / "status.json"
    file.write_bytes(file.read_bytes()[:50])
    done = run(batch, folder, progress=True)
    assert done.counts == {"done": 2}
    assert begun(log) == {batch[0].id: 2, batch[1].id: 1}
    assert f"{file} is not a status: cut short" in capsys.readouterr().err


def test_a_job_with_options_is_performed_as_it_is(tmp_path):
    seen = []
    batch = [replace(j, kernel="plain", threads=3) for j in jobs(1)]
    run(batch, asked(tmp_path, batch), perform=lambda job: seen.append(job) or outcome())
    assert [replace(j, folder=None) for j in seen] == batch
