"""The lab's processes: started on their hosts, restarted when they die, stopped, paused, killed.

A restart is what an init system would do; a process that an operator or a fault has stopped stays
down until it is started.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.lab.network import LabError, Network
from harness.lab.topology import host_of

CHECK_S = 0.1
RESTART_S = 0.3


@dataclass
class Machine:
    """One process of the lab."""

    name: str
    command: Callable[[], Sequence[str]]
    environment: Callable[[], Mapping[str, str]]
    log: Path
    folder: Callable[[], Path]
    wanted: bool = False
    process: subprocess.Popen[bytes] | None = None
    died: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        """Its pid, None while it does not run."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else None


class Machines:
    """All processes by name."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.all: dict[str, Machine] = {}
        self._watch: asyncio.Task[None] | None = None

    def add(self, machine: Machine) -> None:
        """Know a process; it is started by `start`."""
        self.all[machine.name] = machine

    def start(self, name: str) -> None:
        """Start it if it does not run."""
        machine = self.all[name]
        machine.wanted = True
        if machine.pid is not None:
            return
        with machine.log.open("ab") as log:
            machine.process = subprocess.Popen(
                [*self._network.on(host_of(name)), *machine.command()],
                env={**os.environ, **machine.environment()},
                cwd=machine.folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self, name: str, *, timeout_s: float = 15.0) -> None:
        """End it in order, by force when it takes too long; it stays down."""
        await self._end(name, signal.SIGTERM, timeout_s)

    async def kill(self, name: str) -> None:
        """`kill -9`; it stays down."""
        await self._end(name, signal.SIGKILL, 5.0)

    async def _end(self, name: str, number: signal.Signals, timeout_s: float) -> None:
        machine = self.all[name]
        machine.wanted = False
        process = machine.process
        if process is None or process.poll() is not None:
            return
        _signal(process.pid, number)
        try:
            await wait_for(lambda: process.poll() is not None, timeout_s=timeout_s, what=name)
        except LabError:
            _signal(process.pid, signal.SIGKILL)
            await wait_for(lambda: process.poll() is not None, timeout_s=10, what=name)

    def watch(self) -> None:
        """Restart what dies from now on."""
        self._watch = asyncio.create_task(self._restart())

    async def unwatch(self) -> None:
        """Let what dies be."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _restart(self) -> None:
        while True:
            for machine in self.all.values():
                process = machine.process
                if machine.wanted and process is not None and process.poll() is not None:
                    machine.died.append(f"{time.time():.3f} {process.returncode}")
                    await asyncio.sleep(RESTART_S)
                    if machine.wanted:
                        self.start(machine.name)
            await asyncio.sleep(CHECK_S)

    def reap(self) -> None:
        """Take leave of processes that somebody else has ended."""
        for machine in self.all.values():
            if machine.process is not None:
                machine.process.wait(timeout=10)

    def down(self) -> list[str]:
        """What should run and does not."""
        return [m.name for m in self.all.values() if m.wanted and m.pid is None]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGCONT if number is signal.SIGTERM else number)
        os.killpg(pid, number)


async def wait_for(check: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Return when `check` holds. Raises LabError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise LabError(f"{what} took longer than {timeout_s:g} s")
        await asyncio.sleep(0.03)
