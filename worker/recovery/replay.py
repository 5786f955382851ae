"""Brings back from Temporal what MySQL has lost: batches, and decisions of cases. Exactly once.

After a fail-over or a restore that lost the last commits, Temporal still has the input of every
batch for the namespace's retention. Each is looked up in the ledger, and what is missing is
decided again, as it was when it was accepted; the ledger's primary key makes a second replay find
nothing to do. Not the board: the workers bring it forward by themselves.
"""

import heapq
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.api.common.v1 import WorkflowExecution as HistoryOf
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.reasons import reason_of
from scoreboard import contract, ids
from scoreboard.domain import Decision, Submission
from scoreboard.rules import screen
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.workflows.fraud_review import CaseState, FraudReview

log = structlog.get_logger()

EVENTS_PER_PAGE = 200
CALL_TIMEOUT = timedelta(seconds=10)


@dataclass(kw_only=True)
class Replayed:
    """What a replay found. `brought_back` submissions were missing in MySQL, `unreadable` batches
    could not be read, and `decided` cases got the decision that they had."""

    batches: int = 0
    submissions: int = 0
    brought_back: int = 0
    held: int = 0
    unreadable: int = 0
    decided: int = 0


class _Accepted(NamedTuple):
    """A batch as a history has it, and when it got there."""

    at: datetime
    workflow: str
    payloads: Sequence[Payload]


class Replay:
    """One pass over the batches of a task queue."""

    def __init__(self, client: Client, ledger: Ledger, cases: Cases, *, task_queue: str) -> None:
        self._client = client
        self._ledger = ledger
        self._cases = cases
        self._task_queue = task_queue
        self.found = Replayed()

    async def run(self, since: datetime) -> Replayed:
        """Replay what began at `since` or later. Raises TEMPORAL_ERRORS and MYSQL_ERRORS; beginning
        again is safe."""
        await self._tell_retention(since)
        async with aclosing(self._in_order(since)) as batches:
            async for batch in batches:
                await self._replay(batch)
        await self._decide_again()
        log.info("replayed", since=since.isoformat(), **asdict(self.found))
        return self.found

    async def _tell_retention(self, since: datetime) -> None:
        """Log it when Temporal has forgotten a part of that time."""
        try:
            answer = await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._client.namespace), timeout=CALL_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.PERMISSION_DENIED:
                # A narrow API key.
                return
            raise
        kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
        kept_since = datetime.now(UTC) - kept
        if since < kept_since:
            log.warning(
                "replay_reaches_behind_the_retention",
                namespace=self._client.namespace,
                retention_h=round(kept.total_seconds() / 3600, 1),
                kept_since=kept_since.isoformat(timespec="seconds"),
            )

    async def _in_order(self, since: datetime) -> AsyncGenerator["_Accepted", None]:
        """All batches in the order in which they were accepted, a page of each open history in
        memory."""
        sources = [source async for source in self._sources(since)]
        # A history is opened once its turn has come.
        heap: list[tuple[datetime, int, _Accepted | None]] = [
            (began_at, number, None) for number, (began_at, _) in enumerate(sources)
        ]
        heapq.heapify(heap)
        while heap:
            _, number, batch = heapq.heappop(heap)
            if batch is not None:
                yield batch
            if following := await anext(sources[number][1], None):
                heapq.heappush(heap, (following.at, number, following))

    async def _sources(
        self, since: datetime
    ) -> AsyncGenerator[tuple[datetime, AsyncGenerator["_Accepted", None]], None]:
        """Since when, and the batches of each workflow that may have taken one."""
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        here = f'TaskQueue = "{self._task_queue}" AND WorkflowType ='
        lanes = set()
        async for lane in self._client.list_workflows(
            f'{here} "{contract.LANE_WORKFLOW}"'
            f' AND (ExecutionStatus = "Running" OR CloseTime >= "{start}")'
        ):
            lanes.add(lane.id)
            yield lane.start_time, self._taken(lane, since)
        async for each in self._client.list_workflows(
            f'{here} "{contract.BATCH_WORKFLOW}" AND StartTime >= "{start}"'
        ):
            # Of a lane's batches its signals tell.
            if each.parent_id not in lanes:
                yield each.start_time, self._started_with(each)

    async def _taken(
        self, lane: WorkflowExecution, since: datetime
    ) -> AsyncGenerator["_Accepted", None]:
        handle = self._client.get_workflow_handle(lane.id, run_id=lane.run_id)
        async for event in handle.fetch_history_events(
            page_size=EVENTS_PER_PAGE, rpc_timeout=CALL_TIMEOUT
        ):
            at = event.event_time.ToDatetime(UTC)
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name == contract.LANE_TAKE and at >= since:
                yield _Accepted(at, lane.id, list(signal.input.payloads))

    async def _started_with(self, batch: WorkflowExecution) -> AsyncGenerator["_Accepted", None]:
        answer = await self._client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=self._client.namespace,
                execution=HistoryOf(workflow_id=batch.id, run_id=batch.run_id),
                maximum_page_size=1,
            ),
            timeout=CALL_TIMEOUT,
        )
        started = answer.history.events[0].workflow_execution_started_event_attributes
        yield _Accepted(batch.start_time, batch.id, list(started.input.payloads))

    async def _replay(self, accepted: "_Accepted") -> None:
        batch = await self._decoded(accepted)
        self.found.batches += 1
        if batch is None:
            self.found.unreadable += 1
            return
        self.found.submissions += len(batch)
        known = await self._ledger.decided_ids([item.id for item in batch])
        missing = [item for item in batch if item.id not in known]
        if not missing:
            return
        users = await self._ledger.known_users(item.user_id for item in missing)
        recorded = await self._ledger.record([(item, screen(item, users)) for item in missing])
        self.found.brought_back += len(missing)
        self.found.held += len(recorded.held)

    async def _decoded(self, accepted: "_Accepted") -> list[Submission] | None:
        """The submissions of a batch; None when nobody can read it."""
        codec = self._client.data_converter.payload_codec
        try:
            payloads = await codec.decode(accepted.payloads) if codec else accepted.payloads
            return contract.decode_batch(payloads[0].data)
        except Exception as error:
            # Of another deployment, or written with another codec.
            log.warning("batch_unreadable", workflow=accepted.workflow, error=reason_of(error))
            return None

    async def _decide_again(self) -> None:
        """End cases that are open in MySQL and were decided in Temporal."""
        for submission_id in [case.submission_id async for case in self._cases.open()]:
            handle = self._client.get_workflow_handle(
                contract.review_workflow_id(ids.text(submission_id))
            )
            try:
                if (await handle.describe()).status is not WorkflowExecutionStatus.COMPLETED:
                    continue
                state: CaseState = await handle.query(FraudReview.state, rpc_timeout=CALL_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    log.warning("case_unreadable", error=reason_of(error))
                continue
            if state.decision:
                await self._cases.resolve(submission_id, Decision(state.decision), state.decided_by)
                self.found.decided += 1
