"""The metrics of an API process: for Prometheus, and as JSON for the operator's page.

Nothing is counted here: `counts` are read on request. One reading serves both
forms, so that they cannot disagree.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import REGISTRY, Collector

from server.observe.counts import CommitCounts, Histogram, HubCounts

CONTENT_TYPE = CONTENT_TYPE_LATEST
SUBMISSION_OUTCOMES = (
    *("accepted", "replayed", "rate_limited"),
    *("key_reused", "unknown_user", "overloaded", "unavailable"),
)
BOARD_TIMEOUT_S = 0.5


class Gauges(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Current values. `board_seq` is the board's last change, `queue_polled` whether a worker takes
    work: None when it cannot be read."""

    queue: int
    queue_max: int
    batches_unfinished: int
    batches_unfinished_max: int
    listeners: int
    listeners_max: int
    listeners_lagging: int
    hub_seq: int
    undecided_age_s: float
    queue_polled: bool | None = None
    board_seq: int | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the metrics are read from; `board_seq` may fail or take long."""

    commits: CommitCounts
    hub: HubCounts
    gauges: Callable[[], Gauges]
    services: Callable[[], dict[str, bool]]
    board_seq: Callable[[], Awaitable[int]]
    draining: Callable[[], bool]
    fast_path: Callable[[], int]


class Metrics:
    """The metrics of one process since it started."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._started_at = time.monotonic()
        # A restarted process counts from zero and must not be taken for the old one. Made up, so
        # that it tells no host name, process id or start time.
        self._instance = secrets.token_hex(4)

    async def stats(self) -> dict[str, Any]:
        """The metrics as `GET /admin/stats` returns them."""
        source = self._source
        return {
            "instance": self._instance,
            "uptimeS": round(time.monotonic() - self._started_at, 1),
            "draining": source.draining(),
            "services": source.services(),
            "counters": {
                "submissions": {
                    name: getattr(source.commits, name) for name in SUBMISSION_OUTCOMES
                },
                "fastPathRequests": source.fast_path(),
                "batchesStarted": source.commits.batches_started,
                "ticks": source.hub.ticks,
                "streamBytes": source.hub.bytes,
                "deliveries": source.hub.deliveries,
                "resets": source.hub.resets,
                "listenersOpened": source.hub.listeners_opened,
                "listenersCut": source.hub.slow_listeners_disconnected,
            },
            "gauges": await self._gauges(),
            "histograms": {
                "batchSize": _buckets(source.commits.batch_size),
                "admissionSeconds": _buckets(source.commits.admission_s),
                "startSeconds": _buckets(source.commits.start_s),
                "commitToWriteSeconds": _buckets(source.hub.commit_to_write_s),
            },
        }

    async def exposition(self, *, machine: bool = True) -> bytes:
        """The metrics in Prometheus' text format.

        Includes the client library's global registry: the metrics of an embedded worker and, with
        `machine`, those of the process and of Python.
        """
        families = self._families(await self._gauges())
        families += [
            family
            for family in REGISTRY.collect()
            if machine or not family.name.startswith(("process_", "python_"))
        ]
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(families))
        return generate_latest(registry)

    async def _gauges(self) -> Gauges:
        gauges = self._source.gauges()
        try:
            async with asyncio.timeout(BOARD_TIMEOUT_S):
                seq = await self._source.board_seq()
        except Exception:
            # Metrics matter most while a service is unavailable.
            return gauges
        return msgspec.structs.replace(gauges, board_seq=seq)

    def _families(self, gauges: Gauges) -> list[Metric]:
        commits, hub = self._source.commits, self._source.hub
        submissions = CounterMetricFamily(
            "scoreboard_submissions", "Submissions by the answer they got.", labels=["outcome"]
        )
        for name in SUBMISSION_OUTCOMES:
            submissions.add_metric([name], getattr(commits, name))
        up = GaugeMetricFamily(
            "scoreboard_service_up", "Whether a service answers this process.", labels=["service"]
        )
        for name, answers in self._source.services().items():
            up.add_metric([name], answers)
        families: list[Metric] = [
            submissions,
            up,
            _histogram("scoreboard_batch_size", "Submissions in a batch.", commits.batch_size),
            _histogram(
                "scoreboard_admission_seconds",
                "Time to decide which submissions of a batch go on.",
                commits.admission_s,
            ),
            _histogram(
                "scoreboard_start_seconds",
                "Time to hand a batch to Temporal.",
                commits.start_s,
            ),
            _histogram(
                "scoreboard_commit_to_write_seconds",
                "Commit of the oldest change in a write to the listeners until that write.",
                hub.commit_to_write_s,
            ),
        ]
        families += [
            CounterMetricFamily(f"scoreboard_{name}", about, value=value)
            for name, about, value in (
                (
                    "fast_path_requests",
                    "Requests answered on the fast path.",
                    self._source.fast_path(),
                ),
                ("batches_started", "Batches handed to Temporal.", commits.batches_started),
                ("ticks", "Writes to all listeners.", hub.ticks),
                ("stream_bytes", "Bytes written to event streams.", hub.bytes),
                ("deliveries", "Changes written, once for each listener.", hub.deliveries),
                ("resets", "Resets sent to listeners that missed history.", hub.resets),
                ("listeners_opened", "Event streams opened.", hub.listeners_opened),
                (
                    "listeners_cut",
                    "Listeners disconnected for reading too slowly.",
                    hub.slow_listeners_disconnected,
                ),
            )
        ]
        families += [
            GaugeMetricFamily(f"scoreboard_{name}", about, value=value)
            for name, about, value in (
                ("queue_submissions", "Submissions without an answer yet.", gauges.queue),
                ("queue_submissions_max", "Upper bound of the queue.", gauges.queue_max),
                (
                    "batches_unfinished",
                    "Batches handed over and not ended.",
                    gauges.batches_unfinished,
                ),
                (
                    "batches_unfinished_max",
                    "Upper bound of unfinished batches.",
                    gauges.batches_unfinished_max,
                ),
                ("listeners", "Open event streams.", gauges.listeners),
                ("listeners_max", "Upper bound of open event streams.", gauges.listeners_max),
                (
                    "listeners_lagging",
                    "Listeners whose buffers are full.",
                    gauges.listeners_lagging,
                ),
                ("hub_seq", "Last change that listeners have been sent.", gauges.hub_seq),
                ("board_seq", "Last change of the board in Redis.", gauges.board_seq),
                (
                    "undecided_age_seconds",
                    "Age of the oldest submission that is accepted and not decided.",
                    gauges.undecided_age_s,
                ),
                (
                    "queue_polled",
                    "Whether a worker takes work from the queue.",
                    gauges.queue_polled,
                ),
                ("draining", "Whether this process is shutting down.", self._source.draining()),
            )
            if value is not None
        ]
        return families


class _Families(Collector):
    """Exposes metric families that have been read already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _buckets(histogram: Histogram) -> dict[str, Any]:
    return {
        "bounds": histogram.bounds,
        "counts": list(histogram.counts),
        "total": histogram.total,
    }


def _histogram(name: str, about: str, histogram: Histogram) -> HistogramMetricFamily:
    """In Prometheus each bucket also counts all below it."""
    buckets = []
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        buckets.append((_bound_text(bound), below))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=histogram.total)


def _bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
