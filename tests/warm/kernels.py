"""Kernels for tests: started, asked, and ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager

WARM, PLAIN = "labkit-warm", "python3"
PATIENCE = 90  # seconds for an answer; the first warm kernel waits for all the imports


@contextmanager
def kernel(
    name: str = WARM, **settings: Any
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A kernel and a client that it has answered; killed at the end."""
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(**settings)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def ask(client: BlockingKernelClient, source: str) -> str:
    """What a cell prints, and the error that it raises."""
    shown: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            shown.append(content["text"])
        elif message["msg_type"] == "error":
            shown.append(f"{content['ename']}: {content['evalue']}")

    client.execute_interactive(source, output_hook=keep, timeout=PATIENCE)
    return "".join(shown).strip()


def ask_once(source: str, name: str = WARM, **settings: Any) -> str:
    """What a cell prints in a kernel of its own."""
    with kernel(name, **settings) as (_, client):
        return ask(client, source)
