"""papermill's engine as labkit uses it: the truth about each cell, and bounds on its output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from queue import Empty
from typing import Any

from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError
from nbclient.util import ensure_async, run_hook, run_sync
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager

from labkit.batch.journal import Journal

ALIVE = 0.2  # seconds between two looks at whether the kernel lives
END = 0.01  # seconds between two looks at whether it has ended as asked
KNOCK = 5  # milliseconds between two tries to reach a kernel that starts; ZeroMQ's own is 100
SAVE = 1.0  # seconds of a cell after which what it showed so far is saved, and again
LOOK = 1.0  # seconds between two looks for an answer that should announce itself
IOPUB = 60  # seconds that a cell's last output may come after its end
RICH = 16  # times as many bytes as printed text: what a cell may show as pictures and the like


class KernelError(Exception):
    """The kernel did not start, or died.

    Attributes:
        code: its exit code, negative for a signal; None where that is not known.
        started: whether it was ready for cells.
    """

    def __init__(self, message: str, code: int | None = None, started: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.started = started


def watchful(get_msg: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A channel's `get_msg` that looks again now and then, not only when it is woken.

    ZeroMQ wakes a reader once for a message, and any other user of the same socket at that moment,
    as a widget's state that is sent does, can take that away (ZMQ_FD in zmq_getsockopt(3)). A
    cell's answer that lies there unseen would be waited for for ever.
    """

    async def again(timeout: float | None = None) -> Any:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await get_msg(timeout=max(0.0, min(LOOK, left)))
            except Empty:
                if left <= LOOK:
                    raise

    return again


class TruthfulManager(NotebookExecutionManager):
    """A cell that did not run stays `pending`; papermill marks it completed.

    Nothing is saved after each cell: the client saves what takes long, the runner the end.
    """

    def __init__(self, notebook: NotebookNode, journal: Journal) -> None:
        super().__init__(notebook, progress_bar=False, autosave_cell_every=0)
        self.journal = journal

    def cell_start(self, cell: NotebookNode, cell_index: int | None = None, **kwargs: Any) -> None:
        """As papermill's, and written down."""
        self.journal.write(cell=cell_index)
        super().cell_start(cell, cell_index, **kwargs)

    def cell_complete(
        self, cell: NotebookNode, cell_index: int | None = None, **kwargs: Any
    ) -> None:
        """As papermill's, and written down."""
        super().cell_complete(cell, cell_index, **kwargs)
        self.journal.write(ended=cell_index)

    def notebook_complete(self, **kwargs: Any) -> None:
        """As papermill's, but what is pending stays so."""
        waiting = [c for c in self.nb.cells if c.metadata.papermill["status"] == self.PENDING]
        super().notebook_complete(**kwargs)
        for cell in waiting:
            cell.metadata.papermill["status"] = self.PENDING


class Client(PapermillNotebookClient):
    """nbclient without its waiting: for the kernel's start, its death and its end.

    Args:
        manager: papermill's record of the notebook.
        save: keeps the notebook as it is.
        output: bytes that a cell may print.
        cell_seconds: that a cell may take.
    """

    def __init__(
        self,
        manager: TruthfulManager,
        *,
        save: Callable[[], None],
        output: int,
        cell_seconds: float | None,
        **settings: Any,
    ) -> None:
        super().__init__(manager, iopub_timeout=IOPUB, **settings)
        self._keep = save
        self._limit = output
        self._seconds = cell_seconds
        self._printed = self._shown = 0
        self._changed = False
        self.exit_code: int | None = None

    # --- the kernel ------------------------------------------------------------------

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        """Start it and write down its process."""
        try:
            await super().async_start_new_kernel(**kwargs)
        except Exception as error:
            raise KernelError(f"the kernel did not start: {error}", started=False) from error
        assert self.km is not None
        self.nb_man.journal.write(kernel=getattr(self.km.provisioner, "pid", None))

    start_new_kernel = run_sync(async_start_new_kernel)

    async def async_start_new_kernel_client(self) -> Any:
        """Connect, and wait until the kernel answers on both channels.

        jupyter_client does the same and then waits until nothing more comes; outputs are
        told apart by their request here, so that an early one does no harm.
        """
        assert self.km is not None
        self.kc = self.km.client()
        self.kc.context.reconnect_ivl = KNOCK  # of the sockets that it makes from now on
        self.kc.start_channels()
        shell = self.kc.shell_channel
        vars(shell)["get_msg"] = watchful(shell.get_msg)
        deadline = time.monotonic() + self.startup_timeout
        try:
            while not await self._answers():
                await self._check_start(deadline)
        except BaseException:
            self.shutdown_kernel = "immediate"
            await self._async_cleanup_kernel()
            raise
        self.kc.allow_stdin = False
        await run_hook(self.on_notebook_start, notebook=self.nb)
        return self.kc

    start_new_kernel_client = run_sync(async_start_new_kernel_client)

    async def _answers(self) -> bool:
        assert self.kc is not None
        self.kc.kernel_info()
        try:
            await ensure_async(self.kc.get_shell_msg(timeout=1))
            await ensure_async(self.kc.get_iopub_msg(timeout=0.2))
        except Empty:
            return False
        return True

    async def _check_start(self, deadline: float) -> None:
        if not await ensure_async(self.kc.is_alive()):
            code = await self._exit_code()
            raise KernelError("the kernel died while it started", code, started=False)
        if time.monotonic() > deadline:
            text = f"the kernel did not answer in {self.startup_timeout} s"
            raise KernelError(text, started=False)

    async def _async_cleanup_kernel(self) -> None:
        """As nbclient's; a kernel that may end by itself is asked to, and not interrupted."""
        assert self.km is not None
        if self.shutdown_kernel == "graceful" and await ensure_async(self.km.is_alive()):
            await ensure_async(self.km.request_shutdown())
            await ensure_async(self.km.finish_shutdown(pollinterval=END))
        await super()._async_cleanup_kernel()

    _cleanup_kernel = run_sync(_async_cleanup_kernel)

    async def _exit_code(self) -> int | None:
        assert self.km is not None
        provisioner = self.km.provisioner
        return None if provisioner is None else await provisioner.poll()

    async def _async_check_alive(self) -> None:
        if not await ensure_async(self.kc.is_alive()):
            self.exit_code = await self._exit_code()
            raise DeadKernelError("Kernel died")

    async def _async_poll_kernel_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE)
            try:
                await self._async_check_alive()
            except DeadKernelError:
                assert self.task_poll_for_reply is not None
                self.task_poll_for_reply.cancel()
                return

    # --- cells -----------------------------------------------------------------------

    def _get_timeout(self, cell: NotebookNode | None) -> Any:
        return self._seconds

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, **kwargs: Any) -> Any:
        """One cell; what it shows is saved while it runs."""
        self._printed = self._shown = 0
        saving = asyncio.ensure_future(self._save_while_it_runs())
        try:
            return await super().async_execute_cell(cell, cell_index, **kwargs)
        except BaseException as error:
            self.nb_man.cell_exception(cell, cell_index)
            if not isinstance(error, CellExecutionError):
                self.shutdown_kernel = "immediate"
            raise
        finally:
            saving.cancel()

    execute_cell = run_sync(async_execute_cell)

    async def _save_while_it_runs(self) -> None:
        pause = SAVE
        while True:
            await asyncio.sleep(pause)
            if self._changed:
                began = time.monotonic()
                self._changed = False
                with contextlib.suppress(OSError):  # a full disk may have space again later
                    self._keep()
                pause = max(SAVE, 10 * (time.monotonic() - began))

    # --- output ----------------------------------------------------------------------

    async def _async_poll_output_msg(
        self, parent_msg_id: str, cell: NotebookNode, cell_index: int
    ) -> None:
        """As nbclient's; printed text beyond the limit is not even looked at.

        A kernel prints faster than its messages are checked and read, and they would pile up.
        """
        assert self.kc is not None
        channel = self.kc.iopub_channel
        while True:
            frames = await channel.socket.recv_multipart(copy=False)
            if self._printed > self._limit and b"stream" in frames[0].bytes:
                continue
            _, rest = channel.session.feed_identities(frames, copy=False)
            message = channel.session.deserialize(rest, copy=False)
            if message["parent_header"].get("msg_id") == parent_msg_id:
                try:
                    self.process_message(message, cell, cell_index)
                except CellExecutionComplete:
                    return

    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        """As nbclient's; something has changed."""
        self._changed = True
        return super().process_message(*args, **kwargs)

    def clear_output(self, *args: Any) -> None:
        """As nbclient's; a process that has ended does not count."""
        super().clear_output(*args)
        self._printed = self._shown = 0

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: Any, cell_index: int
    ) -> Any:
        """As nbclient's, up to the limit; what is printed in pieces becomes one text."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            room = self._limit - self._printed
            if room < 0:
                return None
            text = content["text"]
            self._printed += len(text.encode(errors="replace"))
            if self._printed > self._limit:
                kept = text.encode(errors="replace")[:room].decode(errors="ignore")
                content["text"] = kept + cut(self._limit)
            if self._continues(outs, msg):
                outs[-1]["text"] += content["text"]
                return None
        elif msg["msg_type"] in ("display_data", "execute_result"):
            if self._shown > RICH * self._limit:
                return None
            self._shown += size(content["data"])
            if self._shown > RICH * self._limit:
                content["data"] = {"text/plain": cut(RICH * self._limit)}
                content["metadata"] = {}
        elif msg["msg_type"] == "error":
            content["evalue"] = shortened(content["evalue"], self._limit)
            content["traceback"] = [shortened(line, self._limit) for line in content["traceback"]]
        return super().output(outs, msg, display_id, cell_index)

    def _continues(self, outs: list[NotebookNode], msg: dict[str, Any]) -> bool:
        """Whether a piece of printed text goes on where the last output ends."""
        return (
            bool(outs)
            and outs[-1].get("name") == msg["content"]["name"]
            and not self.clear_before_next_output
            and not self.output_hook_stack[msg["parent_header"].get("msg_id")]
        )


def size(data: dict[str, Any]) -> int:
    """About how many bytes a bundle of representations takes."""
    return sum(len(v if isinstance(v, str) else json.dumps(v)) for v in data.values())


def cut(limit: int) -> str:
    """The line that says that something is missing."""
    return f"\n[labkit: this cell's output goes on; it is cut off after {limit:,} bytes]\n"


def shortened(text: str, limit: int) -> str:
    """A text of at most `limit` characters, and the line that says so."""
    return text if len(text) <= limit else text[:limit] + cut(limit)


class Engine(NBClientEngine):
    """papermill's engine over `Client`; it gives the notebook away as it goes."""

    @classmethod
    def execute_notebook(
        cls,
        nb: NotebookNode,
        kernel_name: str,
        *,
        journal: Journal,
        begin: Callable[[NotebookNode], None],
        save: Callable[[], None],
        settings: dict[str, Any],
        **_: Any,
    ) -> NotebookNode:
        """Execute every cell.

        Raises:
            KernelError: the kernel did not start or died.
            CellTimeoutError: a cell took too long.
        """
        manager = TruthfulManager(nb, journal)
        manager.notebook_start()
        begin(nb)
        client = Client(manager, save=save, kernel_name=kernel_name, **settings)
        try:
            client.execute()
        except DeadKernelError as error:
            raise KernelError("the kernel died", client.exit_code) from error
        finally:
            manager.notebook_complete()
        return manager.nb
