"""How a workflow runs a step: first as a local activity, then as a regular activity.

A local activity costs Temporal no write of its own. When it keeps failing, the same
step continues as a regular activity with unlimited retries, which any worker may
run. Only errors of a type in NEVER_RETRIED end a workflow.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.workflow import ParentClosePolicy

from scoreboard import backoff, contract
from scoreboard.backoff import Backoff

CARRY = "carry"
"""All steps of a batch in one call: see `Activities.carry`."""

CARRY_TOGETHER = contract.CARRY_TOGETHER
"""The same for several batches: see `Activities.carry_together`."""

VALIDATE = "validate"
RECORD = "record"
PUBLISH = "publish"
NOTIFY = "notify"
RESOLVE = "resolve"
CHANGE_PLAYER = "change_player"
REFRESH = "refresh"

MALFORMED_BATCH = "MalformedBatch"
UNKNOWN_CASE = "UnknownCase"
NEVER_RETRIED = [MALFORMED_BATCH, UNKNOWN_CASE]

STEP_TIMEOUT = timedelta(seconds=10)


def retry_policy(policy: Backoff) -> RetryPolicy:
    """The policy in Temporal's words."""
    return RetryPolicy(
        initial_interval=timedelta(seconds=policy.first_s),
        backoff_coefficient=policy.factor,
        maximum_interval=timedelta(seconds=policy.max_s),
        maximum_attempts=policy.attempts_max,
        non_retryable_error_types=NEVER_RETRIED,
    )


async def run_step(name: str, *arguments: Any, result_type: type | None = None) -> Any:
    """Run the activity `name` to its end, however often it takes. Raises FailureError
    only for what no repetition can heal, and when the workflow is cancelled."""
    try:
        return await _locally(name, arguments, result_type, backoff.LOCAL_STEP)
    except FailureError as error:
        if _is_final(error):
            raise
    return await workflow.execute_activity(
        name,
        args=arguments,
        result_type=result_type,
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=retry_policy(backoff.ANYWHERE_STEP),
    )


async def try_step(name: str, *arguments: Any, result_type: type) -> Any:
    """Run the activity `name` once, as a local activity; None when it failed or took too long.

    Raises FailureError like `run_step`.
    """
    try:
        return await _locally(name, arguments, result_type, backoff.ONCE)
    except FailureError as error:
        if _is_final(error):
            raise
        return None


async def _locally(
    name: str, arguments: Sequence[Any], result_type: type | None, policy: Backoff
) -> Any:
    return await workflow.execute_local_activity(
        name,
        args=arguments,
        result_type=result_type,
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=retry_policy(policy),
    )


async def start_apart(run: Any, *arguments: Any, workflow_id: str, **options: Any) -> None:
    """Start a workflow that outlives this one, unless one of its id has been started already."""
    try:
        await workflow.start_child_workflow(
            run,
            args=arguments,
            id=workflow_id,
            parent_close_policy=ParentClosePolicy.ABANDON,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            **options,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("started already", extra={"workflow_id": workflow_id})


def _is_final(error: FailureError) -> bool:
    """Whether no repetition can heal it. A local activity that timed out raises ActivityError, as
    documented; one that failed raises its ApplicationError itself."""
    cause = error.cause if isinstance(error, ActivityError) else error
    hopeless = isinstance(cause, ApplicationError) and (
        cause.non_retryable or cause.type in NEVER_RETRIED
    )
    return hopeless or is_cancelled_exception(error)
