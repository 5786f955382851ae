"""Traces of a worker's steps, for OpenTelemetry. With tracing off nothing here is imported.

Temporal's own interceptor makes a span of each step; the relay leaves the trace
of `publish` in Redis, for the process that writes the change to its listeners.
"""

from typing import Any

import redis.asyncio
import redis.exceptions
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from scoreboard import contract
from worker import steps

KEPT = 1000
_context = TraceContextTextMapPropagator()


def client_interceptors(endpoint: str, ratio: float) -> list[ClientInterceptor]:
    """For the client of a worker that has its process to itself."""
    share = TraceIdRatioBased(ratio)
    provider = TracerProvider(
        # The id decides, as in `server.observe.tracing`.
        sampler=ParentBased(
            share, remote_parent_sampled=share, remote_parent_not_sampled=ALWAYS_OFF
        ),
        resource=Resource.create({"service.name": "scoreboard-worker"}),
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
    )
    return [TracingInterceptor(provider.get_tracer("temporalio"))]


class TraceRelay(Interceptor):
    """Leaves the trace of each `publish` beside the change that it shows."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._redis = client

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Called by the worker."""
        return _Relay(next, self._redis)


class _Relay(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, client: Any) -> None:
        super().__init__(following)
        self._redis = client

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().activity_type == steps.PUBLISH:
            carrier: dict[str, str] = {}
            _context.inject(carrier)
            if trace.get_current_span().get_span_context().trace_flags.sampled:
                # Before the change is shown, or its listeners would be faster.
                await self._leave(carrier["traceparent"], int(input.args[0]))
        return await super().execute_activity(input)

    async def _leave(self, traceparent: str, seq: int) -> None:
        try:
            await self._redis.zadd(contract.TRACES_KEY, {traceparent: seq})
            await self._redis.zremrangebyrank(contract.TRACES_KEY, 0, -KEPT - 1)
        except (redis.exceptions.RedisError, OSError):
            # The step itself will find that out; a trace is worth no retry.
            return
