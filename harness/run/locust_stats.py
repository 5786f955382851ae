"""Puts a second's figures into Locust's own table, in bulk. Locust's classes, our histograms.

Logging each request into Locust would cost more than sending it. Locust keeps
milliseconds with two digits; the exact figures are in our report.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from locust.stats import RequestStats, StatsEntry, StatsError, bucket_response_time

from harness.measure.histogram import Histogram, lowest_of
from scoreboard import contract

Wire = Iterable[Sequence[Any]]


def log_submissions(stats: RequestStats, series: Wire) -> None:
    """Answered submissions by response time from the intended send; the rest as failures."""
    for _, counters, histograms in series:
        flat = histograms.get("response")
        if flat:
            _log(stats, "POST", contract.UPDATE_PATH, Histogram.from_wire(flat))
        for name, count in counters.items():
            if name.startswith("cause_") or (
                name.startswith("status_") and not name.startswith("status_2")
            ):
                _fail(stats, "POST", contract.UPDATE_PATH, name.replace("_", " "), count)


def log_deliveries(stats: RequestStats, series: Wire) -> None:
    """One entry per event: the lag of the median listener. And the connects."""
    for _, counters, histograms in series:
        if flat := histograms.get("reach_median"):
            _log(stats, "SSE", "lag of the median listener", Histogram.from_wire(flat))
        if flat := histograms.get("connect"):
            _log(stats, "SSE", "connect", Histogram.from_wire(flat))
        for name in ("gaps", "duplicates", "reorders", "broken", "disconnects"):
            if counters.get(name):
                _fail(stats, "SSE", "lag of the median listener", name, counters[name])


def _log(stats: RequestStats, method: str, name: str, histogram: Histogram) -> None:
    now = time.time()
    entries: tuple[StatsEntry, ...] = (stats.get(name, method), stats.total)
    for entry in entries:
        if entry.use_response_times_cache and int(now) > int(entry.last_request_timestamp or now):
            entry._cache_response_times(int(now) - 1)
        entry.num_requests += histogram.total
        entry.num_reqs_per_sec[int(now)] += histogram.total
        entry.last_request_timestamp = now
        entry.total_response_time += histogram.sum_us // 1000
        low, high = histogram.min_us / 1000, histogram.max_us / 1000
        known = entry.min_response_time
        entry.min_response_time = low if known is None else min(known, low)
        entry.max_response_time = max(entry.max_response_time, high)
        for bucket, count in histogram.counts.items():
            entry.response_times[bucket_response_time(lowest_of(bucket) / 1000)] += count


def _fail(stats: RequestStats, method: str, name: str, cause: str, count: int) -> None:
    now = int(time.time())
    for entry in (stats.get(name, method), stats.total):
        entry.num_failures += count
        entry.num_fail_per_sec[now] += count
    key = StatsError.create_key(method, name, cause)
    error: Any = stats.errors.setdefault(key, StatsError(method, name, cause))
    error.occurrences += count
