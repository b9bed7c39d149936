"""Kernels that are forked instead of started: for papermill, nbclient and JupyterLab."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from labkit.warm.forkserver import ForkError, shared

THREADS = "LABKIT_THREADS"
LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]
KNOWN = {"cwd", "env", "extra_arguments", "kernel_id"}


class WarmProvisioner(LocalProvisioner):  # type: ignore[misc]
    """A local kernel whose process is a fork; a plain one where no fork is available."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel.

        The first kernel waits until the preloaded process has imported everything. A kernel
        uses as many threads as a plain one would, since its notebook may be all that this
        machine has to do; to choose another number, set `LABKIT_THREADS`, as a batch does,
        or `OMP_NUM_THREADS`, as the teacher of a full room may.
        """
        try:
            if cmd[:3] != LAUNCHER or not kwargs.keys() <= KNOWN:
                raise ForkError("its start has options of its own")
            env = {**kwargs["env"], "JPY_PARENT_PID": str(os.getpid())}
            threads = env.get(THREADS, "")
            process: Any = await asyncio.to_thread(  # a Fork is Popen enough
                shared().fork,
                "labkit.warm.kernel:main",
                cmd[3:],
                cwd=kwargs.get("cwd") or os.getcwd(),
                env=env,
                threads=int(threads) if threads.isdecimal() else None,
            )
        except ForkError as reason:
            self.log.warning("labkit: a plain kernel instead of a warm one: %s", reason)
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process
        self.pid, self.pgid = process.pid, None  # signals go through the fork's keeper
        self.cwd = kwargs.get("cwd", os.getcwd())
        return self.connection_info

    async def wait(self) -> int | None:
        """Wait for the process, looking more often than once in a tenth of a second."""
        while await self.poll() is None:
            await asyncio.sleep(0.01)
        return await super().wait()
