"""The loop of a batch: jobs go to an executor, their outcomes into the output folder."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from labkit._version import __version__
from labkit.batch.claims import Driver, driving
from labkit.batch.cluster import WorkerLost
from labkit.batch.folder import ENDED, Folder, timestamp, writing
from labkit.batch.job import Failure, Job, Outcome
from labkit.batch.progress import Progress
from labkit.batch.workers import Pool, Workers
from labkit.core.errors import FileError, LabError

Again = Literal["unfinished", "failed", "all"]
TICK = 1.0  # seconds between two looks at what has begun to run
OTHERS = 2.0  # seconds between two looks at the runs of other drivers
BACKOFF = 0.5  # seconds before a second attempt, doubled before each further one
FAREWELL = 20.0  # seconds that runs have to end after Ctrl-C


@dataclass(frozen=True)
class Batch:
    """What came of a batch.

    Attributes:
        folder: where everything lies.
        runs: the status of each run that was asked for, in that order.
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
    in_flight: int | None = None,
    perform: Callable[[Job], Outcome] | None = None,
) -> Batch:
    """Perform those jobs that the folder has not done; they must have been asked for.

    Args:
        jobs: what to run.
        folder: where to keep it.
        executor: see `run_batch`.
        at_once: how many runs at once, where the executor is our own.
        retries: further attempts after a failure that is not the notebook's.
        again: see `run_batch`.
        progress: show it.
        in_flight: how many jobs to have with the executor at most; twice its workers if
            None, so that none waits for us.
        perform: what the executor runs, if not `labkit.batch.perform.perform`.

    Raises:
        LabError: the folder could not be written, or the executor takes no more runs.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when everything has ended.
    """
    from labkit.batch.perform import perform as by_notebook

    workers = Workers(executor, at_once, in_flight)
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


@dataclass
class _Flight:
    """One attempt at a job.

    Attributes:
        job: what was asked for.
        attempt: counted over all drivers.
        tries: counted here.
        failure: of the attempt before, where it was lost.
        alone: whether nothing else was in flight with it, so that it is to blame for a
            broken executor.
        begun: whether it is known to have begun.
    """

    job: Job
    attempt: int
    tries: int = 1
    failure: Failure | None = None
    alone: bool = False
    begun: bool = False

    def next(self, failure: Failure) -> _Flight:
        """The attempt after this one."""
        return _Flight(self.job, self.attempt + 1, self.tries + 1, failure)


class _FolderError(Exception):
    """The folder cannot be written, which a thread of ours found out."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _TakenOverError(Exception):
    """Another driver has the run: it took this one for dead."""


class _Schedule:
    """What waits, what is in flight, and what becomes of it."""

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
        self._waiting: deque[Job] = deque()
        self._elsewhere: list[Job] = []  # other drivers have them
        self._suspects: deque[_Flight] = deque()  # of having broken the executor
        self._later: list[tuple[float, int, _Flight]] = []  # when, order
        self._order = itertools.count()
        self._flying: dict[Future[Outcome], _Flight] = {}
        self._landed: SimpleQueue[Future[Outcome] | None] = SimpleQueue()
        self._before: dict[str, int] = {}  # the claims that we found, by run
        self._look_at = self._others_at = 0.0
        self._deadline: float | None = None

    # --- the loop ------------------------------------------------------------------------

    def run(self, jobs: Sequence[Job]) -> None:
        """Until nothing waits, nothing flies and no other driver has one of the jobs."""
        self._sort_out(jobs)
        try:
            self._fill()
            _import_for_the_end()
            while self._flying or (not self.stopping and self._left()):
                if self.stopping:
                    self._say_farewell()
                else:
                    self._fill()
                self._land()
            if self.stopping:
                self._say_farewell()
        except BaseException:
            if not self.stopping:  # else it is the second Ctrl-C: at once
                self.stopping = True
                while self._say_farewell():
                    self._land()
            raise

    def stop(self) -> None:
        """Begin to end; fit for a signal's handler."""
        self.stopping = True
        self._landed.put(None)

    def _left(self) -> bool:
        return bool(self._waiting or self._later or self._suspects or self._elsewhere)

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
                self._waiting.append(job)
            else:
                done += status["state"] == "done"
                failed += status["state"] != "done"
        self.shown.known(done, failed)

    def _wanted(self, status: Mapping[str, Any] | None) -> bool:
        """Whether a run in that state, which no living driver has, is ours to run."""
        if status is None or status["state"] not in ENDED or status["state"] == "killed":
            return True
        if status["driver"]["claim"] != self._before.get(status["id"]):
            return False  # another driver has run it while we were at work
        if status["state"] == "done":
            return self.again == "all"
        lost = status["state"] == "timed out" or status.get("infrastructure", False)
        return bool(lost or self.again != "unfinished")

    # --- into the air --------------------------------------------------------------------

    def _fill(self) -> None:
        """Have as much in flight as there is room for."""
        if self._elsewhere and time.monotonic() >= self._others_at:
            self._others_at = time.monotonic() + OTHERS
            self._waiting.extend(self._elsewhere)
            self._elsewhere = []
        while not self.stopping and len(self._flying) < self.workers.room:
            if len(self._flying) == 1 and next(iter(self._flying.values())).alone:
                return
            if self._later and self._later[0][0] <= time.monotonic():
                self._launch(heapq.heappop(self._later)[2])
            elif self._waiting:
                self._take(self._waiting.popleft())
            elif self._suspects and not (self._flying or self._later):
                self._launch(replace(self._suspects.popleft(), alone=True))
            else:
                return

    def _take(self, job: Job) -> None:
        """Claim a run and launch it, unless another driver has it or has ended it."""
        before = self.driver.claim(job.id, self._wanted)
        if before is None:
            status = self.folder.status(job.id)
            if self.driver.busy(status) or self._wanted(status):
                self._elsewhere.append(job)
            elif status is not None:
                self.shown.ended(status["state"])
            return
        flight = _Flight(job, before.get("attempt", 0) + 1)
        self.driver.begin(job.id, self._status(flight, "queued"))
        self._launch(flight)

    def _launch(self, flight: _Flight) -> None:
        """Hand a job to the executor."""
        shared = self.workers.local and self.folder.store.local
        place = os.path.abspath(self.folder.where(flight.job.id)) if shared else None
        job = replace(flight.job, folder=place)
        try:
            if self.workers.ours:
                future = self.workers.submit(self._perform_here, flight, job)
            else:
                future = self.workers.submit(self.perform, job)
        except RuntimeError as error:  # broken, or shut down
            self._suspects.append(flight)  # it goes back with the others
            raise LabError(
                f"the executor takes no more runs ({error}). With another one go on "
                f"with: {self.folder.resume_command}"
            ) from None
        self._flying[future] = flight
        future.add_done_callback(self._landed.put)

    def _perform_here(self, flight: _Flight, job: Job) -> Outcome:
        """On a thread of ours: say that it runs, run it, and keep its files."""
        try:
            ours = self._say_running(flight, host=socket.gethostname(), pid=os.getpid())
        except OSError as error:
            raise _FolderError(error) from error
        if not ours:
            raise _TakenOverError
        outcome = self.perform(job)
        try:
            return self._keep_files(job.id, outcome)
        except OSError as error:
            raise _FolderError(error) from error

    def _say_running(self, flight: _Flight, **where: Any) -> bool:
        flight.begun = True
        status = self._status(flight, "running", started=timestamp(time.time()), **where)
        return self.driver.update(flight.job.id, status)

    # --- and back ------------------------------------------------------------------------

    def _land(self) -> None:
        """Wait a moment for what has ended, and deal with all of it."""
        wait = TICK
        if self._later:
            wait = min(wait, max(0.0, self._later[0][0] - time.monotonic()))
        with suppress(Empty):
            future = self._landed.get(timeout=wait)
            while True:
                if future is not None and future in self._flying:
                    self._settle(future, self._flying.pop(future))
                future = self._landed.get_nowait()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + TICK
            if not self.workers.ours:
                for future, flight in self._flying.items():
                    if future.running() and not flight.begun:
                        self._say_running(flight, **getattr(future, "where", {}))
        slots = self.workers.slots
        self.shown.now(min(len(self._flying), slots), slots, len(self._elsewhere))

    def _settle(self, future: Future[Outcome], flight: _Flight) -> None:
        """What came of an attempt."""
        try:
            outcome = future.result()
        except CancelledError:
            if self.stopping:
                self._give_back(flight)
            else:
                self._lose(flight, "worker lost: the run was cancelled")
        except BrokenExecutor as error:
            if self.workers.renewable and not flight.alone:
                self._suspect(flight, f"worker lost: {error}")
            else:
                self._lose(flight, f"worker lost: {error}")
        except _FolderError as error:
            if not self.stopping:
                raise error.error from None
            self._release(flight.job.id)
        except _TakenOverError:
            self._release(flight.job.id)
            self._elsewhere.append(flight.job)
        except WorkerLost as error:  # which may be another run's doing: once more, alone
            if flight.alone:
                self._lose(replace(flight, tries=self.retries + 1), str(error))
            else:
                self._suspect(flight, str(error))
        except LabError:  # the next run would end the same way
            self._give_back(flight)
            if not self.stopping:
                raise
        except Exception as error:
            text = str(error) or "without a reason"
            self._lose(flight, f"worker lost: {type(error).__name__}: {text}")
        else:
            self._conclude(flight, outcome)

    def _suspect(self, flight: _Flight, reason: str) -> None:
        """One of several that were in flight when a worker died: once more, alone, later."""
        after = replace(flight.next(Failure(reason)), tries=flight.tries)
        self._write(flight.job.id, self._status(after, "queued"))
        self._suspects.append(after)

    def _lose(self, flight: _Flight, reason: str) -> None:
        """An attempt of which no outcome is known."""
        outcome = Outcome("failed", Failure(reason), True, "", 0, 0.0, 0.0)
        self._conclude(flight, outcome)

    def _conclude(self, flight: _Flight, outcome: Outcome) -> None:
        """Keep an outcome, or try once more."""
        if self.stopping and outcome.state != "done":
            outcome = replace(outcome, state="killed")
        elif outcome.infrastructure and flight.tries <= self.retries:
            after = flight.next(outcome.failure or Failure("no reason is known"))
            self._write(flight.job.id, self._status(after, "queued"))
            if flight.alone:
                self._suspects.append(after)
                return
            due = time.monotonic() + BACKOFF * 2 ** (flight.tries - 1)
            heapq.heappush(self._later, (due, next(self._order), after))
            return
        run = flight.job.id
        outcome = self._keep_files(run, outcome)
        status = self._status(
            flight,
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
            told = None if self.stopping else f"{outcome.state}: {run}: {reason}"
            self.shown.ended(outcome.state, outcome.seconds, told)
        else:
            self._elsewhere.append(flight.job)
        self._release(run)

    def _status(self, flight: _Flight, state: str, **more: Any) -> dict[str, Any]:
        job = flight.job
        return {
            "id": job.id,
            "notebook": job.name,
            "state": state,
            "parameters": job.parameters,
            "labkit": __version__,
            "attempt": flight.attempt,
            "failure": asdict(flight.failure) if flight.failure else None,
            **more,
        }

    # --- the end before its time ---------------------------------------------------------

    def _say_farewell(self) -> bool:
        """End what flies and give back what does not; False when that is done."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + FAREWELL
            if self._flying:
                self.shown.note("ending the runs; another Ctrl-C quits at once")
            for future in list(self._flying):
                future.cancel()
            self._waiting.clear()
            self._elsewhere.clear()
            for flight in [*self._suspects, *(flight for _, _, flight in self._later)]:
                self._give_back(flight)
            self._suspects.clear()
            self._later.clear()
        if self.workers.here:
            from labkit.batch.perform import stop_all

            stop_all()  # again and again: some may only have begun
        if now > self._deadline:
            for flight in self._flying.values():
                self._lose(flight, "stopped, and it did not end in time")
            self._flying.clear()
        return bool(self._flying)

    def _give_back(self, flight: _Flight) -> None:
        """An attempt that was not made, or not to its end."""
        state = "killed" if flight.begun else "queued"
        self._write(flight.job.id, self._status(flight, state))
        self._release(flight.job.id)

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
    heard = {number for number in wanted if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, handle) for number in heard}  # nohup stays so
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
