"""Temporal as the API process uses it: hand over batches and ask about them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import Payload
from temporalio.api.common.v1 import WorkflowExecution as HistoryOf
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecution, WorkflowQueryFailedError
from temporalio.common import RawValue

from adapters.temporal import LOOK_UP_TIMEOUT, is_polled
from scoreboard import contract
from server.backends.lane import Lane

TASK_TIMEOUT = timedelta(seconds=5)
"""A worker killed in mid batch is detected after this; another one then takes over."""

QUEUE_CHECK_S = 5.0
LISTED_MAX = 100
EVENTS_PER_PAGE = 50


def batch_payload(batch: bytes, traceparent: str = "") -> RawValue:
    """A batch as its workflow takes it: bytes, and the word that its steps may run together."""
    metadata = {"encoding": b"binary/plain", contract.STEPS_TOGETHER: b"1"}
    if traceparent:
        metadata[contract.TRACEPARENT] = traceparent.encode()
    return RawValue(Payload(metadata=metadata, data=batch))


class Workflows:
    """Hands batches to the workers of one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        # A lane is of many traces, so each batch names its own instead.
        config = client.config()
        config["interceptors"] = []
        self._untraced = Client(**config)
        self.task_queue = task_queue
        self._lane = Lane(secrets.token_hex(8))
        running = f'TaskQueue = "{task_queue}" AND ExecutionStatus = "Running" AND WorkflowType ='
        self._batches = f'{running} "{contract.BATCH_WORKFLOW}"'
        self._lanes = f'{running} "{contract.LANE_WORKFLOW}"'
        self._checked_at = 0.0
        self.polled: bool | None = None
        """Whether a worker takes work from the queue; None when Temporal does not say."""

    async def start(
        self, batch_id: str, payload: bytes, *, timeout_s: float, traceparent: str = ""
    ) -> None:
        """Return once the batch is durable in this process's lane, a workflow that runs or begins
        with it.

        Raises TEMPORAL_ERRORS: then it may be there or not.
        """
        lane, last = self._lane.take(len(payload))
        await self._untraced.start_workflow(
            contract.LANE_WORKFLOW,
            id=lane,
            task_queue=self.task_queue,
            task_timeout=TASK_TIMEOUT,
            start_signal=contract.LANE_TAKE,
            start_signal_args=[batch_payload(payload, traceparent), batch_id, last],
            rpc_timeout=timedelta(seconds=timeout_s),
        )

    async def ping(self) -> None:
        """Raises TEMPORAL_ERRORS unless Temporal serves and has the namespace."""
        if time.monotonic() - self._checked_at > QUEUE_CHECK_S:
            self.polled = await is_polled(self.client, self.task_queue)
            self._checked_at = time.monotonic()
        if not await self.client.service_client.check_health(timeout=LOOK_UP_TIMEOUT):
            raise TimeoutError("Temporal does not serve")

    async def oldest_batch_age_s(self, at_least_s: float) -> float:
        """Age of the oldest batch of any process that has not ended, 0 when none is older than
        `at_least_s`. Of more than LISTED_MAX the age is that of one of them. Raises
        TEMPORAL_ERRORS.
        """
        now = datetime.now(UTC)
        before = (now - timedelta(seconds=at_least_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        began = [
            each.start_time
            async for each in self._list(
                f'{self._batches} AND StartTime < "{before}"', limit=LISTED_MAX
            )
        ]
        async for lane in self._list(self._lanes):
            first = await self._first_not_seen(lane)
            began += [] if first is None else [first]
        oldest_s = (now - min(began, default=now)).total_seconds()
        return oldest_s if oldest_s > at_least_s else 0.0

    async def running(self) -> set[str]:
        """The ids of all batches, of any process, that have not ended. Raises TEMPORAL_ERRORS.

        Lanes come first: a batch that leaves one meanwhile is found among the others.
        """
        lanes = [lane async for lane in self._list(self._lanes)]
        # A busy lane answers after its call: together they take no longer than one.
        found = set[str]().union(*await asyncio.gather(*map(self._unfinished, lanes)))
        async for each in self._list(self._batches):
            found.add(_batch_id(each.id))
        return found

    def _list(self, query: str, *, limit: int | None = None) -> AsyncIterator[WorkflowExecution]:
        return self.client.list_workflows(query, limit=limit, rpc_timeout=LOOK_UP_TIMEOUT)

    async def _unfinished(self, lane: WorkflowExecution) -> set[str]:
        """The ids of the batches that a lane has, and of those that go on by themselves."""
        handle = self.client.get_workflow_handle(lane.id, run_id=lane.run_id)
        found: set[str] = set()
        about = await handle.describe(rpc_timeout=LOOK_UP_TIMEOUT)
        # Only then: the query needs a worker, and an idle lane tells as much without one.
        if about.raw_description.HasField("pending_workflow_task"):
            try:
                found.update(
                    await handle.query(
                        contract.LANE_UNFINISHED,
                        result_type=list[str],
                        rpc_timeout=LOOK_UP_TIMEOUT,
                    )
                )
            except WorkflowQueryFailedError as error:
                raise TimeoutError(f"a worker does not know its lane: {error}") from error
            about = await handle.describe(rpc_timeout=LOOK_UP_TIMEOUT)
        children = about.raw_description.pending_children
        return found | {_batch_id(child.workflow_id) for child in children}

    async def _first_not_seen(self, lane: WorkflowExecution) -> datetime | None:
        """When a lane got the first batch that no worker has looked at; None without one."""
        first, token = None, b""
        while True:
            page = await self.client.workflow_service.get_workflow_execution_history_reverse(
                GetWorkflowExecutionHistoryReverseRequest(
                    namespace=self.client.namespace,
                    execution=HistoryOf(workflow_id=lane.id, run_id=lane.run_id),
                    maximum_page_size=EVENTS_PER_PAGE,
                    next_page_token=token,
                ),
                timeout=LOOK_UP_TIMEOUT,
            )
            for event in page.history.events:
                if event.HasField("workflow_task_completed_event_attributes"):
                    return first
                if event.HasField("workflow_execution_signaled_event_attributes"):
                    first = event.event_time.ToDatetime(UTC)
            token = page.next_page_token
            if not token:
                return first


def _batch_id(workflow_id: str) -> str:
    return workflow_id.removeprefix(contract.batch_workflow_id(""))
