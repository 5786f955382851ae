"""A whole stack as a child process, the way `make up` runs it, for tests that look from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from stack.supervision.control import ask
from tests.support.eventually import eventually_sync

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "stack")
READY_TIMEOUT_S = 60.0


def clean_environment(data_dir: Path) -> dict[str, str]:
    """This process's environment without settings of a stack that the developer may run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCOREBOARD_")}
    return {**kept, "SCOREBOARD_DATA_DIR": str(data_dir)}


@dataclass(frozen=True, kw_only=True)
class StackRun:
    """A supervisor that was started here."""

    data_dir: Path
    popen: subprocess.Popen[str]
    output: Path

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data_dir / "state.json").read_text())
        return state

    @property
    def pids(self) -> list[int]:
        """Every process of the stack but the supervisor, with what those started."""
        supervisor = psutil.Process(self.popen.pid)
        return [child.pid for child in supervisor.children(recursive=True)]

    def ask(self, **request: Any) -> dict[str, Any]:
        return ask(self.data_dir / "control.sock", request)

    def until_ready(self) -> None:
        def is_ready() -> Any:
            # An early end would otherwise look like a slow start.
            if self.popen.poll() is not None:
                raise RuntimeError(f"the stack ended: {self.output.read_text()}")
            try:
                state = self.state
                return state["ready"] and state["supervisor_pid"] == self.popen.pid
            except FileNotFoundError:
                return False

        eventually_sync(is_ready, timeout_s=READY_TIMEOUT_S)

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until the supervisor had ended."""
        began = time.monotonic()
        self.popen.send_signal(signal.SIGINT)
        self.popen.wait(30)
        return time.monotonic() - began


def still_running(pids: list[int]) -> list[int]:
    """Those of `pids` that have not ended; a zombie has."""
    alive = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                alive.append(pid)
        except psutil.NoSuchProcess:
            continue
    return alive


@contextmanager
def stack_run(
    data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[StackRun]:
    """`python -m stack up`, begun but perhaps not ready; ended on exit, if it still runs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    output = data_dir.parent / f"{data_dir.name}.out"
    with output.open("a") as out:
        popen = subprocess.Popen(
            [*COMMAND, "up", *(arguments or ("--port", "0"))],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**clean_environment(data_dir), **(environment or {})},
        )
    try:
        yield StackRun(data_dir=data_dir, popen=popen, output=output)
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGINT)
            try:
                popen.wait(20)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
