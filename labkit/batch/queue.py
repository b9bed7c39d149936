"""The runs of a batch that wait: new ones, further attempts, and those that must run alone."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from dataclasses import dataclass, replace

from labkit.batch.job import Failure, Job

BACKOFF = 0.5  # seconds before a second attempt, doubled before each further one
OTHERS = 2.0  # seconds between two looks at the runs of other drivers


@dataclass
class Attempt:
    """One attempt at a job.

    Attributes:
        job: the run and its notebook.
        number: 1 for the first; counted over all drivers.
        tries: counted by this driver.
        failure: of the attempt before, where it was lost.
        alone: whether nothing else runs beside it, so that it is to blame if the executor
            breaks.
        begun: whether it is known to have begun.
    """

    job: Job
    number: int
    tries: int = 1
    failure: Failure | None = None
    alone: bool = False
    begun: bool = False

    def next(self, failure: Failure) -> Attempt:
        """The attempt after this one."""
        return Attempt(self.job, self.number + 1, self.tries + 1, failure)


class Queue:
    """What is still to be run, in the order in which it should be."""

    def __init__(self) -> None:
        self._new: deque[Job] = deque()
        self._elsewhere: list[Job] = []
        self._suspects: deque[Attempt] = deque()
        self._later: list[tuple[float, int, Attempt]] = []  # when it is due, order
        self._order = itertools.count()
        self._look_again = 0.0

    def __bool__(self) -> bool:
        return bool(self._new or self._later or self._suspects or self._elsewhere)

    @property
    def elsewhere(self) -> int:
        """How many runs other drivers have."""
        return len(self._elsewhere)

    def add(self, job: Job) -> None:
        """A run that has not been claimed."""
        self._new.append(job)

    def add_elsewhere(self, job: Job) -> None:
        """A run that another driver has: it is new again after a while, if still wanted."""
        self._elsewhere.append(job)

    def add_retry(self, attempt: Attempt) -> None:
        """A further attempt, the later the more there were before."""
        due = time.monotonic() + BACKOFF * 2 ** (attempt.tries - 2)
        heapq.heappush(self._later, (due, next(self._order), attempt))

    def add_suspect(self, attempt: Attempt) -> None:
        """A further attempt that must run alone: it may have broken the executor."""
        self._suspects.append(attempt)

    def next(self, *, idle: bool) -> Job | Attempt | None:
        """Take what should run next, if anything should now.

        Args:
            idle: whether nothing runs, so that a suspect may run alone.

        Returns:
            A job to claim, or a further attempt at one that is claimed.
        """
        now = time.monotonic()
        if self._elsewhere and now >= self._look_again:
            self._look_again = now + OTHERS
            self._new.extend(self._elsewhere)
            self._elsewhere = []
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        if self._new:
            return self._new.popleft()
        if self._suspects and idle and not self._later:
            return replace(self._suspects.popleft(), alone=True)
        return None

    def seconds_to_retry(self) -> float | None:
        """How long until the next further attempt is due; None where there is none."""
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def clear(self) -> list[Attempt]:
        """Forget everything; returns the attempts at runs that are claimed."""
        claimed = [*self._suspects, *(attempt for _, _, attempt in self._later)]
        for waiting in (self._new, self._elsewhere, self._suspects, self._later):
            waiting.clear()
        return claimed
