"""The workflow that carries one batch of submissions from accepted to shown.

Not the work itself: see `activities`. Each step runs as a local activity, which
costs Temporal no write of its own; when that keeps failing, the same step goes
on as an ordinary activity that any worker may run and that never gives up.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from scoreboard import contract

VALIDATE = "validate"
RECORD = "record"
PUBLISH = "publish"
NOTIFY = "notify"
MALFORMED_BATCH = "MalformedBatch"

STEP_TIMEOUT = timedelta(seconds=10)

QUICK_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    backoff_coefficient=4.0,
    maximum_attempts=3,
    non_retryable_error_types=[MALFORMED_BATCH],
)
ENDLESS_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
    non_retryable_error_types=[MALFORMED_BATCH],
)


@workflow.defn(name=contract.BATCH_WORKFLOW)
class SubmissionBatch:
    """Validate, record, publish, notify: in this order, each as often as it takes."""

    @workflow.run
    async def run(self, batch: bytes) -> None:
        """`batch` is `contract.encode_batch`. Fails only for a batch that nobody can read."""
        batch_id = workflow.info().workflow_id.removeprefix(contract.batch_workflow_id(""))
        verdicts: bytes = await _step(VALIDATE, batch)
        last_seq: int = await _step(RECORD, batch, verdicts)
        await _step(PUBLISH, last_seq)
        await _step(NOTIFY, last_seq, batch_id)


async def _step(name: str, *arguments: Any) -> Any:
    try:
        return await workflow.execute_local_activity(
            name,
            args=arguments,
            result_type=_RESULTS.get(name),
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=QUICK_RETRIES,
        )
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.non_retryable:
            raise
    return await workflow.execute_activity(
        name,
        args=arguments,
        result_type=_RESULTS.get(name),
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=ENDLESS_RETRIES,
    )


_RESULTS: dict[str, type] = {VALIDATE: bytes, RECORD: int}
