"""The judgement of a run: valid, correct, within SLO. Pure; what it judges was read elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.checker import Evidence, Finding, Verdict, overall
from harness.judge.record import RunRecord
from harness.measure.histogram import Histogram
from harness.measure.slo import SloResult, judge, load_slo

REASONS_MAX = 2
"""Of each invariant that is not held."""
WARM_UP_ONLY = "the run ended in its warm-up: nothing was measured"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Valid (generator on schedule), correct (promises kept), within SLO; and the reasons.

    `figures` are those that the limits were held against.
    """

    invalid: Sequence[str]
    findings: Sequence[Finding]
    limits: Sequence[SloResult]
    figures: Mapping[str, float | None]

    @property
    def valid(self) -> bool:
        """The figures mean what they say."""
        return not self.invalid

    @property
    def correctness(self) -> Verdict:
        """What `check` says of the same evidence."""
        return overall(self.findings)

    @property
    def correct(self) -> bool:
        """Every promise was seen to be kept."""
        return self.correctness is Verdict.TRUE

    @property
    def incorrect(self) -> list[str]:
        """Why it is not correct, the proven before the doubtful; each reason once, with all the
        invariants that it concerns."""
        reasons: dict[tuple[Verdict, str], dict[str, None]] = {}
        for verdict in (Verdict.FALSE, Verdict.UNKNOWN):
            for finding in self.findings:
                if finding.verdict is verdict:
                    name = finding.invariant.split()[0]
                    for text in finding.explanations[:REASONS_MAX]:
                        reasons.setdefault((verdict, text), {})[name] = None
        return [
            f"{', '.join(names)} {verdict}: {text}" for (verdict, text), names in reasons.items()
        ]

    @property
    def within_slo(self) -> bool:
        """Every limit holds; true when none was set."""
        return all(result.passed for result in self.limits)

    @property
    def good(self) -> bool:
        """All three."""
        return self.valid and self.correct and self.within_slo

    @property
    def outcome(self) -> Verdict:
        """All three in one word: `true` is good, `false` bad, `unknown` could not tell.

        A broken promise is proven whatever the generator did; the figures of a run that is not
        valid prove nothing.
        """
        broken = any(result.verdict == "false" for result in self.limits)
        if self.correctness is Verdict.FALSE or (self.valid and broken):
            return Verdict.FALSE
        return Verdict.TRUE if self.good else Verdict.UNKNOWN


def judge_run(
    record: RunRecord, findings: Sequence[Finding], evidence: Evidence | None
) -> Judgement:
    """Judge a complete record. `evidence` is None where it was too large to be read."""
    figures = record.figures()
    return Judgement(
        invalid=[
            *record.notes,
            *(() if record.measured_s else (WARM_UP_ONLY,)),
            *_late(record),
            *_uncounted(record, evidence),
        ],
        findings=findings,
        limits=judge(load_slo(record.settings.slo), figures),
        figures=figures,
    )


def _late(record: RunRecord) -> list[str]:
    late = lateness(record.histogram("late"))
    limit_ms = record.settings.late_limit_ms
    if late is None or late[1] <= limit_ms * 1000:
        return []
    return [
        f"the generator itself was late: {late[0]} {late[1] / 1000:.1f} ms, limit {limit_ms:g} ms"
    ]


def _uncounted(record: RunRecord, evidence: Evidence | None) -> list[str]:
    if evidence is None:
        return []
    counted = sum(record.series.total(name) for name in ("ok", "fail", "unknown"))
    held = sum(len(submission.attempts) for submission in evidence.submissions)
    if counted == held:
        return []
    return [f"{counted:,} submissions ended but the history holds {held:,}"]


def lateness(late: Histogram) -> tuple[str, int] | None:
    """What is held against the generator, `p99` or `max`, and its µs. None without arrivals.

    Too few arrivals for a p99 are judged by the latest of them.
    """
    for quantile, name in ((0.99, "p99"), (1.0, "max")):
        at_us = late.at(quantile)
        if at_us is not None:
            return name, at_us
    return None
