"""What a kernel prints, in bounded memory."""

from __future__ import annotations

from ipykernel.iostream import OutStream
from IPython.core.getipython import get_ipython

MOST = 2**20  # characters that wait


class PacedStream(OutStream):  # type: ignore[misc]
    """A kernel's stdout or stderr that waits for its own sending.

    ipykernel sends from a thread of its own and lets everything pile up meanwhile, and
    IPython keeps it all, for `%notebook`: a cell that prints a gigabyte takes several.
    """

    _waiting = 0

    def write(self, string: str) -> int:
        """As ipykernel's; now and then wait until all is sent, and forget it.

        Half a surrogate pair becomes `?`: it cannot be sent, and what waits behind it, such
        as the cell's end, might not be sent either.
        """
        if not string.isascii():
            string = string.encode(errors="replace").decode()
        super().write(string)
        self._waiting += len(string)
        if self._waiting > MOST:
            self._waiting = 0
            self.flush()
            if shell := get_ipython():  # type: ignore[no-untyped-call]
                getattr(shell.history_manager, "outputs", {}).clear()
        return len(string)
