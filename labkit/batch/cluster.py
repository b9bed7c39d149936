"""Runs on a Dask cluster: nothing is shared with it but its scheduler's address."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
)
from concurrent.futures import wait as wait_for
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

from labkit.core.errors import LabError

# What decides about a run's results, or about whether the two sides understand each other.
PACKAGES = (
    "labkit", "torch", "ultralytics", "numpy", "plotly",
    "papermill", "nbclient", "ipykernel",
    "cloudpickle", "dask", "distributed",
)  # fmt: skip
FOR_SCHEDULER = ("python", "cloudpickle", "dask", "distributed")  # it unpacks tasks, no more
GLANCE = 2.0  # seconds for which a look at the cluster is good
PATIENCE = 5.0  # seconds that a look may take
TOPIC = "labkit"  # of the events that workers send to drivers


class WorkerLost(RuntimeError):  # noqa: N818
    """Workers died during a call, one after the other; another call there may be to blame."""


def dask_executor(
    address: str,
    *,
    gpus: float | None = None,
    memory: float | None = None,
    connect_seconds: float = 10.0,
    worker_seconds: float = 60.0,
) -> ClusterExecutor:
    """An executor on the Dask cluster at `address`, such as `tcp://scheduler:8786`.

    Args:
        address: the scheduler's. For `tls://` Dask's own configuration has the keys.
        gpus: GPUs that each call needs, of the Dask resource `GPU`.
        memory: bytes that each call needs, of the Dask resource `memory`.
        connect_seconds: how long to wait for the scheduler.
        worker_seconds: how long to wait for a first worker.

    Raises:
        LabError: distributed is not installed, no scheduler answers, there is no worker,
            none offers what a call needs, or software differs from this machine's.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise LabError(
            'Dask clusters need the package distributed: pip install "labkit[dask]"'
        ) from None
    import warnings

    _find_scheduler(address, connect_seconds)
    # Notebooks are sent with their runs, which Dask would call a mistake.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # versions are compared below, and more of them
        client = Client(address, timeout=connect_seconds, set_as_default=False)
    executor = ClusterExecutor(client, address, _resources(gpus, memory))
    try:
        executor.check(worker_seconds)
    except BaseException:
        executor.shutdown(wait=False)
        raise
    return executor


class Call(Future[Any]):
    """A call on a worker. Unlike other futures, one that runs can be cancelled as well.

    Attributes:
        where: `host` and `pid` of the worker that runs it, once one does.
    """

    def __init__(self, executor: ClusterExecutor) -> None:
        super().__init__()
        self.where: dict[str, Any] = {}
        self.token = uuid4().hex
        self._executor = executor
        self._beginning = threading.Lock()
        self._begun: bool | None = None

    def begin(self) -> bool:
        """From now on it runs; False where it was cancelled before."""
        with self._beginning:
            if self._begun is None:
                self._begun = self.set_running_or_notify_cancel()
            return self._begun

    def cancel(self) -> bool:
        """Cancel it; its worker ends a `perform` soon."""
        return super().cancel() or self._executor._stop(self)


class ClusterExecutor(Executor):
    """Calls functions on a cluster's workers; made by `dask_executor`.

    A function and its arguments travel as bytes, and so does what it returns; labkit must
    be installed where the workers are, but nothing else of this machine's is needed there.
    A call during which its worker is lost is made again on another one.
    """

    def __init__(self, client: Any, address: str, resources: Mapping[str, float]) -> None:
        from distributed.versions import get_package_info

        self.address = address
        self.resources = dict(resources)
        self._client = client
        self._there = client.get_executor(pure=False, retries=0, resources=self.resources)
        # Futures know each other only through this: what is done is freed at once, also there.
        self._pending: dict[str, tuple[Call, Future[Any]]] = {}
        self._lock = threading.Lock()
        self._gone = ""
        self._versions = _plain(get_package_info(PACKAGES))
        self._workers: dict[str, Any] = {}
        self._seen = -GLANCE
        client.subscribe_topic(TOPIC, self._hear)

    @property
    def slots(self) -> int:
        """How many calls the cluster takes at once, as it is now; at least 1.

        A call waits where there is no worker for it: on many clusters they come and go.
        """
        if time.monotonic() - self._seen > GLANCE and not self._gone:
            self._look()
        return max(1, sum(map(self._room, self._workers.values())))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call:
        """Call `fn` on a worker.

        The call's exception is `fn`'s own; `WorkerLost` where worker after worker died
        during it; `LabError` where it came to a worker whose software differs;
        `BrokenExecutor` where the scheduler went away.

        Raises:
            BrokenExecutor: the scheduler went away.
        """
        import cloudpickle

        if self._gone:
            raise BrokenExecutor(self._gone)
        call = Call(self)
        packed = cloudpickle.dumps((fn, args, kwargs))
        there = self._there.submit(_labkit_run, packed, self._versions, call.token, TOPIC)
        with self._lock:
            self._pending[call.token] = call, there
        call.add_done_callback(self._stop)
        there.add_done_callback(partial(self._settle, call))
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, which goes on without us.

        Args:
            wait: until all calls are done; else those that are not are cancelled.
            cancel_futures: cancel the calls first.
        """
        with self._lock:
            calls = [call for call, _ in self._pending.values()]
        if cancel_futures or not wait:
            for call in calls:
                call.cancel()
        wait_for(calls)
        self._client.close()

    def check(self, seconds: float) -> None:
        """Wait for a worker, then see that the cluster has what is needed.

        Raises:
            LabError: it has not, or there is no worker within `seconds`.
        """
        from distributed import TimeoutError as Timeout

        try:
            self._client.wait_for_workers(1, timeout=seconds)
        except Timeout:
            raise LabError(
                f"the Dask scheduler at {self.address} has no worker, and none came within "
                f"{seconds:g} s: start one with dask worker {self.address}"
            ) from None
        self._look()
        if self.resources and not any(map(self._room, self._workers.values())):
            wanted = _listed(self.resources)
            offers = {
                _listed(worker["resources"]) or "nothing" for worker in self._workers.values()
            }
            raise LabError(
                f"a run needs {wanted}, and no worker of {self.address} offers it (offered: "
                f"{'; '.join(sorted(offers))}): start workers with "
                f"dask worker {self.address} --resources {wanted}"
            )
        found = self._client.get_versions(packages=list(PACKAGES))
        scheduler = _plain(found["scheduler"]["packages"])
        problems = _differences(self._versions, {"the scheduler": scheduler}, FOR_SCHEDULER)
        workers = {name: _plain(there["packages"]) for name, there in found["workers"].items()}
        problems += _differences(self._versions, workers)
        if problems:
            raise LabError("\n".join(problems))

    def _look(self) -> None:
        self._seen = time.monotonic()
        ask = self._client.scheduler.identity
        with suppress(OSError, RuntimeError):  # between two connections the last one counts
            self._workers = self._client.sync(ask, callback_timeout=PATIENCE)["workers"]

    def _room(self, worker: Mapping[str, Any]) -> int:
        """How many calls one worker takes at once."""
        offered = worker["resources"]
        shares = [offered.get(name, 0) // need for name, need in self.resources.items()]
        return int(min([worker["nthreads"], *shares]))

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """A worker reports that it has begun a call, perhaps another driver's."""
        _, started = event
        with self._lock:
            call, _ = self._pending.get(started["call"], (None, None))
        if call:
            call.where = {"host": started["host"], "pid": started["pid"]}
            call.begin()

    def _stop(self, call: Future[Any]) -> bool:
        """Be no longer interested in a call; False where it is done."""
        assert isinstance(call, Call)
        with self._lock:
            _, there = self._pending.pop(call.token, (None, None))
        return there is not None and there.cancel()

    def _settle(self, call: Call, there: Future[Any]) -> None:
        """Pass on what came of a call."""
        from distributed import KilledWorker

        if not call.begin():
            return
        try:
            worker, versions, value = there.result()
        except CancelledError as error:
            with self._lock:
                lost = call.token in self._pending
            if lost:  # it was not us who cancelled it
                self._gone = f"the Dask scheduler at {self.address} went away"
            call.set_exception(BrokenExecutor(self._gone) if lost else error)
        except KilledWorker as error:
            call.set_exception(
                WorkerLost(
                    f"worker lost: {error.allowed_failures + 1} workers died during this run, "
                    f"the last of them {error.last_worker.address}"
                )
            )
        except BaseException as error:
            call.set_exception(error)
        else:
            problems = _differences(self._versions, {worker: versions})
            if problems:  # a worker that joined later
                call.set_exception(LabError("\n".join(problems)))
            else:
                call.set_result(value)


def _find_scheduler(address: str, seconds: float) -> None:
    """See that a Dask scheduler answers; a `Client` that cannot connect leaves noise behind.

    Raises:
        LabError: none does.
    """
    from distributed import Security, rpc

    async def ask() -> Any:
        settings = Security().get_connection_args("client")
        there = rpc(address, timeout=seconds, connection_args=settings)
        try:
            return await asyncio.wait_for(there.identity(), seconds)
        finally:
            await there.close_rpc()

    try:
        with ThreadPoolExecutor(1) as elsewhere:  # in a notebook, this thread has a loop already
            found = elsewhere.submit(asyncio.run, ask()).result()
    except ValueError as error:
        raise LabError(
            f"{address!r} is not the address of a Dask scheduler, such as "
            f"tcp://192.168.0.10:8786: {error}"
        ) from None
    except Exception as error:
        reason = f" ({error})" if str(error) else ""
        raise LabError(
            f"no Dask scheduler answers at {address} within {seconds:g} s{reason}: "
            "is it running, and is this its address?"
        ) from None
    if found["type"] != "Scheduler":
        raise LabError(f"{address} is a Dask {found['type'].lower()}: give the scheduler's address")


def _resources(gpus: float | None, memory: float | None) -> dict[str, float]:
    """What a call needs, by the names of Dask's resources."""
    wanted = {"GPU": gpus, "memory": memory}
    return {name: amount for name, amount in wanted.items() if amount}


def _listed(resources: Mapping[str, float]) -> str:
    """Resources as `dask worker --resources` reads them."""
    return ",".join(f"{name}={amount:.12g}" for name, amount in sorted(resources.items()))


def _differences(
    own: Mapping[str, str | None],
    others: Mapping[str, Mapping[str, str | None]],
    packages: Iterable[str] = ("python", *PACKAGES),
) -> list[str]:
    """One line for every package whose version differs there."""
    found: dict[tuple[str, str | None], list[str]] = {}
    for name, versions in others.items():
        for package in packages:
            if versions.get(package) != own.get(package):
                found.setdefault((package, versions.get(package)), []).append(name)
    return [
        f"{package} is {version or 'missing'} on {names[0]}"
        + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        + f", here it is {own.get(package) or 'missing'}: install the same on both sides"
        for (package, version), names in found.items()
    ]


def _travelling() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two functions that travel as code, because they are local to this one.

    Functions of a module travel as its name: the scheduler, which unpacks every task, would
    need labkit, and a worker without labkit could not say so.
    """

    def plain(found: Mapping[str, str | None]) -> dict[str, str | None]:
        """Versions as they are compared: no `+cpu` or `+cu130`, Python's first two numbers."""
        known = {name: v.partition("+")[0] if v else None for name, v in found.items()}
        return known | {"python": ".".join((known["python"] or "").split(".")[:2])}

    def labkit_run(
        packed: bytes, versions: Mapping[str, str | None], token: str, topic: str
    ) -> tuple[str, Any, Any]:
        """The worker's address, its versions, and what the packed call returns."""
        import os
        import pickle
        import socket

        from distributed import get_worker
        from distributed.versions import get_package_info

        def wanted() -> bool:
            """No more where the call was cancelled, or its driver is gone."""
            task = worker.state.tasks.get(key)
            return task is not None and task.state == "executing"

        worker = get_worker()
        key = worker.get_current_task()
        here = plain(get_package_info([name for name in versions if name != "python"]))
        if here != versions:
            return worker.address, here, None
        from labkit.batch import perform

        perform.wanted.set(wanted)
        started = {"call": token, "host": socket.gethostname(), "pid": os.getpid()}
        worker.log_event(topic, started)
        function, args, kwargs = pickle.loads(packed)
        return worker.address, here, function(*args, **kwargs)

    return plain, labkit_run


_plain, _labkit_run = _travelling()
