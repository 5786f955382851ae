"""`python -m worker`: run a worker; `migrate` and `seed` prepare the database.

Exit status: 0 after a signal or finished work, 1 when it failed, 2 for bad
settings or arguments.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
import uvloop
from temporalio.client import Client, Interceptor

from adapters import temporal
from adapters.files import read_file
from adapters.logs import configure_logging, tell_unknown
from adapters.mysql import Pool
from adapters.reasons import reason_of
from adapters.tasks import end
from adapters.temporal import TEMPORAL_ERRORS
from scoreboard.settings import SettingsError, from_mapping
from worker.board.redis_board import RedisBoard
from worker.database.adoption import MigrationError
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.database.migrate import migrate
from worker.database.seed import seed
from worker.failpoints import Failpoints
from worker.probes import WorkerState, serving_probes
from worker.recovery.moments import moment
from worker.recovery.replay import Replay
from worker.runtime import BACKEND_ERRORS, connect_board, running_worker
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

STOP_TIMEOUT_S = 8.0
"""Longer than `runtime.SHUTDOWN_GRACE`, which ends the steps that still run."""


async def run_worker(settings: WorkerSettings, state: WorkerState) -> None:
    """Run until SIGTERM or SIGINT; waits for Temporal while that is unavailable."""
    tracing = _tracing(settings)
    beating = asyncio.create_task(state.beat())
    try:
        await _run_until_signal(settings, tracing, state)
    finally:
        beating.cancel()
        if tracing is not None:
            await asyncio.to_thread(tracing.shutdown)


async def _run_until_signal(
    settings: WorkerSettings, tracing: "TracerProvider | None", state: WorkerState
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    starting = asyncio.create_task(_connected(settings, tracing))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        await end([starting])
        return
    ready = asyncio.Event()
    serving = asyncio.create_task(_serve(starting.result(), settings, ready, stopping, state))
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        if not ready.is_set():
            # It still waits for MySQL, and nothing there watches the event.
            await end([serving])
        await asyncio.wait({serving}, timeout=STOP_TIMEOUT_S)
        await end([serving])
    if not serving.cancelled() and (error := serving.exception()):
        raise error


async def _serve(
    client: Client,
    settings: WorkerSettings,
    ready: asyncio.Event,
    stopping: asyncio.Event,
    state: WorkerState,
) -> None:
    async with running_worker(client, settings, state=state):
        ready.set()
        log.info("worker_ready", task_queue=settings.task_queue)
        await stopping.wait()
    log.info("worker_stopped")


async def _connected(settings: WorkerSettings, tracing: "TracerProvider | None") -> Client:
    interceptors: Sequence[Interceptor] = ()
    if tracing is not None:
        from adapters.tracing import temporal_interceptor

        interceptors = (temporal_interceptor(tracing),)
    return await temporal.connect(settings, interceptors)


def _tracing(settings: WorkerSettings) -> "TracerProvider | None":
    if not settings.otlp_endpoint:
        return None
    # Not at the top: without tracing the packages need not be installed.
    from adapters.tracing import provider

    return provider("scoreboard-worker", settings.otlp_endpoint, ratio=settings.trace_ratio)


async def run_seed(settings: WorkerSettings, users: int) -> None:
    """Migrate, add the users, and have the board show them."""
    pool = Pool(settings.mysql, size=1)
    client = connect_board(settings)
    try:
        await migrate(pool)
        added = await seed(pool, users)
        ledger = Ledger(pool, Failpoints(""))
        board = RedisBoard(client, ledger, stream_entries=settings.stream_entries)
        # An earlier run may have ended between its commit and its rebuild.
        if added or not await board.shows_every_user():
            await board.rebuild()
        log.info("seeded", users=max(2, users), added=added)
    finally:
        await client.aclose()
        await pool.close()


async def run_migrate(settings: WorkerSettings) -> None:
    """Bring the schema up to date and stop."""
    pool = Pool(settings.mysql, size=1)
    try:
        log.info("schema", version=await migrate(pool))
    finally:
        await pool.close()


async def run_replay(settings: WorkerSettings, since: datetime) -> int:
    """Bring back what MySQL lost since then; exit status 1 when a batch could not be read."""
    client = await Client.connect(**temporal.connect_arguments(settings))
    pool = Pool(settings.mysql, size=2)
    failpoints = Failpoints("")
    try:
        await migrate(pool)
        replay = Replay(
            client,
            # A case that was opened is opened again; its decision may follow.
            Ledger(
                pool,
                failpoints,
                replace(settings.fraud, open_cases_max=0),
                log_decisions=settings.log_requests,
            ),
            Cases(pool, failpoints, settings.fraud),
            task_queue=settings.task_queue,
        )
        found = await replay.run(since)
    finally:
        await pool.close()
    print(json.dumps(asdict(found)))
    return 1 if found.unreadable else 0


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="poll the task queue (the default)")
    commands.add_parser("migrate", help="bring the schema up to date")
    seeding = commands.add_parser("seed", help="add the demonstration's users")
    seeding.add_argument("--users", type=int, default=0, help="users 1 to N exist afterwards")
    replaying = commands.add_parser("replay", help="bring back from Temporal what MySQL lost")
    replaying.add_argument(
        "--since", type=moment, required=True, help="a duration (90m) or a time (2026-01-31T12:00Z)"
    )
    options = parser.parse_args(arguments)
    configure_logging()
    tell_unknown(os.environ)
    try:
        settings = from_mapping(WorkerSettings, os.environ, read_file)
    except SettingsError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    try:
        match options.command:
            case "migrate":
                uvloop.run(run_migrate(settings))
            case "seed":
                uvloop.run(run_seed(settings, options.users))
            case "replay":
                return uvloop.run(run_replay(settings, options.since))
            case _:
                state = WorkerState()
                with serving_probes(settings.metrics_host, settings.metrics_port, state):
                    uvloop.run(run_worker(settings, state))
    except SettingsError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    except (*BACKEND_ERRORS, *TEMPORAL_ERRORS, MigrationError) as error:
        print(f"worker: {reason_of(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
