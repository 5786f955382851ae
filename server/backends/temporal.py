"""Temporal as the API process uses it: connect in the background, start batches, ask about them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client, Interceptor, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig

from scoreboard import contract
from scoreboard.settings import ServiceSettings
from scoreboard.temporal import connect_arguments, security

log = structlog.get_logger()

TASK_TIMEOUT = timedelta(seconds=5)
"""A worker killed in mid batch is noticed after this; another one then takes over."""

LOOK_UP_TIMEOUT = timedelta(seconds=2)
CONNECT_RETRY_S = 0.5
CONNECT_RETRY_MAX_S = 2.0

TEMPORAL_ERRORS = (RPCError, TimeoutError)
"""What a start raises when Temporal is away, slow or refuses."""


async def connect(settings: ServiceSettings, interceptors: Sequence[Interceptor] = ()) -> Client:
    """A connected client; tries until it is. Says once that it waits, and once that it is over."""
    delay_s = CONNECT_RETRY_S
    waiting = False
    while True:
        try:
            # Compression costs both sides more CPU than the bytes are worth.
            client = await Client.connect(
                **connect_arguments(settings, TLSConfig),
                grpc_compression=GrpcCompression.NONE,
                interceptors=interceptors,
            )
        except RuntimeError as error:
            # The core's only way to say that it could not connect.
            if not waiting:
                log.warning(
                    "waiting_for_temporal",
                    error=str(error).splitlines()[0],
                    tls=security(settings),
                )
            waiting = True
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 1.5, CONNECT_RETRY_MAX_S)
        else:
            if waiting:
                log.info("temporal_reached")
            return client


class Workflows:
    """Starts batches on one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        self._task_queue = task_queue

    async def start(self, batch_id: str, payload: bytes, *, timeout_s: float) -> None:
        """Return once the batch is durable in a started workflow.

        Raises TEMPORAL_ERRORS: then it may have started or not.
        """
        try:
            await self.client.start_workflow(
                contract.BATCH_WORKFLOW,
                payload,
                id=contract.batch_workflow_id(batch_id),
                task_queue=self._task_queue,
                task_timeout=TASK_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # A worker on this client, if there is one, gets the first task with the answer.
                request_eager_start=True,
                rpc_timeout=timedelta(seconds=timeout_s),
            )
        except WorkflowAlreadyStartedError:
            # The id is this batch's alone: an attempt whose answer got lost did start it.
            return

    async def is_running(self, batch_id: str) -> bool:
        """Whether a batch is still at work; True when Temporal does not say."""
        handle = self.client.get_workflow_handle(contract.batch_workflow_id(batch_id))
        try:
            description = await handle.describe(rpc_timeout=LOOK_UP_TIMEOUT)
        except RPCError as error:
            return error.status is not RPCStatusCode.NOT_FOUND
        return description.status is WorkflowExecutionStatus.RUNNING

    async def ping(self) -> None:
        """Raises TEMPORAL_ERRORS unless Temporal serves."""
        if not await self.client.service_client.check_health(timeout=LOOK_UP_TIMEOUT):
            raise TimeoutError("Temporal does not serve")
