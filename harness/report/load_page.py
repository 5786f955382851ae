"""One HTML file that tells a load run: verdict, figures, charts, settings. Made from its document.

What is shown is decided here, how it looks in `templates/load.html`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from harness.checker import Finding
from harness.measure.figures import PERCENTILES
from harness.measure.terminal import duration, number
from harness.report.charts import plots_of
from harness.report.document import LoadResult
from harness.report.listener_cost import cost_words
from harness.report.page import Cell, Row, card, render, verdict_cell, when
from harness.report.run_view import (
    correctness,
    duration_rows,
    error_rows,
    finding_words,
    listener_statuses,
    slo_rows,
    traffic_rows,
    within_slo,
)

CORRECT = "Every acknowledged submission counted once; every listener saw every change in order."
PROMISE_HEADS = (("checked", ""), ("verdict", "text"), ("meaning", "text"), ("seen", "text"))
SETTINGS = {
    "rate": ("arrival rate", "submissions/s"),
    "arrivals": ("arrival process", ""),
    "players": ("players", ""),
    "listeners": ("listeners", ""),
    "duration_s": ("measured", "s"),
    "warmup_s": ("warm-up", "s"),
    "connections": ("connections at most", ""),
    "timeout_s": ("timeout of an answer", "s"),
    "seed": ("seed of the schedule", ""),
    "reads": ("reads of the board", "a second"),
    "bursts": ("bursts", ""),
    "sessions": ("visits", ""),
    "hot_users": ("popularity of users", ""),
    "trace": ("played from the trace", ""),
    "trace_speed": ("speed of the trace", "×"),
    "trace_pattern": ("submissions of the trace", ""),
    "listeners_ramp_s": ("listeners come within", "s"),
    "listener_stay_s": ("a listener stays about", "s"),
    "reconnect_storm": ("all streams cut at", ""),
    "slow_listeners": ("slow listeners", ""),
    "late_limit_ms": ("limit of the generator's own delay", "ms"),
    "slo": ("SLO", ""),
    "signing_key": ("id of the signing key", ""),
    "stream_auth": ("listeners carry tokens", ""),
    "stream_gzip": ("listeners accept gzip", ""),
    "label": ("label", ""),
    "results": ("folder of results", ""),
}
MACHINE = {
    "cpus": ("CPUs", ""),
    "cpu": ("processor", ""),
    "memory_mib": ("memory", "MiB"),
    "kernel": ("Linux kernel", ""),
    "python": ("Python", ""),
    "commit": ("commit", ""),
    "changed": ("uncommitted changes", ""),
    "system": ("system", ""),
}


def html_report(document: LoadResult) -> str:
    """The page. A few hundred kilobytes for a minute."""
    start_s = document.window.start
    traffic = list(traffic_rows(document))
    return render(
        "load.html",
        title=document.label or f"Load run {document.run_id}",
        about=f"{document.target} · {when(document.started_unix_s)} · "
        f"{document.seconds_measured} s measured after {start_s} s of warm-up",
        cards=list(_cards(document)),
        tiles=list(_tiles(document)),
        bottleneck=document.resources.bottleneck if document.resources.cores else "",
        limit_heads=[("limit", ""), ("verdict", "text"), ("measured", ""), ("samples", "")],
        limits=list(_limits(document)),
        duration_heads=[
            ("duration", ""),
            *((percentile.label, "") for percentile in PERCENTILES),
            ("samples", ""),
            ("from … to", "text"),
        ],
        durations=list(_durations(document)),
        error_heads=[("kind", ""), ("count", ""), ("of all", ""), ("cause", "text")],
        errors=list(_errors(document)),
        plots=plots_of(document),
        promise_heads=PROMISE_HEADS,
        promises=list(promises(document.findings)),
        table_heads=[("name", ""), ("value", "text")],
        tables={
            **(
                {"Form of the traffic": [(n, [(words, "text")]) for n, words, _ in traffic]}
                if traffic
                else {}
            ),
            "Settings": list(_named(document.settings, SETTINGS)),
            "Machine": list(_named(msgspec.structs.asdict(document.machine), MACHINE)),
        },
    )


def _cards(document: LoadResult) -> Iterator[dict[str, Any]]:
    verdict = document.verdict
    valid = "true" if verdict.valid else "false"
    yield card("valid", valid, verdict.invalid, "The generator kept its schedule.")
    yield card("correct", correctness(document), verdict.incorrect, CORRECT)
    rows = slo_rows(document)
    if rows:
        reasons = [f"{row.text}: {row.words}" for row in rows if row.verdict != "true"]
        held = ", ".join(f"{row.text} ({row.measured})" for row in rows)
        yield card("within SLO", within_slo(rows), reasons, held)


def _tiles(document: LoadResult) -> Iterator[tuple[str, str]]:
    figures, counts, resources = document.figures, document.counts, document.resources
    if counts.get("intended"):
        yield "accepted per second", number(figures["goodput"] or 0)
        yield "response p99", duration(figures["response_p99"])
        failed = sum(counts.get(name, 0) for name in ("fail", "unknown", "dropped"))
        yield "not accepted", number(failed)
    if listener_statuses(document):
        yield "listeners", number(document.listeners)
        yield (
            "delivered per second",
            number(counts.get("deliveries", 0) / document.seconds_measured),
        )
        yield "lag p99", duration(figures["lag_p99"])
        yield from (
            (f"harness: {name}", figure) for name, figure, _ in cost_words(document.listener_cost)
        )
    if resources.harness_share is not None:
        yield "harness' share of the machine", f"{resources.harness_share:.0%}"
    if ceiling := document.ceiling:
        yield "generator's ceiling per core", f"{number(ceiling.per_core)}/s"


def _limits(document: LoadResult) -> Iterator[Row]:
    words = {"true": "✓ holds", "false": "✗ broken", "unknown": "? not enough samples"}
    for row in slo_rows(document):
        if row.verdict == "unknown":
            measured = f"needs {number(row.samples_min)} samples" if row.samples_min else "–"
        else:
            measured = row.measured
        samples = "–" if row.samples is None else number(row.samples)
        yield row.text, [(words[row.verdict], row.verdict), (measured, ""), (samples, "")]


def _durations(document: LoadResult) -> Iterator[Row]:
    for row in duration_rows(document):
        cells: list[Cell] = [(duration(value), "") for value in row.values]
        yield (
            row.figure.label,
            [*cells, (number(row.samples), ""), (row.figure.meaning, "text")],
        )


def _errors(document: LoadResult) -> Iterator[Row]:
    for row in error_rows(document):
        share = "" if row.share is None else f"{row.share:.3%}"
        yield row.what, [(number(row.count), ""), (share, ""), (row.cause, "text")]


def promises(findings: Iterable[Finding]) -> Iterator[Row]:
    """The table of PROMISE_HEADS, of a chaos run too."""
    for found in findings:
        seen = "; ".join(found.explanations) or found.looked_at
        seen = seen or ", ".join(finding_words(found.counts))
        cells = [verdict_cell(found.verdict), (found.title, "text"), (seen, "text")]
        yield found.invariant, cells


def _named(values: Mapping[str, Any], labels: Mapping[str, tuple[str, str]]) -> Iterator[Row]:
    """Values with labels and units; a key of a later version stands with its own name."""
    # In the order of the labels; what a later version adds comes last.
    for key in (*(k for k in labels if k in values), *(k for k in values if k not in labels)):
        value = values[key]
        if value is None or value == "" or (key == "memory_mib" and not value):
            continue
        label, unit = labels.get(key, (key.replace("_", " "), ""))
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, int | float):
            text = f"{value:,.6g}"
        else:
            text = str(value)
        yield label, [(f"{text} {unit}".strip(), "text")]
