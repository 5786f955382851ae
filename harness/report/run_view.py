"""What a load run's result says, as labelled rows: limits, durations, errors, counts of listeners.

The summary, the page and the exports show the same rows. Pure; made from the result document.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from harness.capabilities import why_unmeasured
from harness.measure.figures import DURATIONS, HEADLINES, PERCENTILES, RATES, Duration
from harness.measure.slo import BadSlo, SloLimit, histogram_and_quantile, parse_slo
from harness.measure.terminal import duration, number
from harness.report.document import LimitResult, LoadResult

CAUSES = {
    "timeout": "no answer within the timeout",
    "reset": "connection closed or reset before the answer",
    "bad_answer": "malformed answer",
}
STREAM_CAUSES = {
    "refused": "stream refused",
    "closed": "stream closed by the server",
    "reset": "connection reset",
    "broken": "malformed chunk or event",
    "bad_answer": "malformed answer",
    "handshake_timeout": "no answer to the request for the stream",
    "gzip_with_history": "gzip stream that refers to earlier chunks",
}
OWN_ENDS = ("stopped", "left to come back", "cut by us")
"""Streams that the run itself ended."""
FINDING_COUNTS = {
    "acknowledged": "acknowledged",
    "unknown": "outcome unknown",
    "unknown_applied": "unknown but applied",
    "behind": "listeners behind",
    "wrong_scores": "wrong scores",
}
"""Labels of a finding's counts that are not clear from their names."""


@dataclass(frozen=True, kw_only=True)
class SloRow:
    """A limit with its verdict: `true`, `false`, or `unknown` without enough samples.

    `samples` of a share or rate are the submissions intended, None of an unreadable limit.
    """

    text: str
    verdict: str
    measured: str
    value: float | None
    samples: int | None
    samples_min: int
    why: str = ""

    @property
    def words(self) -> str:
        """`measured 312 ms of 60,000 samples`, or what was missing."""
        seen = "" if self.samples is None else f" of {number(self.samples)} samples"
        if self.verdict != "unknown":
            return f"measured {self.measured}{seen}"
        if self.why:
            return f"unknown, because {self.why}"
        if not self.samples_min:
            return "not measured"
        return f"not enough samples: {number(self.samples or 0)} of {number(self.samples_min)}"


@dataclass(frozen=True, kw_only=True)
class DurationRow:
    """A duration's percentiles in µs, in the order of PERCENTILES, and how many samples it has."""

    figure: Duration
    values: tuple[float | None, ...]
    samples: int


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """How many submissions (or streams) failed in one way."""

    what: str
    cause: str
    count: int
    share: float | None


def samples_of(document: LoadResult, histogram: str) -> int:
    """Samples of a duration in the measured window, `connect` in the whole run."""
    window = document.window
    start, end = window.start, window.end
    return sum(
        second.times[histogram]["n"]
        for second in document.seconds
        if histogram in second.times and (histogram == "connect" or start <= second.t < end)
    )


def slo_rows(document: LoadResult) -> list[SloRow]:
    """Every limit of the run."""
    return [_slo_row(document, result) for result in document.verdict.limits]


def _slo_row(document: LoadResult, result: LimitResult) -> SloRow:
    value, text = result.measured, result.limit
    kept = "true" if result.passed else "false" if value is not None else "unknown"
    try:
        [limit] = parse_slo(text)
    except BadSlo:
        # Earlier versions took limits that mean nothing.
        shown = "nothing" if value is None else f"{value:,.4g}"
        return SloRow(
            text=text, verdict=kept, measured=shown, value=value, samples=None, samples_min=0
        )
    found = histogram_and_quantile(limit.figure)
    return SloRow(
        text=text,
        verdict=kept,
        measured=measured_words(limit, value),
        value=value,
        samples=(
            document.counts.get("intended", 0) if found is None else samples_of(document, found[0])
        ),
        samples_min=limit.samples_min,
        why=why_unmeasured(document.capabilities, found[0]) if found and value is None else "",
    )


def measured_words(limit: SloLimit, value: float | None) -> str:
    """A measured value in the unit of its limit, with enough digits to tell it from that."""
    if value is None:
        return "nothing"
    if limit.is_duration:
        shown = duration(value)
        exact = f"{value / 1000:,.3f} ms"
        # The rounded value may seem to be on the other side of the limit.
        return shown if duration(limit.value) != shown else exact
    return f"{value:,.2f}/s" if limit.figure in RATES else f"{value:.4%}"


def within_slo(rows: Sequence[SloRow]) -> str:
    """`false` when a limit is broken, else `unknown` when one could not be told, else `true`."""
    verdicts = {row.verdict for row in rows}
    return next((verdict for verdict in ("false", "unknown") if verdict in verdicts), "true")


def correctness(document: LoadResult) -> str:
    """`true`; `unknown` where nothing contradicts the server but too little was seen; `false`."""
    return "true" if document.verdict.correct else str(document.verdict.correctness)


def duration_rows(document: LoadResult, *, headlines: bool = False) -> list[DurationRow]:
    """Every duration that the run measured."""
    figures = document.figures
    return [
        DurationRow(
            figure=figure,
            values=tuple(figures.get(f"{figure.name}_{p.key}") for p in PERCENTILES),
            samples=samples_of(document, figure.name),
        )
        for figure in (HEADLINES if headlines else DURATIONS)
        if figures.get(f"{figure.name}_max") is not None
    ]


def error_rows(document: LoadResult) -> list[ErrorRow]:
    """Submissions that were not accepted, and streams that ended, by status and cause."""
    counts = document.counts
    intended = counts.get("intended") or None
    found: list[tuple[str, str, int]] = []
    for name, count in counts.items():
        kind, _, detail = name.partition("_")
        if kind == "status" and not detail.startswith("2"):
            what = "submission refused" if detail.startswith("4") else "submission unknown"
            found.append((what, _status(detail), count))
        elif kind == "cause":
            cause = CAUSES.get(detail, detail.replace("_", " "))
            found.append(("submission unknown", cause, count))
    found.append(("submission dropped", "never sent: no connection free", counts.get("dropped", 0)))
    rows = [
        ErrorRow(what=what, cause=cause, count=n, share=n / intended if intended else None)
        for what, cause, n in found
        if n
    ]
    ended: Counter[str] = Counter()
    for status in listener_statuses(document):
        ended.update(status.get("disconnects") or {})
    rows += [
        ErrorRow(
            what="stream ended",
            cause=STREAM_CAUSES.get(cause) or _status(cause.removeprefix("status_")),
            count=n,
            share=None,
        )
        for cause, n in ended.items()
        if cause not in OWN_ENDS
    ]
    return sorted(rows, key=lambda row: -row.count)


def _status(code: str) -> str:
    try:
        return f"HTTP {code} {HTTPStatus(int(code)).phrase}"
    except ValueError:
        return f"HTTP {code}" if code.isdigit() else code.replace("_", " ")


def listener_statuses(document: LoadResult) -> list[Mapping[str, Any]]:
    """The last word of every listener pool."""
    return [member.status for member in document.members if member.kind == "listeners"]


def finding_words(counts: Mapping[str, Any]) -> Iterator[str]:
    """What a finding looked at, in words; zeros are left out."""
    for name, count in counts.items():
        if count:
            yield f"{number(count)} {FINDING_COUNTS.get(name, name.replace('_', ' '))}"


def traffic_rows(document: LoadResult) -> Iterator[tuple[str, str, bool]]:
    """What form the traffic had beside its rate: a name, words, and whether something lacks.

    Counts are of the whole run: leaving, storms and slow readers may begin in the warm-up.
    """
    settings, totals = document.settings, document.totals
    shape = [
        f"{flag} {settings[name]}"
        for flag, name in (("bursts", "bursts"), ("visits", "sessions"), ("users", "hot_users"))
        if settings.get(name)
    ]
    if trace := settings.get("trace"):
        speed = float(settings.get("trace_speed", 1.0))
        shape.append(f"trace {str(trace).rpartition('/')[2]} at {speed:.4g} × its speed")
    if shape:
        yield "shape", ", ".join(shape), False
    if seconds := settings.get("listeners_ramp_s"):
        yield "ramp", f"listeners came within {seconds:g} s", False
    if seconds := settings.get("listener_stay_s"):
        left = sum(
            (status.get("disconnects") or {}).get("left to come back", 0)
            for status in listener_statuses(document)
        )
        yield (
            "churn",
            f"{number(left)} listeners left after about {seconds:g} s, others came",
            False,
        )
    if cut := totals.get("storm_cut", 0):
        back, whole = totals.get("reconnects", 0), totals.get("catch_ups", 0)
        at_s = settings["reconnect_storm"]
        words = [f"{number(cut)} streams cut at {at_s}", _until_all("back", back, cut)]
        if why := why_unmeasured(document.capabilities, "catch_up"):
            words.append(f"whether they caught up cannot be told: {why}")
        else:
            words.append(_until_all("caught up", whole, cut))
        yield "storm", "; ".join(words), back < cut or (not why and whole < cut)
    if asked := settings.get("slow_listeners"):
        ended, refused = totals.get("slow_cut", 0), totals.get("slow_refused", 0)
        words = [f"{asked} read slowly", f"the server ended {number(ended)} of their streams"]
        if refused:
            words.append(f"and refused them {number(refused)} times")
        yield "slow readers", "; ".join([words[0], " ".join(words[1:])]), False


def _until_all(what: str, count: int, of: int) -> str:
    return f"all {what}" if count >= of else f"only {number(count)} {what}"
