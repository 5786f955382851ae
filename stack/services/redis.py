"""A private Redis: its command, and when it answers."""

import asyncio

from stack.ports import HOST
from stack.services import programs
from stack.services.program import PROBE_TIMEOUT_S, Private


class Redis(Private):
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
            async with asyncio.timeout(PROBE_TIMEOUT_S):
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
