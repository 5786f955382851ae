"""How each peer is started and how one sees that it serves. Not what is asked of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import centrifugo, nginx
from benchmarks.peers.backends import Backends, fresh_surroundings, mysql_connection, query
from benchmarks.peers.literal.start import command as literal_command
from benchmarks.peers.processes import GeneratorFailed, said_by, words_of
from scoreboard.contract import STREAM_PATH
from stack.ports import HOST
from stack.process import Process, spawn
from stack.services import Program, start
from stack.services.temporal_probes import describe_pollers

APPS = "benchmarks.peers.apps"
USERS = 2000
"""Enough that the default rate limit of 10/s for each user allows 20,000 submissions/s."""
NO_LIMIT = {"SCOREBOARD_RATE_LIMIT_COUNT": "1000000"}
START_TIMEOUT_S = 60.0
_PROBE_TIMEOUT_S = 2.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH", "TMPDIR")

_PEER_SCHEMA = (
    "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64) NOT NULL, score BIGINT NOT NULL)",
    "CREATE TABLE ledger (submission_id BINARY(16) PRIMARY KEY, user_id BIGINT NOT NULL,"
    " increment BIGINT NOT NULL)",
)

# Name: module, and the path whose answer shows that it serves.
_PYTHON = {
    "ours": ("stack.api", "/readyz"),
    "ours-stream": ("server", "/readyz"),
    "ceiling": (f"{APPS}.ceiling", "/none"),
    "direct": (f"{APPS}.direct", "/none"),
    "direct-stream": (f"{APPS}.direct", "/none"),
    "redis": (f"{APPS}.redis_board", "/none"),
    "queue": (f"{APPS}.sse_queue", "/none"),
    "sse-starlette": (f"{APPS}.sse_starlette_app", "/none"),
}
OURS = frozenset({"ours", "ours-stream"})


EXITS = (0, 1, 3)
"""Of a command of ours that has a result, whatever it is."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A peer that serves: where, with which secret and database, as which processes."""

    name: str
    port: int
    environment: Mapping[str, str]
    pids: Sequence[int]
    log: Path
    workers: Sequence[Process] = ()

    @property
    def stream_path(self) -> str:
        """Where it serves its event stream."""
        return centrifugo.STREAM_PATH if self.name == "centrifugo" else STREAM_PATH

    @property
    def secret(self) -> bytes:
        """What its tokens are signed with."""
        return self.environment["SCOREBOARD_JWT_SECRET"].encode()

    @property
    def mysql_url(self) -> str:
        """Its database."""
        return self.environment["SCOREBOARD_MYSQL_URL"]


class _Python:
    """A Python module that serves HTTP on SCOREBOARD_PORT."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._module, self._probe = _PYTHON[name]
        self._environment = dict(environment)
        if name == "direct-stream":
            self._environment["STREAMS"] = "1"

    def command(self, port: int) -> list[str]:
        self._environment["SCOREBOARD_PORT"] = str(port)
        return [sys.executable, "-m", self._module]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await http_status(port, self._probe) in range(200, 500)


class _Literal:
    """The specification word for word, in Go on its own stack; one process serves and works."""

    name = "literal"

    def __init__(self, environment: Mapping[str, str], users: int, role: str) -> None:
        names = {
            "MYSQL_URL": "SCOREBOARD_MYSQL_URL",
            "REDIS_URL": "SCOREBOARD_REDIS_URL",
            "TEMPORAL_ADDRESS": "SCOREBOARD_TEMPORAL_ADDRESS",
            "TASK_QUEUE": "SCOREBOARD_TASK_QUEUE",
            "JWT_SECRET": "SCOREBOARD_JWT_SECRET",
        }
        theirs = {name: environment[ours] for name, ours in names.items()}
        self._environment = {**environment, **theirs, "USERS": str(users), "ROLE": role}

    def command(self, port: int) -> list[str]:
        self._environment["PORT"] = str(port)
        return literal_command("fiber")

    def environment(self) -> Mapping[str, str]:
        return self._environment

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await http_status(port, "/scores") == 200


class _Nchan:
    """nginx with nchan; it subscribes and publishes without any application."""

    name = "nchan"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def command(self, port: int) -> list[str]:
        nginx.configure(self._folder, port)
        return nginx.command(self._folder)

    def environment(self) -> None:
        return None

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await http_status(port, "/none") == 404


class _Centrifugo:
    """Centrifugo without clients' tokens or history; it is published to over HTTP."""

    name = "centrifugo"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "centrifugo.json"

    def command(self, port: int) -> list[str]:
        return centrifugo.command(self._file, port)

    def environment(self) -> None:
        return None

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await http_status(port, "/none") == 404


async def http_status(port: int, path: str) -> int:
    """The status of a GET, 0 when there is none."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0


@asynccontextmanager
async def peer(
    name: str,
    backends: Backends,
    *,
    users: int = USERS,
    prepared: Mapping[str, str] | None = None,
    workers: int = 0,
) -> AsyncIterator[Running]:
    """The peer `name`, started anew and ended with the context.

    `prepared` are the surroundings of a database filled before; without it the
    peer gets one of its own with `users` users. With `workers`, for ours-stream and
    literal, these carry out the workflows instead of the process that serves.
    """
    async with AsyncExitStack() as opened:
        surroundings = prepared
        if surroundings is None:
            surroundings = await opened.enter_async_context(fresh_surroundings(backends))
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        environment: dict[str, str] = {**inherited, **surroundings, "PYTHONUNBUFFERED": "1"}
        if users < USERS:
            # So few would meet the limit, which is not what is measured.
            environment |= NO_LIMIT
        if prepared is None and name in OURS:
            await seed_ours(environment, users, backends.folder)
        elif name.startswith("direct"):
            await _seed_peer(environment["SCOREBOARD_MYSQL_URL"], users)
        program: Program
        if name == "nchan":
            program = _Nchan(backends.folder)
        elif name == "centrifugo":
            program = _Centrifugo(backends.folder)
        elif name == "literal":
            program = _Literal(environment, users, "api" if workers else "")
        else:
            program = _Python(name, environment)
        started = await start(
            program,
            log=backends.folder / f"{name}.log",
            timeout_s=START_TIMEOUT_S,
        )
        opened.callback(started.process.stop, 10.0)
        apart = [_worker(name, number, environment, backends.folder) for number in range(workers)]
        for process in apart:
            opened.callback(process.stop, 10.0)
        if apart:
            await _polled(environment, apart)
        yield Running(
            name=name,
            port=started.port,
            environment=environment,
            pids=[started.process.pid, *(process.pid for process in apart)],
            log=started.process.log,
            workers=apart,
        )


def _worker(name: str, number: int, environment: Mapping[str, str], folder: Path) -> Process:
    """Starts a worker of a peer whose serving process has none."""
    command, surroundings = [sys.executable, "-m", "worker"], environment
    if name == "literal":
        program = _Literal(environment, 0, "worker")
        command, surroundings = program.command(0), program.environment()
    log = folder / f"{name}-worker-{number}.log"
    return spawn(f"{name}-worker", command, log=log, env=surroundings)


async def _polled(environment: Mapping[str, str], workers: Sequence[Process]) -> None:
    """Return once Temporal has seen each of these processes ask for work."""
    temporal = {
        "target_host": environment["SCOREBOARD_TEMPORAL_ADDRESS"],
        "namespace": "default",
    }
    wanted = {process.pid for process in workers}
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            identities = await describe_pollers(temporal, environment["SCOREBOARD_TASK_QUEUE"])
            if wanted <= {int(text.partition("@")[0]) for text in identities}:
                return
            await asyncio.sleep(0.1)


async def _seed_peer(mysql_url: str, users: int) -> None:
    async with mysql_connection(mysql_url) as connection:
        for statement in _PEER_SCHEMA:
            await query(connection, statement)
        values = ",".join(f"({n},'User{n:05d}',0)" for n in range(1, users + 1))
        await query(connection, f"INSERT INTO users VALUES {values}")


async def seed_ours(environment: Mapping[str, str], users: int, folder: Path) -> None:
    """Schema and users of ours, by its own command. Raises RuntimeError when that fails."""
    process = spawn(
        "seed",
        [sys.executable, "-m", "worker", "seed", "--users", str(users)],
        log=folder / "seed.log",
        env=environment,
    )
    if await process.ended() != 0:
        raise RuntimeError(f"seeding failed:\n{process.log_tail()}")


async def run_command(
    command: str, running: Running, options: Mapping[str, str], *flags: str
) -> str:
    """What one of our own commands said of a peer. Raises GeneratorFailed without a result."""
    told = {"host": f"http://{HOST}:{running.port}", **options}
    # Ours names submissions in its ledger only; events of others name theirs.
    witness = {"SCOREBOARD_MYSQL_URL": running.mysql_url} if running.name in OURS else {}
    words = (sys.executable, "-m", "scoreboard_cli", command, "--no-seed", *flags, *words_of(told))
    code, output = await said_by(
        words, {"SCOREBOARD_JWT_SECRET": running.secret.decode(), **witness}
    )
    said = output[-2000:]
    if code not in EXITS:
        raise GeneratorFailed(f"{command} of {running.name}: {said}")
    return said
