"""`python -m worker`: run a worker; `migrate` and `seed` prepare the database.

Exit status: 0 after a signal or finished work, 1 when it failed, 2 for bad
settings or arguments.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import structlog
import uvloop
from temporalio.client import Client, Interceptor
from temporalio.service import TLSConfig

from scoreboard.settings import SettingsError, from_mapping
from scoreboard.temporal import connect_arguments, security
from worker.board import RedisBoard, connect
from worker.failpoints import Failpoints
from worker.ledger import Ledger
from worker.metrics import serving_metrics
from worker.migrate import MigrationError, migrate
from worker.mysql import Pool
from worker.runtime import BACKEND_ERRORS, START_RETRY_S, running_worker
from worker.seed import seed
from worker.settings import WorkerSettings, read_file
from worker.tasks import end

log = structlog.get_logger()


def configure_logging() -> None:
    """One line per event: readable on a terminal, JSON otherwise."""
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


async def run_worker(settings: WorkerSettings) -> None:
    """Run until SIGTERM or SIGINT; waits for Temporal when it is away."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    starting = asyncio.create_task(_connected(settings))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    ready = asyncio.Event()
    serving = asyncio.create_task(_serve(starting.result(), settings, ready, stopping))
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        if not ready.is_set():
            # It waits for MySQL, where no one looks at the event.
            await end([serving])
        await asyncio.wait({serving}, timeout=8)
        await end([serving])
    if not serving.cancelled() and (error := serving.exception()):
        raise error


async def _serve(
    client: Client, settings: WorkerSettings, ready: asyncio.Event, stopping: asyncio.Event
) -> None:
    async with running_worker(client, settings):
        ready.set()
        log.info("worker_ready", task_queue=settings.task_queue)
        await stopping.wait()
    log.info("worker_stopped")


async def _connected(settings: WorkerSettings) -> Client:
    waiting = False
    interceptors: Sequence[Interceptor] = ()
    if settings.otlp_endpoint:
        # Not at the top: who traces nothing need not have the packages.
        from worker.tracing import client_interceptors

        interceptors = client_interceptors(settings.otlp_endpoint, settings.trace_ratio)
    while True:
        try:
            return await Client.connect(
                **connect_arguments(settings, TLSConfig), interceptors=interceptors
            )
        except RuntimeError as error:
            # The SDK reports a server that is away as a bare RuntimeError.
            if not waiting:
                log.warning("waiting_for_temporal", error=str(error)[:400], tls=security(settings))
            waiting = True
            await asyncio.sleep(START_RETRY_S)


async def run_seed(settings: WorkerSettings, users: int) -> None:
    """Migrate, add the users, and have the board show them."""
    pool = Pool(settings.mysql, size=1)
    client = connect(settings.redis)
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


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="poll the task queue (the default)")
    commands.add_parser("migrate", help="bring the schema up to date")
    seeding = commands.add_parser("seed", help="add the demonstration's users")
    seeding.add_argument("--users", type=int, default=0, help="users 1 to N exist afterwards")
    options = parser.parse_args(arguments)
    configure_logging()
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
            case _:
                with serving_metrics(settings.metrics_host, settings.metrics_port):
                    uvloop.run(run_worker(settings))
    except (*BACKEND_ERRORS, MigrationError) as error:
        print(f"worker: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
