"""The record of a run, its judgement, and the JSON file that everything else is made from.

The file carries a version, the commit, the machine, the settings, one entry per
second and whole histograms, so a report never needs the run again.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.checker import reconcile
from harness.checker.end_to_end import journeys, reached
from harness.checker.invariants import judge_history
from harness.checker.verdict import Finding
from harness.checker.verdict import Verdict as Belief
from harness.engines.reach import Reach
from harness.evidence import board_look
from harness.evidence.history import Done, Submit, history_paths, read_history
from harness.measure.bottleneck import name_bottleneck, usage_of
from harness.measure.figures import DURATION_NAMES, PERCENTILES
from harness.measure.histogram import Histogram, lowest_of
from harness.measure.schedule import arrivals, parse_profile
from harness.measure.series import Series
from harness.measure.settings import RunSettings
from harness.measure.slo import SloResult, histogram_and_quantile, judge, load_slo
from harness.report.charts import heat_bucket
from harness.report.document import (
    Ceiling,
    Fault,
    LimitResult,
    LoadResult,
    LoadVerdict,
    Machine,
    Member,
    Resources,
    Sample,
    Second,
    Window,
)
from harness.report.listener_cost import swarm_cost
from harness.report.load_page import html_report
from harness.report.result_files import read_result_as, write_result_file, write_whole
from harness.run.resources import restarts_of
from harness.run.worker_state import Member as WorkerState

REACH_HISTOGRAMS = ("reach_first", "reach_median", "reach_last")
JOURNEY_HISTOGRAMS = ("submit_deliver_first", "submit_deliver_median", "submit_deliver_last")
HEAT_HISTOGRAMS = ("response", "lag")


@dataclass(kw_only=True)
class Verdict:
    """Three questions: was the generator sound, was the server right, was it fast enough?"""

    invalid: list[str] = field(default_factory=list)
    incorrect: list[str] = field(default_factory=list)
    limits: list[SloResult] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """The figures mean what they say."""
        return not self.invalid

    @property
    def correct(self) -> bool:
        """Nothing contradicts the server's promises."""
        return not self.incorrect

    @property
    def within_slo(self) -> bool:
        """Every limit holds; true when none was set."""
        return all(result.passed for result in self.limits)

    @property
    def good(self) -> bool:
        """All three."""
        return self.valid and self.correct and self.within_slo


@dataclass(kw_only=True)
class RunRecord:
    """Everything known at the end of a run. `begin_second` is the schedule's 0 in the series."""

    run_id: str
    settings: RunSettings
    base_url: str
    machine: dict[str, Any]
    started_unix_s: float
    series: Series
    begin_second: int
    measured_s: int
    members: list[WorkerState]
    final_seq: int
    converged: bool
    before: board_look.Look
    after: board_look.Look
    backlog: list[tuple[int, int]]
    samples: list[dict[str, Any]]
    notes: list[str]
    folder: Path
    mysql_url: str = field(default="", repr=False)
    ceiling: Ceiling | None = None
    verdict: Verdict = field(default_factory=Verdict)
    findings: list[reconcile.Findings] = field(default_factory=list)
    invariants: list[Finding] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """The verdict is good."""
        return self.verdict.good

    @property
    def window(self) -> tuple[int, int]:
        """First second measured and the one after the last, in the series' numbers."""
        start = self.begin_second + round(self.settings.warmup_s)
        return start, start + max(1, self.measured_s)

    def counter(self, name: str) -> int:
        """A counter over the measured window."""
        start, end = self.window
        return self.series.total(name, start=start, end=end)

    def histogram(self, name: str) -> Histogram:
        """A histogram over the measured window; `connect` over the whole run."""
        if name == "connect":
            return self.series.merged(name)
        start, end = self.window
        return self.series.merged(name, start=start, end=end)

    def figures(self) -> dict[str, float | None]:
        """Every figure that a limit may name. Times in µs, shares 0 to 1, rates per second."""
        figures: dict[str, float | None] = {}
        intended = self.counter("intended")
        seconds = max(1, self.measured_s)
        for name, counter in (("unknown", "unknown"), ("dropped", "dropped"), ("waited", "waited")):
            figures[name] = self.counter(counter) / intended if intended else None
        bad = sum(self.counter(name) for name in ("fail", "unknown", "dropped"))
        figures["errors"] = bad / intended if intended else None
        figures["rate"] = intended / seconds
        figures["throughput"] = (self.counter("ok") + self.counter("fail")) / seconds
        figures["goodput"] = self.counter("ok") / seconds
        limits = load_slo(self.settings.slo)
        asked = [histogram_and_quantile(limit.figure) for limit in limits]
        for name in DURATION_NAMES:
            histogram = self.histogram(name)
            for percentile in PERCENTILES:
                figures[f"{name}_{percentile.key}"] = histogram.at(percentile.quantile)
            figures[f"{name}_mean"] = histogram.mean_us
        for limit, pair in zip(limits, asked, strict=True):
            if pair is not None:
                figures[limit.figure] = self.histogram(pair[0]).at(pair[1])
        return figures

    def judge(self) -> None:
        """Fill in findings and verdict. Reads the histories and, where it may, the ledger."""
        attempts = list(read_attempts(self.folder))
        reaches = [Reach.from_wire(m.reach) for m in self.members if m.kind == "swarm"]
        self._reach(reaches)
        if self.before.from_mysql and self.after.from_mysql:
            acknowledged = {
                a.submission_id for a in attempts if a.outcome == "ok" and a.submission_id
            }
            rows = board_look.ledger_since(self.mysql_url, self.before.seq)
            absent = acknowledged - {row.submission_id for row in rows}
            if absent:
                rows += board_look.ledger_since(self.mysql_url, self.after.seq, absent)
            self.findings = [reconcile.against_ledger(attempts, rows, self.before, self.after)]
            self._follow(attempts, rows, reaches)
        else:
            self.findings = [reconcile.against_board(attempts, self.before, self.after)]
        swarms = [m for m in self.members if m.kind == "swarm"]
        if swarms:
            self.findings.append(
                reconcile.of_listeners(
                    [m.status for m in swarms],
                    [m.latest for m in swarms],
                    self.after,
                    self.final_seq,
                )
            )
        verdict = Verdict(invalid=[*self.notes])
        if late := lateness(self.histogram("late")):
            of, late_us = late
            if late_us > self.settings.late_limit_ms * 1000:
                verdict.invalid.append(
                    f"the generator itself was late: {of} {late_us / 1000:.1f} ms, "
                    f"limit {self.settings.late_limit_ms:g} ms"
                )
        counted = sum(self.series.total(name) for name in ("ok", "fail", "unknown"))
        if counted != len(attempts):
            verdict.invalid.append(
                f"{counted:,} submissions ended but the history holds {len(attempts):,}"
            )
        for finding in self.findings:
            verdict.incorrect += finding.problems
        if swarms and not self.converged:
            verdict.incorrect.append("the listeners did not all come to stand at the last change")
        self.invariants = judge_history(self.folder, self.mysql_url)
        for invariant in self.invariants:
            if invariant.verdict is not Belief.TRUE:
                reason = invariant.explanations[0] if invariant.explanations else "no reason given"
                verdict.incorrect.append(f"{invariant.invariant} {invariant.verdict}: {reason}")
        verdict.limits = judge(load_slo(self.settings.slo), self.figures())
        self.verdict = verdict

    def _reach(self, reaches: list[Reach]) -> None:
        """Replace what swarms could tell meanwhile of first to last listeners by what was so.

        Each counted by itself, and without the listeners that were seconds late. Where
        a swarm had too many events to send them there is no figure then.
        """
        for second in self.series.seconds.values():
            for name in REACH_HISTOGRAMS:
                second.histograms.pop(name, None)
        if any(reach.left_out for reach in reaches):
            return
        times = reached(reaches)
        zero_us = round(self.started_unix_s * 1e6) - self.begin_second * 1_000_000
        seconds = (times[:, 0] - zero_us) // 1_000_000
        for number in np.unique(seconds).tolist():
            inside = times[seconds == number]
            histograms = self.series.seconds[number].histograms
            for column, name in enumerate(REACH_HISTOGRAMS, start=1):
                histograms[name].record_many(inside[:, column] - inside[:, 0])

    def _follow(
        self,
        attempts: list[reconcile.Attempt],
        rows: list[board_look.LedgerRow],
        reaches: list[Reach],
    ) -> None:
        """Add submit-to-deliver times to the series, by intended second."""
        if not reaches:
            return
        begin_us = round(self.started_unix_s * 1e6)
        last = max((attempt.number for attempt in attempts), default=-1)
        schedule = arrivals(
            parse_profile(self.settings.rate),
            seed=self.settings.seed,
            poisson=self.settings.arrivals == "poisson",
        )
        due_us = {number: begin_us + due // 1000 for number, due in islice(schedule, last + 1)}
        for due, *durations in journeys(attempts, rows, due_us, reaches):
            second = self.series.seconds[self.begin_second + (due - begin_us) // 1_000_000]
            for name, duration in zip(JOURNEY_HISTOGRAMS, durations, strict=True):
                second.histograms[name].record(duration)

    def to_document(self) -> LoadResult:
        """The result document."""
        start, end = self.window
        names = sorted(self.series.names()[0])
        members = [
            Member(kind=m.kind, host=m.host, pid=m.pid, status=m.status) for m in self.members
        ]
        return LoadResult(
            run_id=self.run_id,
            label=self.settings.label,
            started_unix_s=self.started_unix_s,
            machine=Machine(**self.machine),
            target=self.base_url,
            settings=self.settings.to_json(),
            window=Window(start=start - self.begin_second, end=end - self.begin_second),
            verdict=LoadVerdict(
                valid=self.verdict.valid,
                correct=self.verdict.correct,
                within_slo=self.verdict.within_slo,
                good=self.verdict.good,
                invalid=self.verdict.invalid,
                incorrect=self.verdict.incorrect,
                limits=[
                    LimitResult(
                        limit=result.limit.text,
                        figure=result.limit.figure,
                        measured=result.measured,
                        passed=result.passed,
                    )
                    for result in self.verdict.limits
                ],
            ),
            counts={name: self.counter(name) for name in names},
            totals={name: self.series.total(name) for name in names},
            figures=self.figures(),
            findings=[*(_finding(found) for found in self.findings), *self.invariants],
            final_seq=self.final_seq,
            converged=self.converged,
            members=members,
            swarm=swarm_cost(
                [msgspec.structs.asdict(member) for member in members],
                cpu_us=self.counter("cpu_us"),
                reads=self.counter("reads"),
            ),
            backlog=self.backlog,
            resources=self._resources(),
            faults=[Fault(**fault) for fault in restarts_of(self.samples)],
            seconds=list(self._seconds()),
            histograms={
                name: self.histogram(name).to_hdr()
                for name in DURATION_NAMES
                if self.histogram(name).total
            },
            ceiling=self.ceiling,
        )

    def _resources(self) -> Resources:
        start, end = (second - self.begin_second for second in self.window)
        usage = usage_of(
            (s for s in self.samples if start <= s["t"] < end),
            int(self.machine.get("cpus") or 1),
            float(self.machine.get("memory_mib") or 0),
        )
        samples = msgspec.convert(self.samples, list[Sample])
        if usage is None:
            return Resources(samples=samples, bottleneck=name_bottleneck(None))
        return Resources(
            samples=samples,
            cores=dict(usage.cores),
            rss_mib=dict(usage.rss_mib),
            counters=dict(usage.counters),
            busy=usage.busy,
            elsewhere=usage.elsewhere,
            harness_share=usage.harness_share,
            bottleneck=name_bottleneck(usage),
        )

    def _seconds(self) -> Iterator[Second]:
        for number, second in sorted(self.series.seconds.items()):
            yield Second(
                t=number - self.begin_second,
                counters=dict(second.counters),
                times={
                    name: {"n": histogram.total, **_percentiles(histogram)}
                    for name, histogram in second.histograms.items()
                    if histogram.total
                },
                heat={
                    name: _coarse(second.histograms[name])
                    for name in HEAT_HISTOGRAMS
                    if name in second.histograms
                },
            )


def _finding(found: reconcile.Findings) -> Finding:
    told = (f"{name.replace('_', ' ')} {value:,}" for name, value in found.counts.items() if value)
    return Finding(
        invariant=found.witness,
        verdict=Belief.TRUE if found.good else Belief.FALSE,
        looked_at=", ".join(told),
        explanations=tuple(found.problems),
        violations=len(found.problems),
        counts=found.counts,
    )


def _percentiles(histogram: Histogram) -> dict[str, int]:
    """Those that have enough samples, in µs."""
    found = ((percentile.key, histogram.at(percentile.quantile)) for percentile in PERCENTILES)
    return {key: at_us for key, at_us in found if at_us is not None}


def lateness(late: Histogram) -> tuple[str, int] | None:
    """What is held against the generator, `p99` or `max`, and its µs. None without arrivals.

    Too few arrivals for a p99 are judged by the latest of them.
    """
    for quantile, name in ((0.99, "p99"), (1.0, "max")):
        at_us = late.at(quantile)
        if at_us is not None:
            return name, at_us
    return None


def _coarse(histogram: Histogram) -> dict[int, int]:
    """Counts by the buckets of the heat maps."""
    counts: Counter[int] = Counter()
    for bucket, count in histogram.counts.items():
        counts[heat_bucket(lowest_of(bucket))] += count
    return dict(counts)


def read_attempts(folder: Path) -> Iterator[reconcile.Attempt]:
    """Every submission in the histories of a run. A second or two per million."""
    for path in history_paths(folder):
        if not path.name.startswith("history-flood"):
            continue
        open_attempts: dict[int, Submit] = {}
        for record in read_history(path).records:
            if isinstance(record, Submit):
                open_attempts[record.index] = record
            elif isinstance(record, Done) and record.of in open_attempts:
                sent = open_attempts.pop(record.of)
                yield _attempt(sent, str(record.outcome), record.sid)
        for sent in open_attempts.values():
            yield _attempt(sent, "unknown", None)


def _attempt(sent: Submit, outcome: str, sid: str | None) -> reconcile.Attempt:
    try:
        identifier = bytes.fromhex(sid.replace("-", "")) if sid else None
    except ValueError:
        identifier = None
    return reconcile.Attempt(
        number=int((sent.key or "-0").rpartition("-")[2]),
        user=sent.user,
        increment=sent.increment,
        outcome=outcome,
        submission_id=identifier,
    )


def write_result(record: RunRecord, path: Path | None = None) -> Path:
    """Write the result file, by default beside the run's folder, and its page; returns the path."""
    path = path or record.folder.with_suffix(".json")
    write_result_file(record.to_document(), path)
    # Read back, so that the page is made of what the file holds and nothing else.
    page = html_report(read_result_as(path, LoadResult))
    write_whole(path.with_suffix(".html"), page.encode())
    return path
