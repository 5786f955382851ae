"""The figures of a run: names, units, labels and meanings, each written once. Not their values.

A percentile or a duration added here appears in limits (`slo`), results, the summary, the pages,
Locust's tab and RESULTS.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentile:
    """`key` names it in documents, `label` on pages; `live` ones are shown while a run goes on."""

    key: str
    label: str
    quantile: float
    live: bool = False


PERCENTILES = (
    Percentile(key="p50", label="p50", quantile=0.5, live=True),
    Percentile(key="p90", label="p90", quantile=0.9),
    Percentile(key="p99", label="p99", quantile=0.99, live=True),
    Percentile(key="p999", label="p99.9", quantile=0.999),
    Percentile(key="max", label="max", quantile=1.0, live=True),
)


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration of which a run keeps a histogram in µs. `headline` ones are in every summary.

    `source` is what a run needs to have it: `submissions`, `reads`, `listeners`, `storms`, or
    `both`, which also needs a look into MySQL or events that are known by their content.
    """

    name: str
    label: str
    meaning: str
    source: str
    headline: bool = False


DURATIONS = (
    Duration(
        "response",
        "response",
        "intended send to 2xx, or to giving up; answers 4xx and 5xx count as errors",
        "submissions",
        headline=True,
    ),
    Duration("service", "service", "actual send to 2xx", "submissions", headline=True),
    Duration(
        "read",
        "read of board",
        "intended send of a GET to its answer, 304 among them (--reads)",
        "reads",
        headline=True,
    ),
    Duration("delay", "send delay", "intended send to actual send", "submissions"),
    Duration(
        "late",
        "generator late",
        "the generator's own share of the send delay",
        "submissions",
        headline=True,
    ),
    Duration("lag", "lag", "commit to the kernel of each listener", "listeners", headline=True),
    Duration(
        "reach_first", "first listener", "commit to the first listener, per event", "listeners"
    ),
    Duration(
        "reach_median",
        "median listener",
        "commit to the median listener, per event; of two middle ones the later",
        "listeners",
    ),
    Duration(
        "reach_last",
        "last listener",
        "commit to the last listener, per event",
        "listeners",
        headline=True,
    ),
    Duration(
        "submit_deliver_first", "submit → first", "intended send to the first listener", "both"
    ),
    Duration(
        "submit_deliver_median",
        "submit → deliver",
        "intended send to the median listener",
        "both",
        headline=True,
    ),
    Duration("submit_deliver_last", "submit → last", "intended send to the last listener", "both"),
    Duration("notice", "harness delay", "kernel to the harness, not part of lag", "listeners"),
    Duration("connect", "connect", "connection begun to stream open", "listeners", headline=True),
    Duration(
        "reconnect",
        "reconnect",
        "all streams cut to this listener's open again (--reconnect-storm)",
        "storms",
        headline=True,
    ),
    Duration(
        "catch_up",
        "catch up",
        "all streams cut to this listener having all it missed (--reconnect-storm)",
        "storms",
        headline=True,
    ),
)
DURATION_NAMES = tuple(duration.name for duration in DURATIONS)
HEADLINES = tuple(duration for duration in DURATIONS if duration.headline)

OUTCOMES = {"ok": "accepted", "fail": "refused", "unknown": "unknown", "dropped": "dropped"}
"""Counters of what became of the submissions, with labels."""

SHARES = {
    "errors": "refused, unanswered or dropped submissions, of those intended",
    "dropped": "submissions never sent, of those intended",
    "unknown": "submissions without a definite answer, of those intended",
    "waited": "submissions that waited for a connection, of those intended",
}
RATES = {
    "goodput": "accepted submissions per second",
    "throughput": "accepted or refused submissions per second",
    "rate": "intended submissions per second: the offered load",
}

LISTENER_ACCOUNT = {
    "gaps": "gaps",
    "missing": "missing events",
    "duplicates": "duplicate events",
    "reorders": "events out of order",
    "resets": "resets",
    "conflicts": "events with conflicting content",
    "broken": "malformed events",
}
"""What a listener pool counts, with labels."""


def labelled(name: str) -> str:
    """The label of a duration."""
    return next(duration.label for duration in DURATIONS if duration.name == name)
