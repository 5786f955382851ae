"""Runs engines without Locust, in one epoll loop of one process. For tests and calibration."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from harness.engines.null_server import Faults
from harness.net.readiness import EPOLLIN, Readiness

WAIT_S = 0.02


class Engine(Protocol):
    """The interface between an engine and its loop."""

    def fileno(self) -> int:
        """A descriptor that is readable when `pump` has work."""

    def pump(self) -> None:
        """Do all work that needs no waiting."""


def drive(engines: Sequence[Engine], done: Callable[[], bool], *, timeout_s: float) -> bool:
    """Pump the engines until `done` holds; returns whether it did before the timeout."""
    loop = Readiness()
    try:
        for engine in engines:
            loop.register(engine.fileno(), EPOLLIN)
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for engine in engines:
                engine.pump()
            if done():
                return True
            loop.poll(WAIT_S)
        return done()
    finally:
        loop.close()


@contextlib.contextmanager
def null_server(
    faults: Faults | None = None, *, tick_ms: float = 20.0, players: int = 1000
) -> Iterator[tuple[str, int]]:
    """A null server in a process of its own; yields (base URL, pid). Raises OSError."""
    command = [sys.executable, "-m", "harness", "nullserver"]
    command += ["--tick-ms", str(tick_ms), "--players", str(players)]
    command += fault_arguments(faults or Faults())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise OSError("the null server did not start")
        yield url, process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def fault_arguments(faults: Faults) -> list[str]:
    """The command line that plants these faults."""
    arguments = []
    for name, value in vars(faults).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, frozenset):
            if value:
                arguments += [flag, ",".join(str(n) for n in sorted(value))]
        elif name == "stall_s":
            if value > 0:
                arguments += ["--stall", f"{faults.stall_at_s}+{value}"]
        elif name == "slow_listener_s":
            if value > 0:
                arguments += ["--slow-listener", str(value)]
        elif name in ("cut_at_s", "slow_from_s", "die_at_s", "refuse_from"):
            if value >= 0:
                arguments += [flag.removesuffix("-s"), str(value)]
        elif name in ("victim", "refuse_status"):
            arguments += [flag, str(value)]
    return arguments
