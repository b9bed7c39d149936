"""Which thread of the kernel handles what the page says to a panel's widgets.

JupyterLab sends the messages of all widgets to one subshell, a thread of the kernel beside the
one that runs cells. ipykernel 7.4 hands each of them on to the thread that its widget last sent
something from. So a widget that a cell has just displayed waits until no cell computes, and two
widgets of a panel may be heard by two threads, in any order. Here they are handled where the page
sent them: by one thread, in the order in which they were sent.

Measured in JupyterLab 4.6 with a cell that computes for 3 s, five times: a slider answered after
2.6 s as the kernel is (the first time; 0.05 s later), after 2.6 s each time with JupyterLab's
setting *Kernel Comms over subshells* disabled, and after 0.03 to 0.11 s this way.

One thing no order of handling mends: ipywidgets' page holds back a further change of a widget
until the last one is answered, so a button pressed within 20 ms of the last of several quick key
presses on a slider is sent before it.
"""

from __future__ import annotations

from typing import Any


def handle_in_order(widget: Any) -> None:
    """Have what the page says to a widget, and to those inside it, handled as it was sent."""
    comm: Any = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _where_it_was_sent
    for child in getattr(widget, "children", ()):
        handle_in_order(child)


def _where_it_was_sent(_data: Any, subshell: str | None) -> str | None:
    """The subshell that the page has chosen; None is the thread that runs cells."""
    return subshell
