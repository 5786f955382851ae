"""One child process: its own process group, its log file, and a sure end.

The child never outlives its parent: the kernel sends it SIGTERM when the parent's main thread
dies, even by SIGKILL. So a child must be spawned from the main thread; a short-lived thread would
take its children with it.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_BYTES_MAX = 8 * 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """A running or ended child. Times in seconds."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self.started_at = time.monotonic()
        self.stop_signal = signal.SIGTERM
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def signal_group(self, number: int) -> None:
        """Sends a signal to the child and to whatever it started; no error when all are gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def stop(self, grace_s: float) -> bool:
        """`stop_signal`, then SIGKILL after `grace_s`. Returns whether it ended by itself.

        Blocks.
        """
        self.signal_group(self.stop_signal)
        # A stopped process (SIGSTOP) would only see the SIGTERM after this.
        self.signal_group(signal.SIGCONT)
        try:
            self._popen.wait(grace_s)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            # Also after a clean end: the group may hold grandchildren.
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, then waits until the kernel has collected the child."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait()

    async def ended(self) -> int:
        """Waits for the end without polling; returns the exit code."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return self._popen.wait()
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def collect() -> None:
            # The reader fires again until it is removed.
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(descriptor, collect)
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._popen.wait()

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of the log, indented, for an error message."""
        with contextlib.suppress(OSError):
            kept = self.log.read_bytes()[-8192:].decode(errors="replace").splitlines()[-lines:]
            return "\n".join(f"    {line}" for line in kept)
        return ""


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Starts `command` with its output in `log`. Call it from the main thread only.

    The log is bounded at each start: beyond 8 MiB it becomes `<log>.1`, replacing the one before.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_name(log.name + ".1"))
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  no other thread holds a lock it needs
        )
    return Process(name, popen, log)
