"""The few lines a person reads at the end of a run. Made from the result document only."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from harness.measure.figures import OUTCOMES, PERCENTILES
from harness.measure.slo import is_default
from harness.measure.terminal import Ink, duration, number
from harness.report.document import LoadResult
from harness.report.listener_cost import cost_words
from harness.report.page import SIGNS
from harness.report.run_view import (
    correctness,
    duration_rows,
    error_rows,
    listener_statuses,
    slo_rows,
    traffic_rows,
    within_slo,
)

ELSEWHERE_MIN = 0.1
"""Cores; below it lies the noise of sampling."""
ERRORS_MAX = 6


def print_summary(document: LoadResult, out: TextIO, path: str) -> None:
    """Write the summary of a result document."""
    out.write("\n".join(lines(document, Ink(out), path)) + "\n")


def lines(document: LoadResult, ink: Ink, path: str) -> Iterator[str]:
    """The summary, line by line."""
    settings = document.settings
    yield ""
    yield ink.bold(f"  {document.run_id}") + ink.dim(
        f"   {document.target}   {document.seconds_measured} s after {settings['warmup_s']:g} s of"
        " warm-up"
    )
    yield ""
    yield from _load(document, ink)
    yield from _traffic(document, ink)
    yield ""
    yield from _durations(document, ink)
    yield from _errors(document, ink)
    yield from _resources(document, ink)
    yield ""
    yield from _verdict(document, ink)
    yield ""
    yield ink.dim(f"  {path}   report: {path.removesuffix('.json')}.html")


def _load(document: LoadResult, ink: Ink) -> Iterator[str]:
    figures, counts = document.figures, document.counts
    if counts.get("intended"):
        bad = [
            f"{number(counts[name])} {word}"
            for name, word in OUTCOMES.items()
            if name != "ok" and counts.get(name)
        ]
        yield (
            f"  submissions  {number(figures['goodput'] or 0)}/s accepted of "
            f"{number(figures['rate'] or 0)}/s intended, {number(counts.get('ok', 0))} in all"
            + (ink.warn(f"; {', '.join(bad)}") if bad else "; none refused, lost or dropped")
        )
    if counts.get("reads_intended"):
        failed = counts.get("reads_failed", 0) + counts.get("reads_dropped", 0)
        yield (
            f"  reads        {number(counts.get('reads_ok', 0) / document.seconds_measured)}/s "
            f"answered of {number(counts['reads_intended'] / document.seconds_measured)}/s "
            f"intended, {number(counts.get('reads_not_modified', 0))} of them not modified (304)"
            + (ink.warn(f"; {number(failed)} failed") if failed else "")
        )
    if listener_statuses(document):
        length = document.seconds_measured
        yield (
            f"  listeners    {number(document.listeners)} connected, "
            f"{number(counts.get('deliveries', 0) / length)} events/s delivered, "
            f"{counts.get('bytes', 0) / length / 1e6:.1f} MB/s"
        )
        if costs := cost_words(document.listener_cost):
            yield f"  {'own cost':13}" + ", ".join(
                f"{name} {figure if within else ink.warn(figure)}" for name, figure, within in costs
            )


def _traffic(document: LoadResult, ink: Ink) -> Iterator[str]:
    for name, words, lacking in traffic_rows(document):
        yield f"  {name:13}{ink.warn(words) if lacking else words}"


def _durations(document: LoadResult, ink: Ink) -> Iterator[str]:
    heads = "".join(f"{percentile.label:>9}" for percentile in PERCENTILES)
    yield ink.dim(f"  {'':17}{heads}{'samples':>13}")
    for row in duration_rows(document, headlines=True):
        cells = "".join(f"{duration(value):>9}" for value in row.values)
        samples = number(row.samples)
        yield f"  {row.figure.label:17}{cells}{samples:>13}   {ink.dim(row.figure.meaning)}"


def _errors(document: LoadResult, ink: Ink) -> Iterator[str]:
    rows = error_rows(document)
    if rows:
        yield ""
    for row in rows[:ERRORS_MAX]:
        share = "" if row.share is None else f" ({row.share:.2%})"
        yield f"  {row.what:19}{ink.warn(number(row.count))}{share} {row.cause}"
    if len(rows) > ERRORS_MAX:
        yield f"  and {len(rows) - ERRORS_MAX} more causes, in the report"


def _resources(document: LoadResult, ink: Ink) -> Iterator[str]:
    resources = document.resources
    if resources.cores:
        yield ""
        cores = sorted(resources.cores.items(), key=lambda pair: -pair[1])
        stack = [f"{name} {used:.2f}" for name, used in cores if not name.startswith("harness ")]
        yield (
            f"  {'cores':13}{', '.join(stack) + '; ' if stack else ''}"
            f"harness {resources.harness_share or 0:.0%} of the machine"
        )
        if (resources.elsewhere or 0) >= ELSEWHERE_MIN:
            yield (
                f"  {'disturbed':13}"
                + ink.warn(f"{resources.elsewhere:.2f} cores were busy with other programs")
            )
        yield f"  {'bottleneck':13}{resources.bottleneck}"
    for fault in document.faults:
        yield ink.warn(f"  {'fault':13}{fault.name} at {fault.start} to {fault.end} s")
    if ceiling := document.ceiling:
        yield (
            f"  {'ceiling':13}{number(ceiling.per_core)}/s per core is the most this generator "
            "can send"
        )


def _verdict(document: LoadResult, ink: Ink) -> Iterator[str]:
    verdict, figures = document.verdict, document.figures
    of = "p99" if figures.get("late_p99") is not None else "max"
    late = f"generator late by {duration(figures.get(f'late_{of}'))} ({of})"
    if figures.get(f"late_{of}") is None:
        late = "nothing was to be submitted" if not document.totals.get("intended") else late
    valid = "true" if verdict.valid else "false"
    yield from _line(ink, valid, "valid", verdict.invalid, late)
    good = "; ".join(_good_words(document))
    yield from _line(ink, correctness(document), "correct", verdict.incorrect, good)
    rows = slo_rows(document)
    if not rows:
        yield ink.dim("    no SLO given (--slo p99:250ms,errors:0.1%)")
        return
    passed = sum(row.verdict == "true" for row in rows)
    counted = f"{passed} of {len(rows)} limits hold"
    if all(is_default(row.text) for row in rows):
        counted += "; only the default ones were set"
    yield from _line(ink, within_slo(rows), "within SLO", [counted], counted)
    inks = {"true": ink.good, "false": ink.bad, "unknown": ink.warn}
    for row in rows:
        words = row.words + (" (default limit)" if is_default(row.text) else "")
        yield f"      {inks[row.verdict](SIGNS[row.verdict])} {row.text:<20} {words}"


def _line(
    ink: Ink, verdict: str, word: str, problems: Sequence[str], explanation: str
) -> Iterator[str]:
    if verdict == "true":
        yield f"  {ink.good('✓')} {ink.bold(word.ljust(12))}  {explanation}"
        return
    first = problems[0] if problems else ""
    if verdict == "unknown":
        yield f"  {ink.warn('?')} {ink.bold(word)}: could not tell  {first}"
    else:
        yield f"  {ink.bad('✗')} {ink.bold(f'not {word}'.ljust(12))}  {first}"
    yield from (f"      {problem}" for problem in problems[1:6])


def _good_words(document: LoadResult) -> Iterator[str]:
    """What was found right, in figures."""
    for finding in document.findings:
        counts = finding.counts
        if "shown_once" in counts:
            yield (
                f"{number(counts['shown_once'])} of {number(counts['acknowledged'])} acknowledged "
                "submissions were each shown by one event"
            )
        elif "lacking" in counts:
            yield (
                f"{number(counts['listeners'])} listeners were each sent all of the "
                f"{number(counts['events'])} events that came while they were connected"
            )
        elif "acknowledged" in counts:
            found = (
                "each applied once" if "applied_once" in counts else "and the board gained as much"
            )
            words = f"{number(counts['acknowledged'])} acknowledged, {found}"
            if unknown := counts.get("unknown", 0):
                settled = number(counts.get("unknown_applied", 0))
                words += f", {number(unknown)} unknown, {settled} of them applied"
            yield words
        elif counts.get("listeners"):
            yield f"all {number(counts['listeners'])} listeners end at the last change, no gap"
