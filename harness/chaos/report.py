"""Reports a chaos run: JSON for programs, a table for a terminal, Markdown for RESULTS.md.

The JSON holds everything that these and the page (`harness.chaos.page`) show, so they can be made
from it at any later time, and without what it takes to run chaos.
"""

import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.checker import Finding, Verdict, overall
from harness.evidence.history import Outcome
from harness.measure.figures import PERCENTILES
from harness.measure.histogram import Histogram
from harness.measure.machine import fingerprint
from harness.report.document import ChaosResult, ChaosSecond, InjectedFault, Machine

if TYPE_CHECKING:
    from harness.chaos.run import Run
    from harness.checker.evidence import Evidence

KIND = "scoreboard-chaos"


def report_of(run: "Run") -> ChaosResult:
    """The whole report."""
    evidence = run.evidence
    verdict = overall(run.findings)
    outcomes = [s.outcome for s in evidence.submissions]
    opens = sum(r.what == "open" for records in evidence.listens.values() for r in records)
    return ChaosResult(
        seed=run.plan.seed,
        short=run.plan.short,
        commit=commit(),
        started_unix_s=evidence.started_unix_us // 1_000_000,
        machine=Machine(**fingerprint()),
        good=verdict is Verdict.TRUE,
        verdict=verdict,
        verdict_black_box=overall(run.black_box),
        seconds=round(run.seconds, 1),
        load_s=round(run.load_s, 1),
        accepted=outcomes.count(Outcome.OK),
        refused=outcomes.count(Outcome.FAIL),
        unknown=outcomes.count(Outcome.UNKNOWN),
        attempts=sum(len(s.attempts) for s in evidence.submissions),
        attempts_unknown=sum(
            a.outcome is Outcome.UNKNOWN for s in evidence.submissions for a in s.attempts
        ),
        attacks=len(evidence.attacks),
        reads=len(evidence.reads),
        changes=evidence.last_seq - evidence.base_seq,
        listeners=len(evidence.listens),
        reconnects=opens - len(evidence.listens),
        resets=sum(r.what == "reset" for records in evidence.listens.values() for r in records),
        counts=dict(run.counts),
        about=run.about,
        findings=run.findings,
        findings_black_box=run.black_box,
        faults=[
            InjectedFault(
                number=fault.number,
                kind=fault.kind,
                target=fault.target,
                at_s=round((fault.inject_ns - evidence.started_ns) / 1e9, 1),
                held_s=round(((fault.heal_ns or evidence.ended_ns) - fault.inject_ns) / 1e9, 1),
                fired=fault.fired,
                recovery_ms=None if fault.recovery_ms is None else round(fault.recovery_ms, 1),
            )
            for fault in evidence.faults
        ],
        seconds_seen=seconds_seen(evidence),
    )


def seconds_seen(evidence: "Evidence") -> list[ChaosSecond]:
    """Client-side counts for each second of the run, without gaps.

    `ok` and `unknown` count attempts by when they ended; `times` holds the µs until an
    acknowledgement, by when the attempt was sent, where there are enough of them.
    """
    ok: Counter[int] = Counter()
    unknown: Counter[int] = Counter()
    answers: defaultdict[int, Histogram] = defaultdict(Histogram)
    for submission in evidence.submissions:
        for attempt in submission.attempts:
            if attempt.done_ns is None:
                continue
            ended = (attempt.done_ns - evidence.started_ns) // 10**9
            if attempt.outcome is Outcome.OK:
                ok[ended] += 1
                sent = (attempt.invoked_ns - evidence.started_ns) // 10**9
                answers[sent].record((attempt.done_ns - attempt.invoked_ns) // 1000)
            elif attempt.outcome is Outcome.UNKNOWN:
                unknown[ended] += 1
    return [
        ChaosSecond(
            t=second,
            ok=ok[second],
            unknown=unknown[second],
            times={
                "answer": {
                    percentile.key: at_us
                    for percentile in PERCENTILES
                    if second in answers
                    and (at_us := answers[second].at(percentile.quantile)) is not None
                }
            },
        )
        for second in range(max(ok, default=-1) + 1)
    ]


def commit() -> str:
    """The commit under test, marked when the tree has uncommitted changes."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


_MARKS = {
    "true": "✓ true   ",
    "false": "✗ FALSE  ",
    "unknown": "? unknown",
    "not asked": "- not asked",
}


def findings_table(findings: Iterable[Finding]) -> str:
    """One line per invariant, with the reasons below each that is not true."""
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.verdict]}  {finding.invariant:17} {finding.looked_at}")
        lines += [f"               · {text}" for text in finding.explanations]
        more = finding.violations - len(finding.explanations)
        if more > 0:
            lines.append(f"               · and {more} more")
    return "\n".join(lines)


def terminal(report: ChaosResult) -> str:
    """The report for a terminal."""
    rows = [
        ("fault", "on", "at", "held", "recovered", "proof"),
        *(
            (
                fault.kind,
                fault.target,
                f"{fault.at_s:.0f} s",
                f"{fault.held_s:.1f} s",
                _recovered(fault),
                fault.fired or "DID NOT FIRE",
            )
            for fault in report.faults
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    table = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + f"  {row[5]}"
        for row in rows
    )
    return (
        f"{table}\n\n{findings_table(report.findings)}\n\n"
        f"{report.accepted} accepted, {report.refused} refused, {report.unknown} unknown "
        f"submissions in {report.load_s:.0f} s ({report.attempts_unknown} of "
        f"{report.attempts} attempts without an answer); {report.listeners} listeners, "
        f"{report.reconnects} reconnects; {len(report.faults)} faults\n"
        f"verdict: {report.verdict}; from HTTP and streams alone: "
        f"{report.verdict_black_box}; seed {report.seed}, commit {report.commit}"
    )


def _recovered(fault: InjectedFault) -> str:
    value = fault.recovery_ms
    return "never" if value is None else f"{value:.0f} ms"


def markdown(report: ChaosResult, file: str) -> str:
    """The section for RESULTS.md; `file` is where the report is kept."""
    faults = report.faults
    recoveries = [f.recovery_ms for f in faults if f.recovery_ms is not None]
    targets = {fault.target for fault in faults}
    lines = [
        "## Reliability: every promise under faults",
        "",
        f"One run of `make chaos SEED={report.seed}{' SHORT=1' if report.short else ''}` at "
        f"commit `{report.commit}` on {report.machine.cpus} CPUs "
        f"(Python {report.machine.python}), all processes and all clients on one machine. "
        f"Verdict: **{report.verdict}**; from HTTP and streams alone, without the "
        f"database: **{report.verdict_black_box}**. Result file: [`{file}`]({file}); the "
        "mechanism behind each promise: [docs/reliability.md](docs/reliability.md).",
        "",
        f"- {report.load_s:.0f} s of load: {report.accepted:,} acknowledged submissions, "
        f"{report.refused:,} refused, {report.unknown:,} with unknown effect; "
        f"{report.attempts_unknown:,} of {report.attempts:,} attempts got no answer, "
        f"{report.attacks:,} attacks.",
        f"- {report.listeners} listeners with {report.reconnects:,} reconnects, "
        f"{report.changes:,} changes, {report.resets} resets; {report.reads:,} reads.",
        f"- {len(faults)} faults of {len({f.kind for f in faults})} kinds on "
        f"{len(targets)} processes and connections, {sum(bool(f.fired) for f in faults)} proven to "
        f"have fired. Recovery time, from the end of the fault until a fresh submission was "
        f"acknowledged and seen on a stream: "
        + (
            f"median {statistics.median(recoveries):.0f} ms, longest {max(recoveries):.0f} ms."
            if recoveries
            else "never."
        ),
        "",
        "| promise | verdict | evidence |",
        "|---|---|---|",
        *(f"| {f.invariant}: {f.title} | {f.verdict} | {f.looked_at} |" for f in report.findings),
        "",
        "| fault | target and recovery time in ms |",
        "|---|---|",
        *_by_kind(faults),
    ]
    return "\n".join(lines)


def _by_kind(faults: Sequence[InjectedFault]) -> list[str]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        value = fault.recovery_ms
        shown = "never" if value is None else f"{value:.0f}"
        kinds[fault.kind].append(f"{fault.target} {shown}")
    return [f"| {kind} | {', '.join(sorted(targets))} |" for kind, targets in sorted(kinds.items())]
