"""The stack under test: started as a program, with a fault proxy on every edge.

A black box: known are its command line, its state file and its control socket. Everything it
writes is in the folder given.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.chaos.schedule import EDGES
from harness.net.fault_proxy import Proxy
from harness.net.sockets import free_ports
from scoreboard_cli.running_stack import read_state

START_TIMEOUT_S = 90.0


class StackFailed(RuntimeError):
    """The stack did not start or refused a request on its control socket, or a program failed."""


class UnderTest(Protocol):
    """What a run asks of the system under test, wherever its processes are."""

    proxies: dict[str, Proxy]
    losses: list[dict[str, Any]]
    """What stores have lost and the history does not have yet: fields of `Loss`."""
    failpoints: Path
    secret: str

    @property
    def redis_url(self) -> str:
        """Redis, not through any proxy."""

    @property
    def temporal_address(self) -> str:
        """Temporal, not through any proxy."""

    @property
    def server_port(self) -> int:
        """The server, as directly as it can be reached."""

    def mysql_url(self, port: int | None = None) -> str:
        """The database, directly or through the proxy that listens on `port`."""

    def pid(self, process: str) -> int | None:
        """The process's pid now, None while it does not run."""

    async def ask(self, request: dict[str, Any], *, timeout_s: float = 60.0) -> dict[str, Any]:
        """`kill`, `stop` or `start` a process. Raises StackFailed."""

    async def run(self, *arguments: str) -> str:
        """Run one of the system's own programs to its end; its output. Raises StackFailed."""

    async def until_up(self, *, timeout_s: float = 60.0) -> None:
        """Wait until every process is up. Raises StackFailed at the deadline."""


async def program_output(
    command: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None
) -> str:
    """The output of a program that runs to its end. Raises StackFailed with what it complained
    of."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise StackFailed(f"{' '.join(command)}: {err.decode(errors='replace')[-1000:]}")
    return out.decode()


class System:
    """One stack in `folder`. `async with` starts and stops it."""

    def __init__(
        self, folder: Path, *, users: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.failpoints = folder / "failpoints"
        self.secret = secrets.token_urlsafe(48)
        self.proxies: dict[str, Proxy] = {}
        self.losses: list[dict[str, Any]] = []
        self._users = users
        self._extra = dict(environment or {})
        self._ports = dict(
            zip(("mysql", "redis", "temporal", "server"), free_ports(4), strict=True)
        )
        self._mysql_password = secrets.token_urlsafe(24)
        self._redis_password = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "System":
        self.folder.mkdir(parents=True, exist_ok=True)
        # Written first: the proxies' URLs need the passwords, and the private services adopt them.
        for service, password in (("mysql", self._mysql_password), ("redis", self._redis_password)):
            password_file = self.folder / service / "password"
            password_file.parent.mkdir(exist_ok=True)
            password_file.touch(mode=0o600)
            password_file.write_text(password, "utf-8")
        upstream = {
            "server": self._ports["server"],
            "redis": self._ports["redis"],
            "mysql": self._ports["mysql"],
            "temporal": self._ports["temporal"],
        }
        for edge in EDGES:
            self.proxies[edge] = Proxy(edge, "127.0.0.1", upstream[edge.split("-")[1]])
            await self.proxies[edge].start()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        with (self.folder / "stack.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "stack", "up", "--users", str(self._users)),
                *("--port", str(self._ports["server"])),
                *("--mysql-port", str(self._ports["mysql"])),
                *("--redis-port", str(self._ports["redis"])),
                *("--temporal-port", str(self._ports["temporal"])),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.state().get("ready"):
            if self._process.returncode is not None or time.monotonic() > deadline:
                tail = (self.folder / "stack.log").read_text(errors="replace", encoding="utf-8")[
                    -2000:
                ]
                raise StackFailed(f"the stack did not start:\n{tail}")
            await asyncio.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("SCOREBOARD_")}
        addresses = {}
        for role in ("server", "worker"):
            prefix = f"SCOREBOARD_{role.upper()}_"
            mysql, redis = self.proxies[f"{role}-mysql"], self.proxies[f"{role}-redis"]
            addresses[f"{prefix}MYSQL_URL"] = self.mysql_url(mysql.port)
            addresses[f"{prefix}REDIS_URL"] = self._redis_url(redis.port)
            temporal = self.proxies[f"{role}-temporal"]
            addresses[f"{prefix}TEMPORAL_ADDRESS"] = f"127.0.0.1:{temporal.port}"
        return {
            **own,
            **addresses,
            "SCOREBOARD_DATA_DIR": str(self.folder),
            "SCOREBOARD_JWT_SECRET": self.secret,
            "SCOREBOARD_FAILPOINTS": str(self.failpoints),
            **self._extra,
        }

    async def stop(self) -> None:
        """Shut down the stack, then the proxies."""
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.send_signal(signal.SIGTERM)  # The second one stops at once.
                await process.wait()
        for proxy in self.proxies.values():
            await proxy.close()

    def mysql_url(self, port: int | None = None) -> str:
        """The database, directly or through the proxy that listens on `port`."""
        where = port if port is not None else self._ports["mysql"]
        return f"mysql://scoreboard:{self._mysql_password}@127.0.0.1:{where}/scoreboard"

    @property
    def redis_url(self) -> str:
        """Redis, not through any proxy."""
        return self._redis_url(self._ports["redis"])

    def _redis_url(self, port: int) -> str:
        return f"redis://default:{self._redis_password}@127.0.0.1:{port}/0"

    @property
    def temporal_address(self) -> str:
        """Temporal, not through any proxy."""
        return f"127.0.0.1:{self._ports['temporal']}"

    @property
    def server_port(self) -> int:
        """The server, not through any proxy."""
        return self._ports["server"]

    def state(self) -> dict[str, Any]:
        """The supervisor's state file; empty while there is none."""
        return read_state(self.folder)

    def pid(self, process: str) -> int | None:
        """The process's pid now, None while it does not run."""
        pid: int | None = self.state().get("processes", {}).get(process, {}).get("pid")
        return pid

    async def ask(self, request: dict[str, Any], *, timeout_s: float = 60.0) -> dict[str, Any]:
        """Ask the supervisor. Raises StackFailed when it refuses or does not answer."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._control_path())
                writer.write(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(await reader.readline() or b"{}")
                writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            raise StackFailed(f"{request} got no answer: {error!r}") from error
        if not answer.get("ok"):
            raise StackFailed(f"{request} was refused: {answer.get('error')}")
        return answer

    def _control_path(self) -> str:
        # A socket's path is bounded to 107 bytes; a relative one is often shorter.
        path = self.folder / "control.sock"
        relative = os.path.relpath(path)
        return min(str(path), relative, key=len)

    async def run(self, *arguments: str) -> str:
        """Run one of the stack's own programs to its end; its output. Raises StackFailed."""
        return await program_output(
            [sys.executable, "-m", *arguments],
            {
                **self._environment(),
                "SCOREBOARD_MYSQL_URL": self.mysql_url(),
                "SCOREBOARD_REDIS_URL": self.redis_url,
                "SCOREBOARD_TEMPORAL_ADDRESS": self.temporal_address,
            },
        )

    async def until_up(self, *, timeout_s: float = 60.0) -> None:
        """Wait until every process is up. Raises StackFailed at the deadline."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = await self.ask({"op": "status"})
            states = {name: p.get("state") for name, p in status["processes"].items()}
            if set(states.values()) == {"up"}:
                return
            if time.monotonic() > deadline:
                raise StackFailed(f"not all processes came back: {states}")
            await asyncio.sleep(0.05)
