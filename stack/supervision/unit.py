"""One process by name over all its restarts, and how long to wait before the next one."""

import asyncio
import signal
from typing import Literal

from stack.process import Process
from stack.services import Program

# A process that ran this long before it ended starts again without the pauses of earlier ends.
STEADY_S = 10.0
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
RESTARTS_IN_A_ROW_MAX = 20

Condition = Literal["starting", "up", "stopped", "failed"]


class Unit:
    """One process by name, over all its restarts."""

    def __init__(self, program: Program, port: int | None) -> None:
        self.program = program
        self.name = program.name
        # None until the first start chose one; kept from then on, since others hold the address.
        self.port = port
        self.process: Process | None = None
        self.condition: Condition = "stopped"
        self.wanted = True
        self.restarts = 0
        self.ends_in_a_row = 0
        self.starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.alive else None


def restart_pause_s(ends_in_a_row: int) -> float:
    """Seconds to wait before the next start: 0.1, 0.2, 0.4 … at most 5."""
    return float(min(PAUSE_FIRST_S * 2**ends_in_a_row, PAUSE_MAX_S))


def how_it_ended(code: int) -> str:
    """An exit code as a person would say it."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
