"""Peer "naive": the workflow as the specification reads, four ordinary activities one by one."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from benchmarks.peers.apps.naive_activities import Update

_TIMEOUT = timedelta(seconds=10)
_RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=10)


@workflow.defn
class ScoreUpdate:
    """One submission: validate, update the database, update Redis, notify."""

    @workflow.run
    async def run(self, update: Update) -> int:
        """The user's new score."""
        name = await workflow.execute_activity(
            "validate_update",
            update,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRIES,
        )
        score: int = await workflow.execute_activity(
            "update_database",
            update,
            result_type=int,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRIES,
        )
        await workflow.execute_activity(
            "publish_to_redis",
            args=[name, score],
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRIES,
        )
        await workflow.execute_activity(
            "notify_clients",
            args=[name, score],
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRIES,
        )
        return score
