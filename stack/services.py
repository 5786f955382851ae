"""Private MySQL-compatible, Redis and Temporal instances in a data folder of their own.

Each service knows how to prepare its folder, what command runs it and when it really answers.
Nothing here touches a system service, a system configuration file or a port other than on
127.0.0.1. What keeps them running is `stack.supervisor`; `start` here serves tests as well.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from stack import programs
from stack.errors import PortTaken, StartFailed
from stack.ports import HOST, PortBook, free_port, is_free
from stack.process import Process, spawn
from stack.temporal_probes import temporal_answers

_PORT_ATTEMPTS_MAX = 5
START_TIMEOUT_S = 60.0
_PROBE_TIMEOUT_S = 2.0
_PROBE_INTERVAL_S = 0.05
_UNFINISHED = "data.new"
_TAKEN = re.compile(
    r"already in use|can't (?:set|listen)|could not create server tcp", re.IGNORECASE
)


class Program(Protocol):
    """What `start` needs to know to run something and see it answer. Port 0 means it has none."""

    name: str

    def command(self, port: int) -> list[str]:
        """The command that serves on `port` in the foreground."""

    def environment(self) -> Mapping[str, str] | None:
        """Its whole environment; None hands on this process's own."""

    async def answers(self, port: int, pid: int) -> bool:
        """Whether process `pid` does real work on `port` now; False on any failure."""


class Service(Program, Protocol):
    """A service with data of its own."""

    folder: Path

    async def prepare(self) -> None:
        """Makes the data folder ready; safe to repeat, one at a time. Call it in the main thread.

        Raises StartFailed. Cancelled, it leaves no process behind.
        """

    def wipe(self) -> None:
        """Forgets all data. The service must not run. Blocks."""

    def url(self, port: int) -> str:
        """The address to hand to a client, with credentials where it needs them."""


class _Private:
    """What the private services share: a folder, and nothing special in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self) -> Mapping[str, str] | None:
        return None

    def wipe(self) -> None:
        """Forgets all data. The service must not run. Blocks."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Mysql(_Private):
    """MariaDB or Oracle's MySQL, durable on every commit.

    The binary log stays off: nothing replicates from a private instance, and InnoDB's redo log,
    synced at each commit, already keeps every acknowledged transaction; the binary log would only
    add a second sync. `sync_binlog` is set all the same, for whoever turns the log on.
    """

    name = "mysql"
    user = "scoreboard"
    database = "scoreboard"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._temporary = folder / "tmp"
        self._secret = folder / "password"
        self._init_sql = folder / "init.sql"

    @property
    def password(self) -> str:
        return self._secret.read_text().strip()

    def environment(self) -> Mapping[str, str]:
        """With a folder of its own for temporary tables.

        A server that starts removes all that it finds, those of other servers in `/tmp`, too.
        """
        return {**os.environ, "TMPDIR": str(self._temporary)}

    async def prepare(self) -> None:
        self._temporary.mkdir(parents=True, exist_ok=True)
        if not self._secret.exists():
            write_private(self._secret, secrets.token_urlsafe(24))
        if not self._data.exists():
            await self._initialise()
        # The server runs this at every start, so a changed password takes effect.
        who = f"'{self.user}'@'{HOST}'"
        write_private(
            self._init_sql,
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY '{self.password}';\n"
            f"ALTER USER {who} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {who} WITH GRANT OPTION;\n"
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.password}';\n"
            f"CREATE DATABASE IF NOT EXISTS {self.database};\n",
        )

    async def _initialise(self) -> None:
        for leftover in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # Under another name first: a half-made folder must never pass for a database. A name of
        # this attempt alone: what a killed supervisor started may still write into an older one.
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        try:
            await self._install(unfinished)
            unfinished.replace(self._data)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    async def _install(self, unfinished: Path) -> None:
        server = programs.mysql_server()
        install = programs.mariadb_install_db()
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        if install is not None:
            command = [
                install,
                "--no-defaults",
                f"--datadir={unfinished}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *as_root,
            ]
        else:
            command = [
                server,
                "--no-defaults",
                "--initialize-insecure",
                f"--datadir={unfinished}",
                *as_root,
            ]
        process = spawn(
            "mysql-setup", command, log=self.folder / "setup.log", env=self.environment()
        )
        try:
            code = await process.ended()
        finally:
            process.kill()
        if code != 0:
            raise StartFailed(
                f"The database folder could not be initialised; the log is {process.log}.",
                process.log_tail(),
            )

    def command(self, port: int) -> list[str]:
        return [
            programs.mysql_server(),
            "--no-defaults",
            f"--datadir={self._data}",
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--bind-address={HOST}",
            f"--port={port}",
            # Relative to the data folder, so that no long path meets the 108 bytes of a socket.
            "--socket=mysqld.sock",
            "--pid-file=mysqld.pid",
            f"--init-file={self._init_sql}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--sync-binlog=1",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            "--loose-innodb-log-file-size=128M",
            "--transaction-isolation=READ-COMMITTED",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            "--sql-mode=STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,ERROR_FOR_DIVISION_BY_ZERO,"
            "NO_ENGINE_SUBSTITUTION",
            "--max-connections=200",
            "--max-allowed-packet=64M",
            "--loose-performance-schema=OFF",
            "--loose-mysqlx=OFF",
        ]

    async def answers(self, port: int, pid: int) -> bool:
        # The password is this instance's own, so no other server can answer in its place.
        del pid
        import aiomysql

        try:
            # Not the driver's own limit: it ends with the TCP handshake, before the greeting of
            # a frozen server, and is a `wait_for`, which may forget a cancellation.
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                connection = await aiomysql.connect(
                    host=HOST,
                    port=port,
                    user=self.user,
                    password=self.password,
                    db=self.database,
                )
        except Exception:
            return False
        connection.close()
        return True

    def url(self, port: int) -> str:
        return f"mysql://{self.user}:{quote(self.password)}@{HOST}:{port}/{self.database}"


class Redis(_Private):
    """Redis with an append-only file: at most the last second is lost, and MySQL restores it."""

    name = "redis"

    async def prepare(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)

    def command(self, port: int) -> list[str]:
        return [
            programs.redis_server(self.folder / "bin"),
            *("--bind", HOST),
            *("--port", str(port)),
            *("--dir", str(self.folder / "data")),
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec"),
            *("--save", ""),
            # A rewrite takes the CPU of a second of traffic: seldom, and without compression.
            *("--auto-aof-rewrite-min-size", "256mb"),
            *("--auto-aof-rewrite-percentage", "300"),
            *("--rdbcompression", "no"),
            *("--maxmemory-policy", "noeviction"),
            *("--daemonize", "no"),
            # 10,000 listeners do not reach Redis; a few hundred connections do.
            *("--maxclients", "1000"),
        ]

    async def answers(self, port: int, pid: int) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    # A loading server refuses INFO's neighbours, so ask both.
                    writer.write(b"PING\r\nINFO server\r\n")
                    if await reader.readline() != b"+PONG\r\n":
                        return False
                    length = int((await reader.readline())[1:])
                    return f"process_id:{pid}\r\n".encode() in await reader.readexactly(length)
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            return False

    def url(self, port: int) -> str:
        return f"redis://{HOST}:{port}/0"


class Temporal(_Private):
    """Temporal's development server with a file database and its web UI.

    `synchronous=2` (FULL) is kept: a started workflow is the promise behind a 202, so it must be
    on disk. The two refresh flags cost five reads a workflow and buy nothing here; the rate
    limits are those of a shared cluster.
    """

    name = "temporal"
    namespace = "default"

    def __init__(self, folder: Path, *, ui_port: int | None = None) -> None:
        super().__init__(folder)
        self.ui_port = ui_port if ui_port is not None else free_port()

    def environment(self) -> Mapping[str, str]:
        """As ours, with a lazier collector: a sixth less CPU for some 50 MiB more."""
        return {"GOGC": "400", **os.environ}

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self, port: int) -> list[str]:
        if not is_free(self.ui_port):
            self.ui_port = free_port()
        dynamic = {
            "system.forceSearchAttributesCacheRefreshOnRead": "false",
            "system.forceNexusEndpointRefreshOnRead": "false",
            "frontend.rps": "100000",
            "frontend.namespaceRPS": "100000",
            "history.rps": "100000",
            "matching.rps": "100000",
        }
        return [
            programs.temporal(),
            *("server", "start-dev"),
            *("--ip", HOST),
            *("--port", str(port)),
            *("--ui-port", str(self.ui_port)),
            *("--db-filename", str(self.folder / "temporal.db")),
            *("--sqlite-pragma", "journal_mode=wal"),
            *("--sqlite-pragma", "synchronous=2"),
            *("--log-level", "error"),
            *[
                argument
                for key, value in dynamic.items()
                for argument in ("--dynamic-config-value", f"{key}={value}")
            ],
        ]

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await temporal_answers(f"{HOST}:{port}", self.namespace)

    def url(self, port: int) -> str:
        return f"{HOST}:{port}"

    @property
    def ui_url(self) -> str:
        return f"http://{HOST}:{self.ui_port}"


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

    A fixed `port` is tried as it is; otherwise a port found taken at bind time is replaced, at
    most five times. `on_spawn` sees each process and its port at once.

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
        try:
            if on_spawn is not None:
                on_spawn(process, chosen)
            await _until_answers(program, process, chosen, timeout_s)
        except StartFailed:
            if _reports_taken(log, log_start):
                if port is not None:
                    raise PortTaken(program.name, port, hint) from None
                continue
            raise
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


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
