"""The OpenTelemetry provider of a process. Imported only when tracing is on.

Not the spans: see `server.observe.tracing` and `worker.tracing`.
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.contrib.opentelemetry import TracingInterceptor

EXPORT_TIMEOUT_S = 5
trace_context = TraceContextTextMapPropagator()


def provider(
    service: str, endpoint: str, *, ratio: float, id_generator: IdGenerator | None = None
) -> TracerProvider:
    """A provider that exports a `ratio` of all traces; the owner calls its `shutdown`.

    The trace id alone decides whether a trace is kept, in every process alike, so
    no client can make the server keep more than its share by asking for it.
    """
    share = TraceIdRatioBased(ratio)
    made = TracerProvider(
        sampler=ParentBased(
            share, remote_parent_sampled=share, remote_parent_not_sampled=ALWAYS_OFF
        ),
        resource=Resource.create({"service.name": service}),
        id_generator=id_generator,
        # At exit it would wait for a collector that is away; `shutdown` is bounded.
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S
    )
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


def current_traceparent() -> str:
    """The current span as others continue it, in W3C's form; empty without one."""
    carrier: dict[str, str] = {}
    trace_context.inject(carrier)
    return carrier.get("traceparent", "")


def temporal_interceptor(provider: TracerProvider) -> TracingInterceptor:
    """Makes a Temporal client, and a worker on it, pass traces on."""
    return TracingInterceptor(provider.get_tracer("temporalio"))
