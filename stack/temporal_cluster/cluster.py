"""The parts of a cluster and the order in which they start."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from stack.errors import StartFailed
from stack.services import Service
from stack.temporal_cluster.postgres import Postgres
from stack.temporal_cluster.program import SERVER, lacking
from stack.temporal_cluster.roles import Frontend, Role, Schema


class Cluster:
    """PostgreSQL and the roles over it. There are two of history, so that shards can move."""

    def __init__(self, folder: Path) -> None:
        self._postgres = Postgres(folder / "postgres")
        self._schema = Schema(folder, self._postgres)
        self.frontend = Frontend("frontend", "temporal", folder, self._postgres)
        self._roles = [
            Role("history", "temporal-history", folder, self._postgres),
            Role("history", "temporal-history-2", folder, self._postgres),
            Role("matching", "temporal-matching", folder, self._postgres),
            Role("worker", "temporal-worker", folder, self._postgres),
            self.frontend,
        ]

    @property
    def services(self) -> list[Service]:
        """All that run, the first one first."""
        return [self._postgres, *self._roles]

    async def start(self, start_one: Callable[[Service], Awaitable[None]]) -> None:
        """Starts all of it by `start_one`, which prepares a service and waits until it answers.

        Builds the server first where that was never done. Raises StackError.
        """
        if lacks := lacking():
            raise StartFailed(f"A Temporal cluster needs {lacks}, which is not installed.")
        await asyncio.to_thread(SERVER.built)
        await start_one(self._postgres)
        await self._schema.prepare()
        first, *others = self._roles
        # Alone: it writes what all have in common, and of several at once all but one would fail.
        await start_one(first)
        await asyncio.gather(*(start_one(role) for role in others))
