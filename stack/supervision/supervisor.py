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
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from stack.console import Console
from stack.data_folder import RunFolder, private_secret, shown_path, write_private
from stack.errors import StackError, StartFailed
from stack.ports import HOST, PortBook, free_port, is_free
from stack.process import Process, spawn
from stack.services import START_TIMEOUT_S, Mysql, Redis, Service, Temporal, start
from stack.settings import ADDRESS_VARIABLES, StackSettings
from stack.state import (
    VERSION,
    end_leftovers,
    record_children,
    take_lock_in_turn,
    write_state,
)
from stack.supervision.control import listen
from stack.supervision.requests import STOP_ORDER, Requests
from stack.supervision.roles import Server, Worker, role_environment
from stack.supervision.unit import (
    RESTARTS_IN_A_ROW_MAX,
    STEADY_S,
    Unit,
    how_it_ended,
    restart_pause_s,
)
from stack.temporal_cluster import Cluster

# A role waits for its services by itself, so a restart during an outage may take long.
RESTART_TIMEOUT_S = 600.0
SEED_TIMEOUT_S = 120.0


class Supervisor:
    """Owns one data folder. `run` does everything; one instance runs once."""

    def __init__(self, settings: StackSettings, console: Console) -> None:
        self.settings = settings
        self.folder = RunFolder(root=settings.data_dir)
        self.units: dict[str, Unit] = {}
        self.urls: dict[str, str] = dict(settings.given)
        self.ready = False
        self.console = console
        self._book = PortBook(self.folder.ports)
        self._watchers: set[asyncio.Task[None]] = set()
        self.stop_asked = asyncio.Event()
        self.temporal_ui: str | None = None
        self.secret = ""
        self._secret_file = self.folder.secret
        self._state_is_written = True

    async def run(self, on_ready: Callable[["Supervisor"], None]) -> None:
        """Starts everything, calls `on_ready`, and returns after a stop was asked and done.

        Raises StackError when the start fails; by then all that was started has ended.
        """
        lock = await take_lock_in_turn(self.folder, self.console.notice)
        try:
            # A killed supervisor left its own; nobody may take that for this run.
            self.folder.state.unlink(missing_ok=True)
            self._prepare_machine()
            with self._signals():
                async with listen(self.folder.control, Requests(self).handle):
                    await self._run_until_asked(on_ready)
        finally:
            for leftover in (self.folder.state, self.folder.children):
                leftover.unlink(missing_ok=True)
            os.close(lock)

    async def _run_until_asked(self, on_ready: Callable[["Supervisor"], None]) -> None:
        starting = asyncio.create_task(self._start_all())
        asked = asyncio.create_task(self.stop_asked.wait())
        try:
            await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not self.stop_asked.is_set():
                # Raises what the start raised.
                await starting
                self.ready = True
                self.note_state()
                on_ready(self)
                await asked
        finally:
            for task in (starting, asked):
                task.cancel()
            await asyncio.gather(starting, asked, return_exceptions=True)
            self.ready = False
            self.note_state()
            await self._stop_all()

    def ask_to_stop(self) -> None:
        """The first call stops in order, the second at once."""
        if self.stop_asked.is_set():
            for unit in self.units.values():
                if unit.process is not None:
                    unit.process.signal_group(signal.SIGKILL)
        self.stop_asked.set()

    # Start

    def _prepare_machine(self) -> None:
        if ended := end_leftovers(self.folder):
            self.console.notice(f"ended {ended} processes that an earlier run left over")
        # Thousands of listeners need descriptors; children inherit the raised limit.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if given := self.settings.environment.get("SCOREBOARD_JWT_SECRET"):
            self.secret = given
            self._secret_file = self.folder.root / "jwt-secret-given"
            write_private(self._secret_file, given)
        else:
            self.secret = private_secret(self.folder)

    async def _start_all(self) -> None:
        settings = self.settings
        # Before the slow steps: a taken port should be said at once.
        port = settings.port or free_port()
        if not settings.first_host:
            raise StartFailed("SCOREBOARD_HOST needs a TCP address too: the stack asks there")
        if not is_free(port, settings.first_host):
            raise StartFailed(
                f"Port {port} is in use by another program. "
                f"Choose another for the server: make up PORT={port + 1}"
            )
        self.settings = settings = dataclasses.replace(settings, port=port)
        services = self._services()
        cluster = self._cluster()
        for service in [*services, *(cluster.services if cluster is not None else ())]:
            self.units[service.name] = Unit(service, settings.ports.get(service.name) or None)
        self.note_state()

        def waiting() -> str:
            names = [unit.name for unit in self.units.values() if unit.condition != "up"]
            return f"starting {', '.join(names)}" if names else "adding the demo users"

        async with self.console.progress(waiting):
            for name, url in settings.given.items():
                self.console.done(name, f"{without_password(url)} (given)")
            starts = [self._start_service(service) for service in services]
            if cluster is not None:
                starts.append(cluster.start(self._start_service))
            await asyncio.gather(*starts)
            # A database that someone gave gets users only when someone asks for them.
            if "mysql" not in settings.given or settings.users:
                await self._seed()
            worker = Worker(self._environment("worker"), self.urls["temporal"])
            self.units["worker"] = Unit(worker, 0)
            await self._first_start(self.units["worker"], "polling the task queue")
            server = Server(self._environment("server"), settings.near_host, settings.base_path)
            self.units["server"] = Unit(server, port)
            await self._first_start(self.units["server"], settings.base_url)

    def _services(self) -> list[Service]:
        root = self.folder.root
        made: list[Service] = []
        if "mysql" not in self.urls:
            made.append(Mysql(root / "mysql"))
        if "redis" not in self.urls:
            made.append(Redis(root / "redis"))
        if "temporal" not in self.urls and not self.settings.temporal_is_cluster:
            made.append(Temporal(root / "temporal", ui_port=self._book.choose("temporal-ui")))
        return made

    def _cluster(self) -> Cluster | None:
        if "temporal" in self.urls or not self.settings.temporal_is_cluster:
            return None
        return Cluster(self.folder.root / "temporal-cluster")

    async def _start_service(self, service: Service) -> None:
        unit = self.units[service.name]
        unit.condition = "starting"
        async with unit.starting:
            await service.prepare()
            await self.launch(unit)
        assert unit.port is not None
        self.urls[service.name] = service.url(unit.port)
        shown = f"{HOST}:{unit.port}"
        if isinstance(service, Temporal):
            self.temporal_ui = service.ui_url
            self._book.remember("temporal-ui", service.ui_port)
            shown += f"  web UI {service.ui_url}"
        self.note_state()
        self.console.done(service.name, shown)

    async def _first_start(self, unit: Unit, shown: str) -> None:
        await self.launch(unit)
        self.console.done(unit.name, shown)

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

    async def launch(self, unit: Unit, timeout_s: float = START_TIMEOUT_S) -> None:
        """Starts a unit and watches it from then on.

        Raises StackError, and OSError when the machine refuses a process or a file.
        """
        unit.condition = "starting"

        def spawned(process: Process, port: int) -> None:
            unit.process = process
            unit.port = port
            self.note_state()

        started = await start(
            unit.program,
            log=self.folder.log(unit.name),
            book=self._book if unit.port is None else None,
            port=unit.port,
            host=self.settings.first_host if unit.name == "server" else HOST,
            hint=f"Choose another: python -m stack up --{unit.name}-port N",
            timeout_s=timeout_s,
            on_spawn=spawned,
        )
        unit.condition = "up"
        self.note_state()
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
        self.note_state()
        self.console.notice(f"{unit.name} {how_it_ended(code)}; starting it again")
        if time.monotonic() - process.started_at > STEADY_S:
            unit.ends_in_a_row = 0
        await self._restart(unit)

    async def _restart(self, unit: Unit) -> None:
        began = time.monotonic()
        while unit.wanted:
            if unit.ends_in_a_row >= RESTARTS_IN_A_ROW_MAX:
                unit.condition = "failed"
                self.note_state()
                self.console.notice(
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
                    await self.launch(unit, RESTART_TIMEOUT_S)
                except (StackError, OSError) as error:
                    if unit.wanted:
                        first_line = str(error).partition("\n")[0]
                        self.console.notice(f"{unit.name} did not come back: {first_line}")
                    continue
            self.console.notice(f"{unit.name} is back after {time.monotonic() - began:.1f} s")
            return

    # Stop

    async def _stop_all(self) -> None:
        self.ready = False
        for watcher in list(self._watchers):
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        began = time.monotonic()
        running = [unit.name for unit in self.units.values() if unit.pid is not None]
        async with self.console.progress(lambda: f"stopping {', '.join(running)}"):
            for names, grace_s in STOP_ORDER:
                await asyncio.gather(*(self.stop_unit(name, grace_s) for name in names))
                running = [name for name in running if name not in names]
        if self.units:
            self.console.line(
                f"Stopped after {time.monotonic() - began:.1f} s; the data stays in "
                f"{shown_path(self.folder)}."
            )

    async def stop_unit(self, name: str, grace_s: float) -> None:
        unit = self.units.get(name)
        if unit is None:
            return
        unit.wanted = False
        if unit.process is not None and not await asyncio.to_thread(unit.process.stop, grace_s):
            self.console.notice(
                f"{name} took longer than {grace_s:.1f} s to stop and was killed; "
                "nothing acknowledged is lost"
            )
        unit.condition = "stopped"

    # State

    def what_runs(self) -> dict[str, Any]:
        urls = {name: self.urls[name] for name in ADDRESS_VARIABLES if name in self.urls}
        if self.temporal_ui is not None:
            urls["temporal_ui"] = self.temporal_ui
        return {
            "version": VERSION,
            "supervisor_pid": os.getpid(),
            "data_dir": str(self.folder.root),
            "ready": self.ready,
            "stopping": self.stop_asked.is_set(),
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

    def note_state(self) -> None:
        """Writes down what runs; a full disk is said once and keeps nothing from running."""
        pids = [unit.pid for unit in self.units.values() if unit.pid is not None]
        try:
            record_children(self.folder, pids)
            write_state(self.folder, self.what_runs())
        except OSError as error:
            if self._state_is_written:
                self.console.notice(
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


def without_password(url: str) -> str:
    """An address that may be shown."""
    return url.rpartition("@")[2]
