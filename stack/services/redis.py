"""A private Redis: its command, and when it answers."""

import asyncio
import secrets
import shutil
from pathlib import Path

from stack.data_folder import write_private
from stack.ports import HOST
from stack.services import programs
from stack.services.program import PROBE_TIMEOUT_S, Private


class Redis(Private):
    """Redis with an append-only file: at most the last second is lost, and MySQL restores it."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._secret = folder / "password"
        self._settings = folder / "redis.conf"

    @property
    def password(self) -> str:
        return self._secret.read_text("utf-8").strip()

    async def prepare(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        if not self._secret.exists():
            write_private(self._secret, secrets.token_urlsafe(24))
        # Loopback is no border between the users of a machine, and arguments can be seen by all.
        write_private(self._settings, f"requirepass {self.password}\n")

    def wipe(self) -> None:
        # Not the password: others hold the address with it.
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def command(self, port: int) -> list[str]:
        return [
            programs.redis_server(self.folder / "bin"),
            str(self._settings),
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
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    # A loading server refuses INFO's neighbours, so ask both.
                    password = self.password.encode()
                    writer.write(b"AUTH %b\r\nPING\r\nINFO server\r\n" % password)
                    answers = (await reader.readline(), await reader.readline())
                    if answers != (b"+OK\r\n", b"+PONG\r\n"):
                        return False
                    length = int((await reader.readline())[1:])
                    return f"process_id:{pid}\r\n".encode() in await reader.readexactly(length)
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            return False

    def url(self, port: int) -> str:
        return f"redis://default:{self.password}@{HOST}:{port}/0"
