"""The loop of a batch: jobs go to an executor, their outcomes into the output folder."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from labkit._version import __version__
from labkit.batch.claims import Driver, driving
from labkit.batch.cluster import WorkerLost
from labkit.batch.folder import Folder, timestamp, writing
from labkit.batch.job import Failure, Job, Outcome
from labkit.batch.progress import Progress
from labkit.batch.queue import Attempt, Queue
from labkit.batch.states import ENDED
from labkit.batch.workers import Pool, Workers
from labkit.core.errors import FileError, LabError

Again = Literal["unfinished", "failed", "all"]
TICK = 1.0  # seconds between two looks at what has begun to run
SHUTDOWN = 20.0  # seconds that runs have to end after Ctrl-C


@dataclass(frozen=True)
class Batch:
    """What came of a batch.

    Attributes:
        folder: where everything lies.
        runs: the status of each run that was requested, in that order.
    """

    folder: Folder
    runs: list[dict[str, Any]]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(Counter(run["state"] for run in self.runs))

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The runs that are not done."""
        return [run for run in self.runs if run["state"] != "done"]


def drive(
    jobs: Sequence[Job],
    folder: Folder,
    executor: Pool = None,
    *,
    at_once: int = 1,
    retries: int = 1,
    again: Again = "unfinished",
    progress: bool = True,
    perform: Callable[[Job], Outcome] | None = None,
) -> Batch:
    """Perform those jobs that the folder has not done; they must be in the folder's requests.

    Args:
        jobs: what to run.
        folder: where to keep it.
        executor: see `run_batch`.
        at_once: how many runs at once, where the executor is our own.
        retries: further attempts after a failure that is not the notebook's.
        again: see `run_batch`.
        progress: show it.
        perform: what the executor runs, if not `labkit.batch.perform.perform`.

    Raises:
        LabError: the folder could not be written, or the executor takes no more runs.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when everything has ended.
    """
    from labkit.batch.perform import perform as by_notebook

    workers = Workers(executor, at_once)
    shown = Progress(len(jobs), progress)
    try:
        with writing(folder), driving(folder) as driver, workers:
            schedule = _Schedule(driver, workers, perform or by_notebook, retries, again, shown)
            with _signals(schedule):
                schedule.run(jobs)
    finally:
        shown.close()
    with writing(folder):
        runs = {run.id: run for run in folder.asked()}
        batch = Batch(folder, folder.statuses([runs[job.id] for job in jobs]))
        _write_table(folder)
    if schedule.stopping:
        raise KeyboardInterrupt(f"stopped; go on with: {folder.resume_command}")
    return batch


class _FolderError(Exception):
    """The folder cannot be written, as one of our threads found out."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _TakenOverError(Exception):
    """Another driver has the run: it considered this one dead."""


class _Schedule:
    """The queue, the running set, and what becomes of each attempt."""

    def __init__(
        self,
        driver: Driver,
        workers: Workers,
        perform: Callable[[Job], Outcome],
        retries: int,
        again: Again,
        shown: Progress,
    ) -> None:
        self.driver = driver
        self.folder = driver.folder
        self.workers = workers
        self.perform = perform
        self.retries = retries
        self.again = again
        self.shown = shown
        self.stopping = False
        self._queue = Queue()
        self._running: dict[Future[Outcome], Attempt] = {}
        self._ended: SimpleQueue[Future[Outcome] | None] = SimpleQueue()
        self._before: dict[str, int] = {}  # the claims that we found, by run
        self._look_at = 0.0
        self._deadline: float | None = None

    # --- the loop ------------------------------------------------------------------------

    def run(self, jobs: Sequence[Job]) -> None:
        """Run until queue and running set are empty and no other driver has one of the jobs."""
        self._sort_out(jobs)
        try:
            self._fill()
            _import_for_the_end()
            while self._running or (not self.stopping and self._queue):
                if self.stopping:
                    self._shut_down()
                else:
                    self._fill()
                self._collect()
            if self.stopping:
                self._shut_down()
        except BaseException:
            if not self.stopping:  # else it is the second Ctrl-C: at once
                self.stopping = True
                while self._shut_down():
                    self._collect()
            raise

    def stop(self) -> None:
        """Begin to end; fit for a signal's handler."""
        self.stopping = True
        self._ended.put(None)

    def _sort_out(self, jobs: Sequence[Job]) -> None:
        """What is to be run, and what has ended before."""
        asked = {run.id: run for run in self.folder.asked()}
        done = failed = 0
        for job, status in zip(
            jobs, self.folder.statuses([asked[job.id] for job in jobs]), strict=True
        ):
            if "problem" in status:
                self.shown.note(f"{status['problem']}; it is taken as not there")
            if "driver" in status:
                self._before[job.id] = status["driver"]["claim"]
            if self._wanted(status):
                self._queue.add(job)
            else:
                done += status["state"] == "done"
                failed += status["state"] != "done"
        self.shown.known(done, failed)

    def _wanted(self, status: Mapping[str, Any] | None) -> bool:
        """Whether a run in that state, which no living driver has, is ours to run."""
        if status is None or status["state"] not in ENDED or status["state"] == "killed":
            return True
        if status["driver"]["claim"] != self._before.get(status["id"]):
            return False  # another driver has run it in the meantime
        if status["state"] == "done":
            return self.again == "all"
        lost = status["state"] == "timed out" or status.get("infrastructure", False)
        return bool(lost or self.again != "unfinished")

    # --- from the queue to the executor --------------------------------------------------

    def _fill(self) -> None:
        """Submit as many runs as there is room for."""
        while not self.stopping and len(self._running) < self.workers.room:
            if len(self._running) == 1 and next(iter(self._running.values())).alone:
                return
            match self._queue.next(idle=not self._running):
                case None:
                    return
                case Attempt() as attempt:
                    self._submit(attempt)
                case job:
                    self._take(job)

    def _take(self, job: Job) -> None:
        """Claim a run and submit it, unless another driver has it or has ended it."""
        before = self.driver.claim(job.id, self._wanted)
        if before is None:
            status = self.folder.status(job.id)
            if self.driver.busy(status) or self._wanted(status):
                self._queue.add_elsewhere(job)
            elif status is not None:
                self.shown.ended(status["state"])
            return
        attempt = Attempt(job, before.get("attempt", 0) + 1)
        self.driver.begin(job.id, self._status(attempt, "queued"))
        self._submit(attempt)

    def _submit(self, attempt: Attempt) -> None:
        """Hand a job to the executor."""
        shared = self.workers.local and self.folder.store.local
        place = os.path.abspath(self.folder.where(attempt.job.id)) if shared else None
        job = replace(attempt.job, folder=place)
        try:
            if self.workers.ours:
                future = self.workers.submit(self._perform_here, attempt, job)
            else:
                future = self.workers.submit(self.perform, job)
        except RuntimeError as error:  # broken, or shut down
            self._queue.add_suspect(attempt)  # it is given back with the others
            raise LabError(
                f"the executor takes no more runs ({error}). With another one go on "
                f"with: {self.folder.resume_command}"
            ) from None
        self._running[future] = attempt
        future.add_done_callback(self._ended.put)

    def _perform_here(self, attempt: Attempt, job: Job) -> Outcome:
        """On a thread of our own: report that it runs, run it, and keep its files."""
        try:
            ours = self._report_running(attempt, host=socket.gethostname(), pid=os.getpid())
        except OSError as error:
            raise _FolderError(error) from error
        if not ours:
            raise _TakenOverError
        outcome = self.perform(job)
        try:
            return self._keep_files(job.id, outcome)
        except OSError as error:
            raise _FolderError(error) from error

    def _report_running(self, attempt: Attempt, **where: Any) -> bool:
        attempt.begun = True
        status = self._status(attempt, "running", started=timestamp(time.time()), **where)
        return self.driver.update(attempt.job.id, status)

    # --- from the executor to the folder -------------------------------------------------

    def _collect(self) -> None:
        """Wait a moment for runs that have ended, and handle all of them."""
        due = self._queue.seconds_to_retry()
        wait = TICK if due is None else min(TICK, due)
        with suppress(Empty):
            future = self._ended.get(timeout=wait)
            while True:
                if future is not None and future in self._running:
                    self._handle(future, self._running.pop(future))
                future = self._ended.get_nowait()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + TICK
            if not self.workers.ours:
                for future, attempt in self._running.items():
                    if future.running() and not attempt.begun:
                        self._report_running(attempt, **getattr(future, "where", {}))
        slots = self.workers.slots
        self.shown.now(min(len(self._running), slots), slots, self._queue.elsewhere)

    def _handle(self, future: Future[Outcome], attempt: Attempt) -> None:
        """What came of an attempt."""
        try:
            outcome = future.result()
        except CancelledError:
            if self.stopping:
                self._give_back(attempt)
            else:
                self._lose(attempt, "worker lost: the run was cancelled")
        except BrokenExecutor as error:
            if self.workers.renewable and not attempt.alone:
                self._suspect(attempt, f"worker lost: {error}")
            else:
                self._lose(attempt, f"worker lost: {error}")
        except _FolderError as error:
            if not self.stopping:
                raise error.error from None
            self._release(attempt.job.id)
        except _TakenOverError:
            self._release(attempt.job.id)
            self._queue.add_elsewhere(attempt.job)
        except WorkerLost as error:  # which may be another run's doing: once more, alone
            if attempt.alone:
                self._lose(replace(attempt, tries=self.retries + 1), str(error))
            else:
                self._suspect(attempt, str(error))
        except LabError:  # the next run would end the same way
            self._give_back(attempt)
            if not self.stopping:
                raise
        except Exception as error:
            text = str(error) or "without a reason"
            self._lose(attempt, f"worker lost: {type(error).__name__}: {text}")
        else:
            self._conclude(attempt, outcome)

    def _suspect(self, attempt: Attempt, reason: str) -> None:
        """One of several that ran when a worker died: once more, alone, later."""
        after = replace(attempt.next(Failure(reason)), tries=attempt.tries)
        self._write(attempt.job.id, self._status(after, "queued"))
        self._queue.add_suspect(after)

    def _lose(self, attempt: Attempt, reason: str) -> None:
        """An attempt whose outcome is not known."""
        outcome = Outcome("failed", Failure(reason), True, "", 0, 0.0, 0.0)
        self._conclude(attempt, outcome)

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> None:
        """Keep an outcome, or try once more."""
        if self.stopping and outcome.state != "done":
            outcome = replace(outcome, state="killed")
        elif outcome.infrastructure and attempt.tries <= self.retries:
            after = attempt.next(outcome.failure or Failure("no reason is known"))
            self._write(attempt.job.id, self._status(after, "queued"))
            (self._queue.add_suspect if attempt.alone else self._queue.add_retry)(after)
            return
        run = attempt.job.id
        outcome = self._keep_files(run, outcome)
        status = self._status(
            attempt,
            outcome.state,
            host=outcome.host or None,
            pid=outcome.pid or None,
            started=timestamp(outcome.started) if outcome.started else None,
            ended=timestamp(time.time()),
            seconds=round(outcome.seconds, 3),
            failure=asdict(outcome.failure) if outcome.failure else None,
            infrastructure=outcome.infrastructure,
        )
        if self._write(run, status):
            reason = outcome.failure.reason if outcome.failure else ""
            message = None if self.stopping else f"{outcome.state}: {run}: {reason}"
            self.shown.ended(outcome.state, outcome.seconds, message)
        else:
            self._queue.add_elsewhere(attempt.job)
        self._release(run)

    def _status(self, attempt: Attempt, state: str, **more: Any) -> dict[str, Any]:
        job = attempt.job
        return {
            "id": job.id,
            "notebook": job.name,
            "state": state,
            "parameters": job.parameters,
            "labkit": __version__,
            "attempt": attempt.number,
            "failure": asdict(attempt.failure) if attempt.failure else None,
            **more,
        }

    # --- shutdown ------------------------------------------------------------------------

    def _shut_down(self) -> bool:
        """End what runs and give back what waits; False when that is done."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + SHUTDOWN
            if self._running:
                self.shown.note("ending the runs; another Ctrl-C quits at once")
            for future in list(self._running):
                future.cancel()
            for attempt in self._queue.clear():
                self._give_back(attempt)
        if self.workers.here:
            from labkit.batch.perform import stop_all

            stop_all()  # again and again: some may only have begun
        if now > self._deadline:
            for attempt in self._running.values():
                self._lose(attempt, "stopped, and it did not end in time")
            self._running.clear()
        return bool(self._running)

    def _give_back(self, attempt: Attempt) -> None:
        """Release a run whose attempt was not made, or not finished."""
        state = "killed" if attempt.begun else "queued"
        self._write(attempt.job.id, self._status(attempt, state))
        self._release(attempt.job.id)

    # --- files ---------------------------------------------------------------------------

    def _keep_files(self, run: str, outcome: Outcome) -> Outcome:
        """Write the files that came as bytes, if the run is still ours; the outcome without."""
        if not outcome.files:
            return outcome
        try:
            if self.driver.has(run):
                self.folder.deliver(run, outcome.files)
        except FileError as error:
            outcome = replace(outcome, state="failed", failure=Failure(str(error)))
        except OSError:
            if not self.stopping:
                raise
        return replace(outcome, files={})

    def _write(self, run: str, status: Mapping[str, Any]) -> bool:
        """A run's status, after its files; False where another driver has the run.

        While all ends, what cannot be written is let go: the run is stale then.

        Raises:
            OSError: it cannot be written.
        """
        try:
            return self.driver.update(run, status)
        except OSError:
            if not self.stopping:
                raise
            return True

    def _release(self, run: str) -> None:
        try:
            self.driver.release(run)
        except OSError:
            if not self.stopping:
                raise


@contextmanager
def _signals(schedule: _Schedule) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the batch in good order, the second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    resume_command = schedule.folder.resume_command

    def handle(*_: object) -> None:
        if schedule.stopping:
            raise KeyboardInterrupt(f"stopped at once; go on with: {resume_command}")
        schedule.stop()

    wanted = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    handled = {number for number in wanted if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handle) for number in handled}  # nohup stays so
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _import_for_the_end() -> None:
    """What the table takes long to import, while the first runs start and we would wait."""
    import pandas  # noqa: F401


def _write_table(folder: Folder) -> None:
    from labkit.batch.results import write

    write(folder.out)
