"""Brings back from Temporal what MySQL has lost: batches, and decisions of cases. Exactly once.

After a fail-over or a restore that lost the last commits, Temporal still has the input of every
batch for the namespace's retention. Each is looked up in the ledger, and what is missing is
decided again, as it was when it was accepted; the ledger's primary key makes a second replay find
nothing to do. Not the board: the workers bring it forward by themselves.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.reasons import reason_of
from scoreboard import contract, ids
from scoreboard.domain import Decision, Submission
from scoreboard.rules import screen
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.workflows.fraud_review import CaseState, FraudReview

log = structlog.get_logger()

AT_ONCE = 8
"""Histories that are read at a time: hundreds a second, far below a namespace's limit."""

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
        batches = await self._batches(since)
        for first in range(0, len(batches), AT_ONCE):
            await self._replay(batches[first : first + AT_ONCE])
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

    async def _batches(self, since: datetime) -> list[tuple[str, str]]:
        """Workflow and run ids, in the order in which they were accepted."""
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = self._client.list_workflows(
            f'WorkflowType = "{contract.BATCH_WORKFLOW}" AND TaskQueue = "{self._task_queue}"'
            f' AND StartTime >= "{start}"'
        )
        batches = [(each.start_time, each.id, each.run_id) async for each in found]
        return [(workflow_id, run_id) for _, workflow_id, run_id in sorted(batches)]

    async def _replay(self, executions: Sequence[tuple[str, str]]) -> None:
        batches = await asyncio.gather(*(self._input(*each) for each in executions))
        for batch in batches:
            self.found.batches += 1
            if batch is None:
                self.found.unreadable += 1
                continue
            self.found.submissions += len(batch)
            known = await self._ledger.decided_ids([item.id for item in batch])
            missing = [item for item in batch if item.id not in known]
            if not missing:
                continue
            users = await self._ledger.known_users(item.user_id for item in missing)
            recorded = await self._ledger.record([(item, screen(item, users)) for item in missing])
            self.found.brought_back += len(missing)
            self.found.held += len(recorded.held)

    async def _input(self, workflow_id: str, run_id: str) -> list[Submission] | None:
        """What a batch was started with; None when nobody can read it."""
        answer = await self._client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=self._client.namespace,
                execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                maximum_page_size=1,
            ),
            timeout=CALL_TIMEOUT,
        )
        started = answer.history.events[0].workflow_execution_started_event_attributes
        codec = self._client.data_converter.payload_codec
        try:
            payloads = list(started.input.payloads)
            payloads = await codec.decode(payloads) if codec else payloads
            return contract.decode_batch(payloads[0].data)
        except Exception as error:
            # Of another deployment, or written with another codec.
            log.warning("batch_unreadable", workflow=workflow_id, error=reason_of(error))
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
