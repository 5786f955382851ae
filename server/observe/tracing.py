"""Traces from the POST to the write on the event streams, for OpenTelemetry. Off by default.

With tracing off nothing here is imported. A batch carries many submissions: its
span continues the first one's trace and links to the others. Temporal hands the
trace on to the steps; the last of them leaves it in Redis beside the change
(`worker.tracing`), where the hub's process finds it after it has written.

Whether a trace is kept follows from its id, in every process alike: nobody can
make the server keep more than its share by asking for it.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind
from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Interceptor

from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS, Redis
from adapters.tracing import current_traceparent, provider, temporal_interceptor, trace_context
from scoreboard import contract, ids

log = structlog.get_logger()

Handler = Callable[[Request], Coroutine[Any, Any, HTTPResponse]]

SUBMISSION_SPAN = f"POST {contract.UPDATE_PATH}"
LINKS_MAX = 32
LOOK_AFTER_S = 1.0
"""A change can reach its listeners before its `publish` has left the trace: by the worker's
healing or out of the ledger."""

WRITES_MAX = 1000
"""Writes whose traces have not been looked up; of more the oldest go without their span."""


class _Write(NamedTuple):
    """Changes that have been written to all listeners, and when (Unix time)."""

    first: int
    last: int
    began_ns: int
    ended_ns: int
    listeners: int


class _Ids(RandomIdGenerator):
    """Random ids; the next trace gets `trace_id` unless that is 0."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        """The chosen id, once, else a random one."""
        chosen, self.trace_id = self.trace_id, 0
        return chosen or super().generate_trace_id()


class Tracing:
    """The spans of an API process."""

    def __init__(self, endpoint: str, *, ratio: float, redis: Redis) -> None:
        self._bound = TraceIdRatioBased(ratio).bound
        self._ids = _Ids()
        self._provider = provider("scoreboard-api", endpoint, ratio=ratio, id_generator=self._ids)
        self._tracer = self._provider.get_tracer("scoreboard")
        self._redis = redis
        # Of submissions whose request is open, by id; only those that are kept.
        self._open: dict[bytes, Span] = {}
        self._writes: deque[_Write] = deque(maxlen=WRITES_MAX)
        self._look: asyncio.TimerHandle | None = None
        self._looking: set[asyncio.Task[None]] = set()

    def interceptors(self) -> list[Interceptor]:
        """What makes a Temporal client, and a worker on it, hand traces on."""
        return [temporal_interceptor(self._provider)]

    def around(self, name: str, handler: Handler) -> Handler:
        """The handler with a span for each request."""

        async def traced(request: Request) -> HTTPResponse:
            parent = trace_context.extract(dict(request.headers))
            with self._tracer.start_as_current_span(name, parent, kind=SpanKind.SERVER) as span:
                try:
                    response = await handler(request)
                finally:
                    for submission_id in [key for key, one in self._open.items() if one is span]:
                        del self._open[submission_id]
                span.set_attribute("http.response.status_code", response.status)
                return response

        return traced

    def begin_span(
        self, traceparent: str | None, submission_id: bytes
    ) -> Callable[[int], None] | None:
        """A span for a submission on the fast path; end it by calling the result with the status.

        None unless the trace is sampled, for a fraction of a microsecond. `traceparent` must be
        well formed.
        """
        if traceparent is None:
            trace_id = random.getrandbits(128)
            if trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
                return None
            parent = Context()
            self._ids.trace_id = trace_id
        else:
            # The caller's own decision first: ours can only keep less.
            trace_id, flags = int(traceparent[3:35], 16), int(traceparent[-2:], 16)
            if not flags & 1 or trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
                return None
            parent = trace_context.extract({"traceparent": traceparent}, Context())
        span = self._tracer.start_span(SUBMISSION_SPAN, parent, kind=SpanKind.SERVER)
        self._note(span, submission_id)

        def end(status: int) -> None:
            if self._open.get(submission_id) is span:
                del self._open[submission_id]
            span.set_attribute("http.response.status_code", status)
            span.end()

        return end

    def note(self, submission_id: bytes) -> None:
        """The request that is being handled submits this."""
        self._note(trace.get_current_span(), submission_id)

    def _note(self, span: Span, submission_id: bytes) -> None:
        if span.is_recording():
            self._open[submission_id] = span
            span.set_attribute("scoreboard.submission_id", ids.text(submission_id))

    @asynccontextmanager
    async def batch(self, batch_id: str, payload: bytes) -> AsyncIterator[str]:
        """A span around the hand-over of a batch, in the trace of its first submission.

        Gives the W3C trace that the batch goes on with, empty without one.
        """
        submissions = contract.decode_batch(payload) if self._open else []
        spans = [self._open[item.id] for item in submissions if item.id in self._open]
        if not spans:
            yield ""
            return
        with self._tracer.start_as_current_span(
            "start batch",
            trace.set_span_in_context(spans[0]),
            kind=SpanKind.PRODUCER,
            links=[Link(span.get_span_context()) for span in spans[1 : LINKS_MAX + 1]],
            attributes={
                "scoreboard.batch_id": batch_id,
                "scoreboard.batch_size": len(submissions),
            },
        ):
            yield current_traceparent()

    def written(self, first: int, last: int, began_s: float, listeners: int) -> None:
        """The changes `first` to `last` have been written to all listeners."""
        self._writes.append(_Write(first, last, int(began_s * 1e9), time.time_ns(), listeners))
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_AFTER_S, self._begin_to_look)

    def _begin_to_look(self) -> None:
        self._look = None
        task = asyncio.create_task(self._write_spans())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _write_spans(self) -> None:
        """A span for each trace that was left beside a change that has been written."""
        writes = list(self._writes)
        self._writes.clear()
        if not writes:
            return
        try:
            found: Any = await self._redis.zrange(
                contract.TRACES_KEY,
                min(write.first for write in writes),
                max(write.last for write in writes),
                byscore=True,
                withscores=True,
            )
        except REDIS_ERRORS as error:
            log.debug("traces_out_of_reach", error=reason_of(error))
            return
        for traceparent, score in found:
            seq = int(score)
            for write in writes:
                if write.first <= seq <= write.last:
                    self._write_span(traceparent.decode(), seq, write)

    def _write_span(self, traceparent: str, seq: int, write: "_Write") -> None:
        span = self._tracer.start_span(
            "write to listeners",
            trace_context.extract({"traceparent": traceparent}),
            kind=SpanKind.CONSUMER,
            start_time=write.began_ns,
            attributes={"scoreboard.seq": seq, "scoreboard.listeners": write.listeners},
        )
        span.end(write.ended_ns)

    async def close(self) -> None:
        """Send what is left, within a few seconds."""
        if self._look is not None:
            self._look.cancel()
        await asyncio.gather(*self._looking, self._write_spans(), return_exceptions=True)
        await asyncio.to_thread(self._provider.shutdown)
