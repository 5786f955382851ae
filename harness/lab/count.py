"""The count over many runs of the lab: what is kept of each, and its part of RESULTS.md. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from harness.chaos.run import Run
from harness.checker import Finding, Verdict, overall
from harness.report.document import ChaosResult

NAME = "lab"
"""The name of the section in RESULTS.md and of the file kept for it."""


class LabFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it was: `fired` is its proof, `recovery_ms` until a fresh submission came
    through."""

    kind: str
    target: str
    fired: str | None = None
    recovery_ms: float | None = None


class LabRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one run. `broken`: the lab itself did not get to a verdict, and why."""

    seed: int
    commit: str = ""
    verdict: str = "unknown"
    accepted: int = 0
    unknown: int = 0
    changes: int = 0
    reads: int = 0
    listeners: int = 0
    load_s: float = 0.0
    faults: tuple[LabFault, ...] = ()
    findings: tuple[Finding, ...] = ()
    broken: str = ""

    @property
    def good(self) -> bool:
        """Whether every promise held, and enough was seen."""
        return self.verdict == Verdict.TRUE.value


def kept_of(run: Run, report: ChaosResult) -> LabRun:
    """What is kept of a run."""
    return LabRun(
        seed=report.seed,
        commit=report.commit,
        verdict=overall(run.findings).value,
        accepted=report.accepted,
        unknown=report.unknown,
        changes=report.changes,
        reads=report.reads,
        listeners=report.listeners,
        load_s=report.load_s,
        faults=tuple(
            LabFault(kind=f.kind, target=f.target, fired=f.fired, recovery_ms=f.recovery_ms)
            for f in report.faults
        ),
        findings=tuple(run.findings),
    )


def line(run: LabRun) -> str:
    """One run on a line."""
    if run.broken:
        return f"seed {run.seed}: no verdict: {run.broken.splitlines()[0]}"
    fired = sum(bool(fault.fired) for fault in run.faults)
    return (
        f"seed {run.seed}: {run.verdict}; {run.accepted:,} accepted, "
        f"{fired} of {len(run.faults)} faults fired, {run.load_s:.0f} s"
    )


def terminal(runs: Sequence[LabRun]) -> str:
    """All runs, each on a line, and their sum."""
    return "\n".join([*map(line, runs), _sum(runs)])


def _sum(runs: Sequence[LabRun]) -> str:
    fired = [fault for run in runs for fault in run.faults if fault.fired]
    good = sum(run.good for run in runs)
    return (
        f"{len(runs)} runs, {good} with verdict true, "
        f"{sum(run.verdict == Verdict.FALSE.value for run in runs)} false; "
        f"{len(fired)} faults of {len({fault.kind for fault in fired})} kinds fired; "
        f"{sum(run.accepted for run in runs):,} submissions acknowledged"
    )


def markdown(runs: Sequence[LabRun], file: str) -> str:
    """The section of RESULTS.md; `file` is where the runs are kept."""
    commits = ", ".join(
        f"`{commit}`" for commit in sorted({run.commit for run in runs if run.commit})
    )
    lines = [
        "## The lab: faults of several hosts",
        "",
        f'`make chaos ARGS="--lab --seeds {len(runs)} --write RESULTS.md"` at {commits}: eleven '
        "hosts as network namespaces on one machine ([docs/lab.md](docs/lab.md)). "
        f"{_sum(runs)}. Result file: [`{file}`]({file}).",
        "",
        "| seed | verdict | acknowledged | faults fired | promises that do not hold, or doubts |",
        "|---|---|---|---|---|",
        *(_row(run) for run in runs),
        "",
        "Recovery is from the end of a fault until a fresh submission was acknowledged and seen on "
        "a stream.",
        "",
        "| fault | fired | recovery, median and longest in s |",
        "|---|---|---|",
        *_by_kind(runs),
    ]
    return "\n".join(lines)


def _row(run: LabRun) -> str:
    doubts = [
        f"{f.invariant}: {(f.explanations or ('',))[0]}"
        for f in run.findings
        if f.verdict not in (Verdict.TRUE, Verdict.NOT_ASKED)
    ]
    said = "; ".join(doubts) or run.broken.splitlines()[0] if doubts or run.broken else ""
    fired = sum(bool(fault.fired) for fault in run.faults)
    return (
        f"| {run.seed} | {run.verdict} | {run.accepted:,} | {fired} of {len(run.faults)} | "
        f"{said.replace('|', '/')[:300]} |"
    )


def _by_kind(runs: Sequence[LabRun]) -> list[str]:
    kinds: dict[str, list[LabFault]] = defaultdict(list)
    for run in runs:
        for fault in run.faults:
            kinds[fault.kind].append(fault)
    lines = []
    for kind, faults in sorted(kinds.items()):
        times = [fault.recovery_ms / 1000 for fault in faults if fault.recovery_ms is not None]
        shown = f"{statistics.median(times):.1f}, {max(times):.1f}" if times else "never"
        fired = sum(bool(fault.fired) for fault in faults)
        lines.append(f"| {kind} | {fired} of {len(faults)} | {shown} |")
    return lines
