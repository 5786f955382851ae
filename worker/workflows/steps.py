"""How a workflow runs a step: first as a local activity, then as a regular activity.

A local activity costs Temporal no write of its own. When it keeps failing, the same
step continues as a regular activity with unlimited retries, which any worker may
run. Only errors of a type in NEVER_RETRIED end a workflow.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from scoreboard import backoff
from scoreboard.backoff import Backoff

VALIDATE = "validate"
RECORD = "record"
PUBLISH = "publish"
NOTIFY = "notify"
RESOLVE = "resolve"
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
        return await workflow.execute_local_activity(
            name,
            args=arguments,
            result_type=result_type,
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=retry_policy(backoff.LOCAL_STEP),
        )
    except FailureError as error:
        # A local activity that timed out raises ActivityError, as documented; one that
        # failed raises its ApplicationError itself.
        cause = error.cause if isinstance(error, ActivityError) else error
        hopeless = isinstance(cause, ApplicationError) and (
            cause.non_retryable or cause.type in NEVER_RETRIED
        )
        if hopeless or is_cancelled_exception(error):
            raise
    return await workflow.execute_activity(
        name,
        args=arguments,
        result_type=result_type,
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=retry_policy(backoff.ANYWHERE_STEP),
    )
