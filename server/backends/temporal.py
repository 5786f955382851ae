"""Temporal as the API process uses it: start batches and ask about them."""

import time
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import RawValue, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import LOOK_UP_TIMEOUT, is_polled
from scoreboard import contract

TASK_TIMEOUT = timedelta(seconds=5)
"""A worker killed in mid batch is detected after this; another one then takes over."""

QUEUE_CHECK_S = 5.0
LISTED_MAX = 100


def batch_payload(batch: bytes) -> RawValue:
    """A batch as its workflow takes it: bytes, and the word that its steps may run together."""
    metadata = {"encoding": b"binary/plain", contract.STEPS_TOGETHER: b"1"}
    return RawValue(Payload(metadata=metadata, data=batch))


class Workflows:
    """Starts batches on one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        self._task_queue = task_queue
        self._running = (
            f'WorkflowType = "{contract.BATCH_WORKFLOW}" AND TaskQueue = "{task_queue}"'
            ' AND ExecutionStatus = "Running"'
        )
        self._checked_at = 0.0
        self.polled: bool | None = None
        """Whether a worker takes work from the queue; None when Temporal does not say."""

    async def start(self, batch_id: str, payload: bytes, *, timeout_s: float) -> None:
        """Return once the batch is durable in a started workflow.

        Raises TEMPORAL_ERRORS: then it may have started or not.
        """
        try:
            await self.client.start_workflow(
                contract.BATCH_WORKFLOW,
                batch_payload(payload),
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
        """Raises TEMPORAL_ERRORS unless Temporal serves and has the namespace."""
        if time.monotonic() - self._checked_at > QUEUE_CHECK_S:
            self.polled = await is_polled(self.client, self._task_queue)
            self._checked_at = time.monotonic()
        if not await self.client.service_client.check_health(timeout=LOOK_UP_TIMEOUT):
            raise TimeoutError("Temporal does not serve")

    async def oldest_batch_age_s(self, at_least_s: float) -> float:
        """Age of the oldest batch of any process that still runs, 0 when none is older than
        `at_least_s`. Of more than LISTED_MAX the age is that of one of them. Raises
        TEMPORAL_ERRORS.
        """
        now = datetime.now(UTC)
        before = (now - timedelta(seconds=at_least_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = self.client.list_workflows(
            f'{self._running} AND StartTime < "{before}"',
            limit=LISTED_MAX,
            rpc_timeout=LOOK_UP_TIMEOUT,
        )
        ages = [(now - each.start_time).total_seconds() async for each in found]
        return max(ages, default=0.0)

    async def running(self) -> set[str]:
        """The workflow ids of all batches, of any process, that still run. Raises
        TEMPORAL_ERRORS."""
        found = self.client.list_workflows(self._running, rpc_timeout=LOOK_UP_TIMEOUT)
        return {each.id async for each in found}
