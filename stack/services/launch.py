"""Starts a prepared program and returns once it really answers, on a port that is its own."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stack.errors import PortTaken, StartFailed
from stack.ports import HOST, PortBook, free_port, is_free
from stack.process import Process, spawn
from stack.services.program import Private, Program

START_TIMEOUT_S = 60.0
_PORT_ATTEMPTS_MAX = 5
_PROBE_INTERVAL_S = 0.05
_TAKEN = re.compile(
    r"already in use|can't (?:set|listen)|could not create server tcp", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that answers on `port`."""

    process: Process
    port: int


async def start(
    program: Program,
    *,
    log: Path,
    book: PortBook | None = None,
    port: int | None = None,
    host: str = HOST,
    hint: str = "Choose another.",
    timeout_s: float = START_TIMEOUT_S,
    on_spawn: Callable[[Process, int], None] | None = None,
) -> Started:
    """Starts a prepared program and returns once it really answers. Call it in the main thread.

    A port found taken at bind time is replaced, unless it is the fixed `port`; a program whose
    own inner ports were taken starts again. At most five attempts. `on_spawn` sees each process
    and its port at once.

    Raises PortTaken for a fixed port in use, StartFailed when the process ends or stays silent.
    """
    if port and not is_free(port, host):
        raise PortTaken(program.name, port, hint)
    for attempt in range(_PORT_ATTEMPTS_MAX):
        if port is not None:
            chosen = port
        elif book is not None and attempt == 0:
            chosen = book.choose(program.name)
        else:
            chosen = free_port()
        log_start = _size(log)
        process = spawn(program.name, program.command(chosen), log=log, env=program.environment())
        if isinstance(program, Private):
            process.stop_signal = program.stop_signal
        try:
            if on_spawn is not None:
                on_spawn(process, chosen)
            await _until_answers(program, process, chosen, timeout_s)
        except StartFailed:
            if not _reports_taken(log, log_start):
                raise
            # A program opens ports of its own, too: when ours is free, another one was meant.
            if port is not None and not is_free(port, host):
                raise PortTaken(program.name, port, hint) from None
            continue
        except BaseException:
            process.kill()
            raise
        if book is not None:
            book.remember(program.name, chosen)
        return Started(process=process, port=chosen)
    raise StartFailed(f"{program.name} found no free port in {_PORT_ATTEMPTS_MAX} attempts.")


async def _until_answers(program: Program, process: Process, port: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        answered = await program.answers(port, process.pid)
        if not process.alive:
            raise StartFailed(
                f"{program.name} ended while starting (exit code {process.exit_code}); "
                f"its log is {process.log}.",
                process.log_tail(),
            )
        if answered:
            return
        if time.monotonic() > deadline:
            process.kill()
            raise StartFailed(
                f"{program.name} gave no answer for {timeout_s:.0f} s; its log is {process.log}.",
                process.log_tail(),
            )
        await asyncio.sleep(_PROBE_INTERVAL_S)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _reports_taken(log: Path, offset: int) -> bool:
    try:
        with log.open("rb") as lines:
            # A log that was rotated at the spawn starts anew.
            lines.seek(offset if offset <= log.stat().st_size else 0)
            return _TAKEN.search(lines.read().decode(errors="replace")) is not None
    except OSError:
        return False
