"""Hands batches to Temporal, which is connected to in the background.

An embedded worker lives as long as the connection is used and shares its client. Not what a batch
holds: see `commit`.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from temporalio.client import Client

from adapters import temporal
from adapters.tasks import end
from scoreboard.errors import UNAVAILABLE, Problem
from scoreboard.settings import ServiceSettings
from server.backends.temporal import Workflows

if TYPE_CHECKING:
    from server.observe.tracing import Tracing

EmbeddedWorker = Callable[[Client], AbstractAsyncContextManager[object]]
"""A worker that runs for as long as the context lasts."""


class BatchStarter:
    """Temporal as the committer, the in-flight window and the health checks use it."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        tracing: "Tracing | None",
        embedded_worker: EmbeddedWorker | None,
    ) -> None:
        # Settings that cannot work are found before anything connects.
        temporal.connect_arguments(settings)
        self._settings = settings
        self._tracing = tracing
        self._embedded_worker = embedded_worker
        self._workflows: Workflows | None = None
        self._leaving = asyncio.Event()
        self._worker_runs = False

    def connected(self) -> Client:
        """The Temporal client. Raises Problem (unavailable) before the first connection."""
        if self._workflows is None:
            raise Problem(UNAVAILABLE, "A backend is unavailable.", retry_after_s=1)
        return self._workflows.client

    async def run(self) -> None:
        """Connect, and run the embedded worker until `leave`."""
        interceptors = self._tracing.interceptors() if self._tracing else ()
        client = await temporal.connect(self._settings, interceptors)
        self._workflows = Workflows(client, self._settings.task_queue)
        async with self._embedded_worker(client) if self._embedded_worker else nullcontext():
            self._worker_runs = True
            await self._leaving.wait()

    async def leave(self, running: "asyncio.Task[None]") -> None:
        """End `run`, whose task is `running`, once the worker has finished its activities."""
        self._leaving.set()
        if not self._worker_runs:
            # It waits for Temporal, or the worker for MySQL: neither is needed any more.
            await end([running])
        await asyncio.gather(running, return_exceptions=True)

    async def start(self, batch_id: str, payload: bytes, *, timeout_s: float) -> None:
        """Return once the batch is durable in a workflow. Raises TEMPORAL_ERRORS."""
        workflows = self._connected()
        tracing = self._tracing.batch(batch_id, payload) if self._tracing else nullcontext("")
        async with tracing as traceparent:
            await workflows.start(batch_id, payload, timeout_s=timeout_s, traceparent=traceparent)

    @property
    def workflows(self) -> Workflows | None:
        """What is asked about batches; None before the first connection."""
        return self._workflows

    async def running(self) -> set[str]:
        """The ids of all batches that have not ended. Raises TEMPORAL_ERRORS."""
        return await self._connected().running()

    async def ping(self) -> None:
        """Raises TEMPORAL_ERRORS unless Temporal serves."""
        await self._connected().ping()

    def _connected(self) -> Workflows:
        if self._workflows is None:
            raise TimeoutError("Temporal has not been reached yet")
        return self._workflows
