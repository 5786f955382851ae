"""Traces of a worker's steps, for OpenTelemetry. With tracing off nothing here is imported.

Temporal's own interceptor makes a span of each step; the relay leaves the trace
of `publish` in Redis, for the process that writes the change to its listeners.
"""

from typing import Any

from opentelemetry import trace
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from adapters.redis import REDIS_ERRORS, Redis
from adapters.tracing import trace_context
from scoreboard import contract
from worker.workflows import steps

KEPT = 1000


class TraceRelay(Interceptor):
    """Leaves the trace of each `publish` beside the change that it shows."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Called by the worker."""
        return _Relay(next, self._redis)


class _Relay(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, client: Redis) -> None:
        super().__init__(following)
        self._redis = client

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().activity_type == steps.PUBLISH:
            carrier: dict[str, str] = {}
            trace_context.inject(carrier)
            if trace.get_current_span().get_span_context().trace_flags.sampled:
                # Before the change is shown, or its listeners would be faster.
                await self._leave(carrier["traceparent"], int(input.args[0]))
        return await super().execute_activity(input)

    async def _leave(self, traceparent: str, seq: int) -> None:
        try:
            await self._redis.zadd(contract.TRACES_KEY, {traceparent: seq})
            await self._redis.zremrangebyrank(contract.TRACES_KEY, 0, -KEPT - 1)
        except REDIS_ERRORS:
            # The step itself will fail the same way; a trace is not worth a retry.
            return
