"""Traces of a worker's steps, for OpenTelemetry. With tracing off nothing here is imported.

Temporal's own interceptor makes a span of each activity. A batch's steps are events of the span
of `carry`, and `publish` leaves its trace in Redis, for the process that writes the change to
its listeners.
"""

from opentelemetry import trace

from adapters.redis import REDIS_ERRORS, Redis
from adapters.tracing import trace_context
from scoreboard import contract

KEPT = 1000


class StepTraces:
    """Tells the current span which step begins, and leaves the trace of what is published."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    def begin(self, step: str) -> None:
        """A step begins in the activity under way."""
        trace.get_current_span().add_event(step)

    async def before_publish(self, seq: int) -> None:
        """Leave the trace before the change is shown, or its listeners would be faster."""
        carrier: dict[str, str] = {}
        trace_context.inject(carrier)
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return
        try:
            await self._redis.zadd(contract.TRACES_KEY, {carrier["traceparent"]: seq})
            await self._redis.zremrangebyrank(contract.TRACES_KEY, 0, -KEPT - 1)
        except REDIS_ERRORS:
            # The step itself will fail the same way; a trace is not worth a retry.
            return
