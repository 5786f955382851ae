"""Runs every process of the stack until told to stop: start order, restarts, stop order.

It decides nothing about what the processes do. A crashed process is started again with growing
pauses; one that keeps crashing is given up with a clear line while the others run on. At the end
nothing is left over, and all data is where it was.
"""

import asyncio
import contextlib
import dataclasses
import os
import resource
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from scoreboard.tokens import MIN_SECRET_BYTES
from stack.console import Console
from stack.control import listen
from stack.errors import StackError, StartFailed
from stack.ports import HOST, PortBook, free_port, is_free
from stack.process import Process, spawn
from stack.roles import Server, Worker, role_environment
from stack.services import (
    START_TIMEOUT_S,
    Mysql,
    Program,
    Redis,
    Service,
    Temporal,
    start,
    write_private,
)
from stack.settings import ADDRESS_VARIABLES, StackSettings
from stack.state import (
    VERSION,
    RunFolder,
    end_leftovers,
    record_children,
    take_lock_in_turn,
    write_state,
)

# A process that ran this long before it ended starts again without the pauses of earlier ends.
STEADY_S = 10.0
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
RESTARTS_IN_A_ROW_MAX = 20
# A role waits for its services by itself, so a restart during an outage may take long.
RESTART_TIMEOUT_S = 600.0
SEED_TIMEOUT_S = 120.0
# Together below the 10 s that a person waits. What does not end by then is killed.
STOP_ORDER: Sequence[tuple[tuple[str, ...], float]] = (
    (("server",), 5.0),
    (("worker",), 1.5),
    (("temporal", "redis"), 1.2),
    (("mysql",), 1.5),
)

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


class Supervisor:
    """Owns one data folder. `run` does everything; one instance runs once."""

    def __init__(self, settings: StackSettings, console: Console) -> None:
        self.settings = settings
        self.folder = RunFolder(root=settings.data_dir)
        self.units: dict[str, Unit] = {}
        self.urls: dict[str, str] = dict(settings.given)
        self.ready = False
        self._console = console
        self._book = PortBook(self.folder.ports)
        self._watchers: set[asyncio.Task[None]] = set()
        self._stop_asked = asyncio.Event()
        self.temporal_ui: str | None = None
        self.secret = ""
        self._secret_file = self.folder.secret
        self._state_is_written = True

    async def run(self, on_ready: Callable[["Supervisor"], None]) -> None:
        """Starts everything, calls `on_ready`, and returns after a stop was asked and done.

        Raises StackError when the start fails; by then all that was started has ended.
        """
        lock = await take_lock_in_turn(self.folder, self._console.notice)
        try:
            # A killed supervisor left its own; nobody may take that for this run.
            self.folder.state.unlink(missing_ok=True)
            self._prepare_machine()
            with self._signals():
                async with listen(self.folder.control, self._control):
                    await self._run_until_asked(on_ready)
        finally:
            for leftover in (self.folder.state, self.folder.children):
                leftover.unlink(missing_ok=True)
            os.close(lock)

    async def _run_until_asked(self, on_ready: Callable[["Supervisor"], None]) -> None:
        starting = asyncio.create_task(self._start_all())
        asked = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop_asked.is_set():
                # Raises what the start raised.
                await starting
                self.ready = True
                self._write_state()
                on_ready(self)
                await asked
        finally:
            for task in (starting, asked):
                task.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)
            self.ready = False
            self._write_state()
            await self._stop_all()

    def ask_to_stop(self) -> None:
        """The first call stops in order, the second at once."""
        if self._stop_asked.is_set():
            for unit in self.units.values():
                if unit.process is not None:
                    unit.process.signal_group(signal.SIGKILL)
        self._stop_asked.set()

    # Start

    def _prepare_machine(self) -> None:
        if ended := end_leftovers(self.folder):
            self._console.notice(f"ended {ended} processes that an earlier run left over")
        # Thousands of listeners need descriptors; children inherit the raised limit.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if given := self.settings.environment.get("SCOREBOARD_JWT_SECRET"):
            if len(given.encode()) < MIN_SECRET_BYTES:
                raise StackError(f"SCOREBOARD_JWT_SECRET needs at least {MIN_SECRET_BYTES} bytes.")
            self.secret = given
            self._secret_file = self.folder.root / "jwt-secret-given"
            write_private(self._secret_file, given)
        else:
            self.secret = private_secret(self.folder)

    async def _start_all(self) -> None:
        settings = self.settings
        # Before the slow steps: a taken port should be said at once.
        port = settings.port or free_port()
        if not is_free(port, settings.host):
            raise StartFailed(
                f"Port {port} is in use by another program. "
                f"Choose another for the server: make up PORT={port + 1}"
            )
        self.settings = settings = _with_port(settings, port)
        services = self._services()
        for service in services:
            self.units[service.name] = Unit(service, settings.ports.get(service.name) or None)
        self._write_state()

        def waiting() -> str:
            names = [unit.name for unit in self.units.values() if unit.condition != "up"]
            return f"starting {', '.join(names)}" if names else "adding the demo users"

        async with self._console.progress(waiting):
            for name, url in settings.given.items():
                self._console.done(name, f"{without_password(url)} (given)")
            await asyncio.gather(*(self._start_service(service) for service in services))
            # A database that someone gave gets users only when someone asks for them.
            if "mysql" not in settings.given or settings.users:
                await self._seed()
            worker = Worker(self._environment("worker"), self.urls["temporal"])
            self.units["worker"] = Unit(worker, 0)
            await self._first_start(self.units["worker"], "works on the queue")
            server = Server(self._environment("server"), settings.near_host)
            self.units["server"] = Unit(server, port)
            await self._first_start(self.units["server"], settings.base_url)

    def _services(self) -> list[Service]:
        root = self.folder.root
        made: list[Service] = []
        if "mysql" not in self.urls:
            made.append(Mysql(root / "mysql"))
        if "redis" not in self.urls:
            made.append(Redis(root / "redis"))
        if "temporal" not in self.urls:
            made.append(Temporal(root / "temporal", ui_port=self._book.choose("temporal-ui")))
        return made

    async def _start_service(self, service: Service) -> None:
        unit = self.units[service.name]
        unit.condition = "starting"
        async with unit.starting:
            await service.prepare()
            await self._launch(unit)
        assert unit.port is not None
        self.urls[service.name] = service.url(unit.port)
        shown = f"{HOST}:{unit.port}"
        if isinstance(service, Temporal):
            self.temporal_ui = service.ui_url
            self._book.remember("temporal-ui", service.ui_port)
            shown += f"  web UI {service.ui_url}"
        self._write_state()
        self._console.done(service.name, shown)

    async def _first_start(self, unit: Unit, shown: str) -> None:
        await self._launch(unit)
        self._console.done(unit.name, shown)

    async def _seed(self) -> None:
        command = [sys.executable, "-m", "worker", "seed", "--users", str(self.settings.users)]
        process = spawn(
            "seed", command, log=self.folder.log("seed"), env=self._environment("worker")
        )
        try:
            async with asyncio.timeout(SEED_TIMEOUT_S):
                code = await process.ended()
        except TimeoutError:
            code = None
        finally:
            process.kill()
        if code != 0:
            raise StartFailed(
                f"The demo users could not be added; the log is {process.log}.", process.log_tail()
            )

    def _environment(self, role: str) -> dict[str, str]:
        return role_environment(role, self.settings, self.urls, self.secret)

    async def _launch(self, unit: Unit, timeout_s: float = START_TIMEOUT_S) -> None:
        """Starts a unit and watches it from then on.

        Raises StackError, and OSError when the machine refuses a process or a file.
        """
        unit.condition = "starting"

        def spawned(process: Process, port: int) -> None:
            unit.process = process
            unit.port = port
            self._write_state()

        started = await start(
            unit.program,
            log=self.folder.log(unit.name),
            book=self._book if unit.port is None else None,
            port=unit.port,
            host=self.settings.host if unit.name == "server" else HOST,
            hint=f"Choose another: python -m stack up --{unit.name}-port N",
            timeout_s=timeout_s,
            on_spawn=spawned,
        )
        unit.condition = "up"
        self._write_state()
        watcher = asyncio.create_task(self._watch(unit, started.process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    # Restart

    async def _watch(self, unit: Unit, process: Process) -> None:
        code = await process.ended()
        # What the process started may outlive it; two of a kind must never run.
        process.kill()
        if unit.process is not process or not unit.wanted:
            return
        unit.condition = "starting"
        self._write_state()
        self._console.notice(f"{unit.name} {how_it_ended(code)}; starting it again")
        if time.monotonic() - process.started_at > STEADY_S:
            unit.ends_in_a_row = 0
        await self._restart(unit)

    async def _restart(self, unit: Unit) -> None:
        began = time.monotonic()
        while unit.wanted:
            if unit.ends_in_a_row >= RESTARTS_IN_A_ROW_MAX:
                unit.condition = "failed"
                self._write_state()
                self._console.notice(
                    f"{unit.name} ended {unit.ends_in_a_row} times in a row and is given up; "
                    f"its log is {self.folder.log(unit.name)}"
                )
                return
            await asyncio.sleep(restart_pause_s(unit.ends_in_a_row))
            unit.ends_in_a_row += 1
            async with unit.starting:
                if not unit.wanted or unit.pid is not None:
                    return
                unit.restarts += 1
                try:
                    await self._launch(unit, RESTART_TIMEOUT_S)
                except (StackError, OSError) as error:
                    if unit.wanted:
                        first_line = str(error).partition("\n")[0]
                        self._console.notice(f"{unit.name} did not come back: {first_line}")
                    continue
            self._console.notice(f"{unit.name} is back after {time.monotonic() - began:.1f} s")
            return

    # Stop

    async def _stop_all(self) -> None:
        self.ready = False
        for watcher in list(self._watchers):
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        began = time.monotonic()
        running = [unit.name for unit in self.units.values() if unit.pid is not None]
        async with self._console.progress(lambda: f"stopping {', '.join(running)}"):
            for names, grace_s in STOP_ORDER:
                await asyncio.gather(*(self._stop_one(name, grace_s) for name in names))
                running = [name for name in running if name not in names]
        if self.units:
            self._console.line(
                f"Stopped after {time.monotonic() - began:.1f} s; the data stays in "
                f"{shown_path(self.folder)}."
            )

    async def _stop_one(self, name: str, grace_s: float) -> None:
        unit = self.units.get(name)
        if unit is None:
            return
        unit.wanted = False
        if unit.process is not None and not await asyncio.to_thread(unit.process.stop, grace_s):
            self._console.notice(f"{name} did not stop within {grace_s:.1f} s and was killed")
        unit.condition = "stopped"

    # Control

    async def _control(self, request: dict[str, Any]) -> dict[str, Any]:
        operations: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "status": self._control_status,
            "stop": self._control_stop,
            "start": self._control_start,
            "kill": self._control_kill,
            "shutdown": self._control_shutdown,
        }
        operation = operations.get(str(request.get("op")))
        if operation is None:
            raise ValueError(f"op must be one of {', '.join(operations)}")
        return await operation(request)

    def _unit(self, request: dict[str, Any]) -> Unit:
        unit = self.units.get(str(request.get("process")))
        if unit is None:
            raise ValueError(f"process must be one of {', '.join(self.units)}")
        return unit

    async def _control_status(self, _request: dict[str, Any]) -> dict[str, Any]:
        processes = {
            name: {**shown, "state": self.units[name].condition}
            for name, shown in self._state()["processes"].items()
        }
        return {**self._state(), "processes": processes}

    async def _control_stop(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._unit(request)
        grace_s = next(grace_s for names, grace_s in STOP_ORDER if unit.name in names)
        await self._stop_one(unit.name, grace_s)
        # A start under way notices the end of its process; after it, nothing may run.
        async with unit.starting:
            await self._stop_one(unit.name, grace_s)
        self._write_state()
        self._console.notice(f"{unit.name} was stopped on request")
        return {}

    async def _control_start(self, request: dict[str, Any]) -> dict[str, Any]:
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
            await self._launch(unit)
        self._console.notice(f"{unit.name} was started on request" + (", empty" if wipe else ""))
        return {"pid": unit.pid}

    async def _control_kill(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._unit(request)
        pid = unit.pid
        if pid is None or unit.process is None:
            raise ValueError(f"{unit.name} does not run")
        unit.process.signal_group(signal.SIGKILL)
        return {"pid": pid}

    async def _control_shutdown(self, _request: dict[str, Any]) -> dict[str, Any]:
        self._stop_asked.set()
        return {}

    # State

    def _state(self) -> dict[str, Any]:
        urls = {name: self.urls[name] for name in ADDRESS_VARIABLES if name in self.urls}
        if self.temporal_ui is not None:
            urls["temporal_ui"] = self.temporal_ui
        return {
            "version": VERSION,
            "supervisor_pid": os.getpid(),
            "data_dir": str(self.folder.root),
            "ready": self.ready,
            "stopping": self._stop_asked.is_set(),
            "base_url": self.settings.base_url,
            "jwt_secret_file": str(self._secret_file),
            "urls": urls,
            "processes": {
                unit.name: {
                    "pid": unit.pid,
                    "port": unit.port or None,
                    "log": str(self.folder.log(unit.name)),
                    "restarts": unit.restarts,
                }
                for unit in self.units.values()
            },
        }

    def _write_state(self) -> None:
        """Writes down what runs; a full disk is said once and keeps nothing from running."""
        pids = [unit.pid for unit in self.units.values() if unit.pid is not None]
        try:
            record_children(self.folder, pids)
            write_state(self.folder, self._state())
        except OSError as error:
            if self._state_is_written:
                self._console.notice(
                    f"{self.folder.state} could not be written ({error.strerror}); "
                    "it is behind until the next change"
                )
            self._state_is_written = False
        else:
            self._state_is_written = True

    @contextlib.contextmanager
    def _signals(self) -> Any:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.ask_to_stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def restart_pause_s(ends_in_a_row: int) -> float:
    """Seconds to wait before the next start: 0.1, 0.2, 0.4 … at most 5."""
    return float(min(PAUSE_FIRST_S * 2**ends_in_a_row, PAUSE_MAX_S))


def how_it_ended(code: int) -> str:
    """An exit code as a person would say it."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def private_secret(folder: RunFolder) -> str:
    """The signing secret of this data folder, made at first use."""
    if not folder.secret.exists():
        folder.root.mkdir(parents=True, exist_ok=True)
        write_private(folder.secret, secrets.token_urlsafe(48))
    return folder.secret.read_text().strip()


def shown_path(folder: RunFolder) -> str:
    """The data folder as a person would type it from here."""
    with contextlib.suppress(ValueError):
        return str(folder.root.relative_to(Path.cwd()))
    return str(folder.root)


def without_password(url: str) -> str:
    """An address that may be shown."""
    return url.rpartition("@")[2]


def _with_port(settings: StackSettings, port: int) -> StackSettings:
    return dataclasses.replace(settings, port=port)
