"""What the control socket may ask of the supervisor: status, stop, start, kill, shutdown.

Not the socket itself: see `control`.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from stack.services import Mysql, Redis, Temporal
from stack.supervision.unit import Unit

if TYPE_CHECKING:
    from stack.supervision.supervisor import Supervisor

# Together below the 10 s that a person waits. What does not end by then is killed.
STOP_ORDER: Sequence[tuple[tuple[str, ...], float]] = (
    (("server",), 5.0),
    (("worker",), 1.5),
    # Temporal's development server takes 1.2 s on an idle machine. Nobody writes any more, so the
    # databases need no order.
    (
        (
            *("temporal", "temporal-history", "temporal-history-2"),
            *("temporal-matching", "temporal-worker", "postgres", "redis", "mysql"),
        ),
        3.0,
    ),
)


class Requests:
    """Answers requests about the units of one supervisor; an impossible one raises ValueError."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "stop": self._stop,
            "start": self._start,
            "kill": self._kill,
            "shutdown": self._shutdown,
        }
        operation = operations.get(str(request.get("op")))
        if operation is None:
            raise ValueError(f"op must be one of {', '.join(operations)}")
        return await operation(request)

    def _unit(self, request: dict[str, Any]) -> Unit:
        unit = self._supervisor.units.get(str(request.get("process")))
        if unit is None:
            raise ValueError(f"process must be one of {', '.join(self._supervisor.units)}")
        return unit

    async def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        running = self._supervisor.what_runs()
        processes = {
            name: {**shown, "state": self._supervisor.units[name].condition}
            for name, shown in running["processes"].items()
        }
        return {**running, "processes": processes}

    async def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._unit(request)
        grace_s = next(grace_s for names, grace_s in STOP_ORDER if unit.name in names)
        await self._supervisor.stop_unit(unit.name, grace_s)
        # A start under way notices the end of its process; after it, nothing may run.
        async with unit.starting:
            await self._supervisor.stop_unit(unit.name, grace_s)
        self._supervisor.note_state()
        self._supervisor.console.notice(f"{unit.name} was stopped on request")
        return {}

    async def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._unit(request)
        wipe = request.get("wipe") is True
        async with unit.starting:
            if unit.pid is not None:
                if wipe:
                    raise ValueError(f"{unit.name} runs; stop it before its data is wiped")
                return {"pid": unit.pid}
            program = unit.program
            if wipe and not isinstance(program, (Mysql, Redis, Temporal)):
                raise ValueError(f"{unit.name} has no data to wipe")
            if wipe and isinstance(program, Mysql):
                # With its password, which all others were started with.
                raise ValueError("mysql is not wiped while others hold its address")
            if isinstance(program, (Mysql, Redis, Temporal)):
                if wipe:
                    await asyncio.to_thread(program.wipe)
                await program.prepare()
            unit.wanted = True
            unit.ends_in_a_row = 0
            await self._supervisor.launch(unit)
        self._supervisor.console.notice(
            f"{unit.name} was started on request" + (", empty" if wipe else "")
        )
        return {"pid": unit.pid}

    async def _kill(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._unit(request)
        pid = unit.pid
        if pid is None or unit.process is None:
            raise ValueError(f"{unit.name} does not run")
        unit.process.signal_group(signal.SIGKILL)
        return {"pid": pid}

    async def _shutdown(self, _request: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.stop_asked.set()
        return {}
