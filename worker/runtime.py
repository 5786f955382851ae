"""Runs a worker on a connected Temporal client, alone or inside an API process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from adapters.health import Health
from adapters.health.clocks import CLOCK, ClockCheck, clocks
from adapters.mysql import MYSQL_ERRORS, Pool
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.redis import connect as connect_redis
from adapters.redis_rights import WORKER_COMMANDS, RedisProbe
from adapters.tasks import end
from scoreboard import backoff
from worker.activities import Activities, StepTraces
from worker.board.redis_board import RebuildFailed, RedisBoard
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.database.migrate import migrate
from worker.database.players import Players
from worker.failpoints import Failpoints
from worker.probes import WorkerState
from worker.recovery.open_cases import reopen_cases
from worker.settings import WorkerSettings
from worker.step_watch import StepWatch
from worker.workflows.board_refresh import BoardRefresh, ensure_schedule
from worker.workflows.fraud_review import FraudReview
from worker.workflows.player_change import PlayerChange
from worker.workflows.submission_batch import SubmissionBatch
from worker.workflows.submission_lane import SubmissionLane

log = structlog.get_logger()

BACKEND_ERRORS = (*MYSQL_ERRORS, *REDIS_ERRORS, RebuildFailed)
"""Errors of a service that is down or restarting; they pass once it is back."""

REDIS_CONNECTIONS_MAX = 128
"""More than the activities that may run at a time (below), the repair and its rebuild."""

REDIS_TIMEOUT_S = 5.0
"""A script that moves or swaps the ranking takes longer than the reads of an API process."""

SCHEDULE_LOOK_S = 60.0
"""How long a Temporal that has lost its data may be without the schedule, and cases without a
workflow."""

HEALTH_INTERVAL_S = 5.0
"""A separate worker's check of its services; each is a write."""

SHUTDOWN_GRACE = timedelta(seconds=3)
"""A step that runs at shutdown may finish in this time; after it, it is repeated elsewhere."""


@asynccontextmanager
async def running_worker(
    client: Client,
    settings: WorkerSettings,
    *,
    runner: WorkflowRunner | None = None,
    state: WorkerState | None = None,
) -> AsyncIterator[None]:
    """Migrate, then poll the task queue until the context ends.

    Waits without end for MySQL. On leaving, activities that run get a few
    seconds to finish; the rest is picked up by another worker.
    """
    pool = Pool(settings.mysql, size=settings.mysql_pool)
    redis_client = connect_board(settings)
    failpoints = Failpoints(settings.failpoints)
    ledger = Ledger(pool, failpoints, settings.fraud, log_decisions=settings.log_requests)
    cases = Cases(pool, failpoints, settings.fraud)
    board = RedisBoard(redis_client, ledger, stream_entries=settings.stream_entries)
    try:
        await _migrated(pool)
        watch = StepWatch()
        worker = Worker(
            client,
            task_queue=settings.task_queue,
            workflows=[SubmissionLane, SubmissionBatch, FraudReview, BoardRefresh, PlayerChange],
            activities=Activities(
                ledger,
                cases,
                board,
                Players(pool, failpoints),
                failpoints,
                review_limit_s=settings.fraud_review_limit_s,
                traces=_traces(settings, client, redis_client),
                watch=watch,
            ).all(),
            interceptors=[watch],
            # The sandbox costs more CPU than the whole batch; tests run inside it.
            workflow_runner=runner or UnsandboxedWorkflowRunner(),
            max_concurrent_workflow_tasks=32,
            max_concurrent_local_activities=64,
            max_concurrent_activities=16,
            graceful_shutdown_timeout=SHUTDOWN_GRACE,
        )
        async with worker:
            tasks = [
                asyncio.create_task(_keep_repaired(board, settings.heal_interval_s)),
                asyncio.create_task(_keep_scheduled(client, settings, cases)),
            ]
            if state is not None:
                health = Health(
                    {
                        "mysql": ledger.check_writable,
                        "redis": RedisProbe(redis_client, WORKER_COMMANDS).check,
                        "temporal": client.service_client.check_health,
                        CLOCK: ClockCheck(clocks(redis_client, ledger)).check,
                    },
                    trusted=(CLOCK,),
                    interval_s=HEALTH_INTERVAL_S,
                )
                state.missing, state.polling = lambda: health.unavailable, True
                tasks.append(asyncio.create_task(health.run()))
            try:
                yield
            finally:
                if state is not None:
                    state.polling = False
                await end(tasks)
    finally:
        await board.close()
        await redis_client.aclose()
        await pool.close()


def connect_board(settings: WorkerSettings) -> Redis:
    """The worker's client for the board in Redis."""
    return connect_redis(
        settings.redis,
        connections_max=REDIS_CONNECTIONS_MAX,
        socket_timeout_s=REDIS_TIMEOUT_S,
    )


def _traces(settings: WorkerSettings, client: Client, redis: Redis) -> StepTraces | None:
    if not settings.otlp_endpoint:
        return None
    # Not at the top: who traces nothing need not have the packages.
    from worker import tracing

    return tracing.StepTraces(client, redis)


async def _migrated(pool: Pool) -> None:
    logged = ""
    while True:
        try:
            await migrate(pool)
            return
        except BACKEND_ERRORS as error:
            reason = reason_of(error)
            if reason != logged:
                log.warning("waiting_for_mysql", error=reason)
            logged = reason
            await asyncio.sleep(backoff.MIGRATION.delay_s(0))


async def _keep_scheduled(client: Client, settings: WorkerSettings, cases: Cases) -> None:
    """See to it that the refresh is scheduled and every open case has its workflow, for as long as
    the worker runs."""
    unavailable = False
    while True:
        try:
            await ensure_schedule(
                client, task_queue=settings.task_queue, every_s=settings.refresh_interval_s
            )
            await reopen_cases(
                client,
                cases,
                task_queue=settings.task_queue,
                limit_s=settings.fraud_review_limit_s,
            )
            unavailable = False
        except (RPCError, *MYSQL_ERRORS) as error:
            if not unavailable:
                log.warning("schedule_not_set", error=reason_of(error))
            unavailable = True
        except Exception:
            log.exception("schedule_not_set")
            unavailable = True
        await asyncio.sleep(backoff.REFRESH_SCHEDULE.delay_s(0) if unavailable else SCHEDULE_LOOK_S)


async def _keep_repaired(board: RedisBoard, interval_s: float) -> None:
    """Repair Redis for as long as the worker runs; logs once why it cannot, once when it can."""
    logged = ""
    while True:
        try:
            await board.repair()
            if logged:
                log.info("board_reachable_again")
            logged = ""
        except BACKEND_ERRORS as error:
            reason = reason_of(error)
            if not logged:
                log.warning("board_out_of_reach", error=reason)
            logged = reason
        except Exception:
            # Never let an unexpected error end the repair loop.
            log.exception("board_not_healed")
        await asyncio.sleep(interval_s)
