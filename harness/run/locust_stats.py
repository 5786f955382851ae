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
STREAM_FAULTS = ("gaps", "duplicates", "reorders", "broken", "disconnects")


def log_submissions(stats: RequestStats, series: Wire) -> None:
    """Every submission that has ended, by its time from the intended send; failures among them."""
    for _, counters, histograms in series:
        for name in ("response", "refusal"):
            if flat := histograms.get(name):
                _log(stats, "POST", contract.UPDATE_PATH, Histogram.from_wire(flat))
        for name, count in counters.items():
            refused = name.startswith("status_") and not name.startswith("status_2")
            if count and (refused or name.startswith("cause_") or name == "dropped"):
                _fail(stats, "POST", contract.UPDATE_PATH, name.replace("_", " "), count)


def log_deliveries(stats: RequestStats, series: Wire, *, events: bool = True) -> None:
    """Connects, stream faults, and with `events` the lag of the median listener for each event.

    One listener pool of a run logs the events: each pool sees them all, and Locust would add
    them up. The exact median over all pools is in our report.
    """
    for _, counters, histograms in series:
        if events and (flat := histograms.get("reach_median")):
            _log(stats, "SSE", "lag of the median listener", Histogram.from_wire(flat))
        if flat := histograms.get("connect"):
            _log(stats, "SSE", "connect", Histogram.from_wire(flat))
        for name in STREAM_FAULTS:
            if count := counters.get(name, 0):
                # A fault takes no time, and is a request of its own so that no share passes 100 %.
                for entry in _count(stats, "SSE", "stream faults", count):
                    entry.num_none_requests += count
                _fail(stats, "SSE", "stream faults", name, count)


def _log(stats: RequestStats, method: str, name: str, histogram: Histogram) -> None:
    for entry in _count(stats, method, name, histogram.total):
        entry.total_response_time += histogram.sum_us // 1000
        low, high = histogram.min_us / 1000, histogram.max_us / 1000
        known = entry.min_response_time
        entry.min_response_time = low if known is None else min(known, low)
        entry.max_response_time = max(entry.max_response_time, high)
        for bucket, count in histogram.counts.items():
            entry.response_times[bucket_response_time(lowest_of(bucket) / 1000)] += count


def _count(
    stats: RequestStats, method: str, name: str, requests: int
) -> tuple[StatsEntry, StatsEntry]:
    """Count requests in their row and in the total; the two."""
    now = time.time()
    entries = (stats.get(name, method), stats.total)
    for entry in entries:
        if entry.use_response_times_cache and int(now) > int(entry.last_request_timestamp or now):
            entry._cache_response_times(int(now) - 1)
        entry.num_requests += requests
        entry.num_reqs_per_sec[int(now)] += requests
        entry.last_request_timestamp = now
    return entries


def _fail(stats: RequestStats, method: str, name: str, cause: str, count: int) -> None:
    """Call requests that are counted already failed."""
    now = time.time()
    for entry in (stats.get(name, method), stats.total):
        entry.num_failures += count
        entry.num_fail_per_sec[int(now)] += count
    key = StatsError.create_key(method, name, cause)
    error: Any = stats.errors.setdefault(key, StatsError(method, name, cause, first_seen=now))
    error.occurrences += count
    error.last_seen = now
