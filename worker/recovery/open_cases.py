"""Opens cases again whose workflow Temporal has lost, so that they can be decided and expire.

MySQL says which are open. Not how a case ends: see `workflows.fraud_review`.
"""

import time

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from scoreboard import contract, ids
from worker.database.cases import Cases
from worker.workflows.fraud_review import FraudReview

log = structlog.get_logger()

YOUNG_S = 60
"""A case that was opened later than this may still get its workflow from its batch."""

LEAST_LIMIT_S = 1.0


async def reopen_cases(client: Client, cases: Cases, *, task_queue: str, limit_s: float) -> int:
    """Start the workflow of every open case that has none; how many were started.

    Each has what is left of `limit_s`. Safe from every worker: the workflow's id is the
    submission's. Raises TEMPORAL_ERRORS and MYSQL_ERRORS.
    """
    now_us = time.time_ns() // 1000
    wanted = {
        contract.review_workflow_id(ids.text(case.submission_id)): case
        async for case in cases.open(opened_before_us=now_us - YOUNG_S * 1_000_000)
    }
    if not wanted:
        return 0
    async for running in client.list_workflows(
        f'WorkflowType = "{contract.REVIEW_WORKFLOW}" AND TaskQueue = "{task_queue}"'
        ' AND ExecutionStatus = "Running"'
    ):
        wanted.pop(running.id, None)
    for workflow_id, case in wanted.items():
        left_s = limit_s - (now_us - case.opened_at_us) / 1_000_000
        await client.start_workflow(
            FraudReview.run,
            args=[ids.text(case.submission_id), max(LEAST_LIMIT_S, left_s)],
            id=workflow_id,
            task_queue=task_queue,
            # Also after one that has ended: MySQL, which was set back, says that it is open.
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
    if wanted:
        log.warning("cases_reopened", count=len(wanted))
    return len(wanted)
