"""A private PostgreSQL, which holds what Temporal knows."""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.data_folder import write_private
from stack.errors import StartFailed
from stack.ports import HOST
from stack.process import spawn
from stack.services.program import PROBE_TIMEOUT_S, Private
from stack.temporal_cluster.program import needed


class Postgres(Private):
    """PostgreSQL, durable on every commit, on a port of 127.0.0.1 and no socket."""

    name = "postgres"
    # At SIGTERM it would wait until the last client has left.
    stop_signal = signal.SIGINT
    user = "temporal"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = 0
        self._data = folder / "data"
        self._secret = folder / "password"

    @property
    def password(self) -> str:
        return self._secret.read_text("utf-8").strip()

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._secret.exists():
            write_private(self._secret, secrets.token_urlsafe(24))
        if not self._data.exists():
            await self._initialise()

    async def _initialise(self) -> None:
        # Under another name first: a half-made folder must never pass for a database.
        unfinished = Path(tempfile.mkdtemp(prefix="data.new", dir=self.folder))
        command = [
            needed("initdb"),
            *("-D", str(unfinished), "-U", self.user, f"--pwfile={self._secret}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        try:
            await finished("postgres-setup", as_somebody(command), self.folder / "setup.log")
            unfinished.replace(self._data)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def command(self, port: int) -> list[str]:
        self.port = port
        settings = {
            "listen_addresses": HOST,
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "128MB",
            "max_wal_size": "512MB",
            "log_min_messages": "warning",
        }
        return as_somebody(
            [
                needed("postgres"),
                *("-D", str(self._data)),
                *[word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
            ]
        )

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        process = await asyncio.create_subprocess_exec(
            *(needed("pg_isready"), "-q", "-h", HOST, "-p", str(port)),
            *("-t", str(int(PROBE_TIMEOUT_S))),
        )
        return await process.wait() == 0

    def url(self, port: int) -> str:
        return f"{HOST}:{port}"


def as_somebody(command: Sequence[str]) -> list[str]:
    """The command as root may give it: PostgreSQL refuses to run as root.

    In a user namespace of its own, where root's files are those of `nobody`: no file changes hands.
    """
    if os.geteuid() != 0:
        return list(command)
    # The change of user forgets the signal that comes when the parent dies.
    dying = ("setpriv", "--pdeathsig", "INT")
    return ["unshare", "--user", "--map-user=nobody", "--map-group=nogroup", *dying, *command]


async def finished(
    name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> None:
    """Waits for a command's end. Raises StartFailed with the end of its log when it fails."""
    process = spawn(name, command, log=log, env=env)
    try:
        code = await process.ended()
    finally:
        process.kill()
    if code != 0:
        raise StartFailed(f"{name} failed; the log is {log}.", process.log_tail())
