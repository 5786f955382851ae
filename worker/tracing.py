"""Traces of a worker's steps, for OpenTelemetry. With tracing off nothing here is imported.

A batch names the trace that it goes on with. Its steps are events of the span `carry`, and
`publish` leaves its trace in Redis, for the process that writes the change to its listeners.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from temporalio.client import Client
from temporalio.contrib.opentelemetry import TracingInterceptor

from adapters.redis import REDIS_ERRORS, Redis
from adapters.tracing import current_traceparent, trace_context
from scoreboard import contract

KEPT = 1000


class StepTraces:
    """Spans of the batches that a worker carries; `client` has the interceptor that knows where
    they go."""

    def __init__(self, client: Client, redis: Redis) -> None:
        [self._tracer] = [
            each.tracer
            for each in client.config()["interceptors"]
            if isinstance(each, TracingInterceptor)
        ]
        self._redis = redis

    @contextmanager
    def carrying(self, traceparents: Sequence[str]) -> Iterator[None]:
        """A span in the first of these traces, with links to the others; none without any."""
        contexts = [trace_context.extract({"traceparent": each}) for each in traceparents if each]
        if not contexts:
            yield
            return
        links = [Link(trace.get_current_span(each).get_span_context()) for each in contexts[1:]]
        with self._tracer.start_as_current_span(
            "carry", contexts[0], kind=SpanKind.CONSUMER, links=links
        ):
            yield

    def begin(self, step: str) -> None:
        """A step begins in the activity under way."""
        trace.get_current_span().add_event(step)

    async def before_publish(self, seq: int) -> None:
        """Leave the trace before the change is shown, or its listeners would be faster."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return
        try:
            await self._redis.zadd(contract.TRACES_KEY, {current_traceparent(): seq})
            await self._redis.zremrangebyrank(contract.TRACES_KEY, 0, -KEPT - 1)
        except REDIS_ERRORS:
            # The step itself will fail the same way; a trace is not worth a retry.
            return
