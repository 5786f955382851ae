"""The count over many runs of the lab: what is kept of each, and its part of RESULTS.md.

A count takes longer than one call: runs of several calls are put together by seed. A run that
convicts nobody and acquits nobody is repeated, and what it saw stays beside the one that counts.
Pure but for `kept_runs`.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

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
    """What is kept of one run. `broken`: the lab itself did not get to a verdict, and why.
    `earlier`: what earlier runs of this seed had come to, a line each."""

    seed: int
    commit: str = ""
    rate: float = 0.0
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
    earlier: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every promise held, and enough was seen."""
        return self.verdict == Verdict.TRUE.value

    @property
    def settled(self) -> bool:
        """Whether it has a verdict; one without is repeated."""
        return self.verdict in (Verdict.TRUE.value, Verdict.FALSE.value)

    @property
    def doubts(self) -> str:
        """What does not hold, or was not seen; empty for a good run."""
        found = [
            f"{f.invariant}: {(f.explanations or ('',))[0]}"
            for f in self.findings
            if f.verdict not in (Verdict.TRUE, Verdict.NOT_ASKED)
        ]
        return "; ".join(found) or (self.broken.splitlines()[0] if self.broken else "")


def kept_runs(*places: Path) -> dict[int, LabRun]:
    """The runs that earlier calls kept, by seed: a folder with a file for each, or one file with
    all. Of two the settled one counts, then the later place. Raises OSError, msgspec's errors."""
    found: dict[int, LabRun] = {}
    for place in places:
        runs: Iterable[LabRun] = ()
        if place.is_dir():
            files = place.glob("*.json")
            runs = [msgspec.json.decode(file.read_bytes(), type=LabRun) for file in files]
        elif place.exists():
            runs = msgspec.json.decode(place.read_bytes(), type=tuple[LabRun, ...])
        for run in runs:
            known = found.get(run.seed)
            if known is None or run.settled or not known.settled:
                found[run.seed] = after(run, known)
    return found


def after(run: LabRun, earlier: LabRun | None) -> LabRun:
    """The run as it is kept when the seed has run before; `earlier` may be the same run."""
    if earlier is None:
        return run
    same = msgspec.structs.replace(run, earlier=()) == msgspec.structs.replace(earlier, earlier=())
    told = () if earlier.good or same else (_told(earlier),)
    return msgspec.structs.replace(
        run, earlier=tuple(dict.fromkeys((*earlier.earlier, *told, *run.earlier)))
    )


def _told(run: LabRun) -> str:
    return f"{run.verdict} at {run.commit}: {run.doubts}"


def kept_of(run: Run, report: ChaosResult, commit: str) -> LabRun:
    """What is kept of a run of the commit that the count began with: its own table is a change."""
    return LabRun(
        seed=report.seed,
        commit=commit,
        rate=run.plan.rate,
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
    false = sum(run.verdict == Verdict.FALSE.value for run in runs)
    return (
        f"{len(runs)} runs: {good} true, {false} false, {len(runs) - good - false} without a "
        f"verdict; {len(fired)} faults of {len({fault.kind for fault in fired})} kinds fired; "
        f"{sum(run.accepted for run in runs):,} submissions acknowledged, "
        f"{sum(f.violations for run in runs for f in run.findings)} findings unexplained"
    )


def command(runs: Sequence[LabRun]) -> str:
    """The command that makes such a count."""
    seeds = [run.seed for run in runs]
    rates = {run.rate for run in runs if run.rate}
    listeners = {run.listeners for run in runs if run.listeners}
    words = [
        *([f"--seed {min(seeds)}"] if min(seeds, default=1) != 1 else []),
        f"--seeds {max(seeds, default=1) - min(seeds, default=1) + 1}",
        *([f"--rate {rates.pop():g}"] if len(rates) == 1 else []),
        *([f"--listeners {listeners.pop()}"] if len(listeners) == 1 else []),
    ]
    return f'make chaos ARGS="--lab {" ".join(words)} --write RESULTS.md"'


def markdown(runs: Sequence[LabRun], file: str) -> str:
    """The section of RESULTS.md; `file` is where the runs are kept."""
    commits = ", ".join(
        f"`{commit}`" for commit in sorted({run.commit for run in runs if run.commit})
    )
    repeated = [f"Seed {run.seed}, before: {said}" for run in runs for said in run.earlier]
    lines = [
        "## The lab: faults of several hosts",
        "",
        f"`{command(runs)}` at {commits}: eleven "
        "hosts as network namespaces on one machine ([docs/lab.md](docs/lab.md)). "
        f"{_sum(runs)}. Result file: [`{file}`]({file}).",
        "",
        "| seed | verdict | acknowledged | faults fired | promises that do not hold, or doubts |",
        "|---|---|---|---|---|",
        *(_row(run) for run in runs),
        "",
        *([*(f"- {_cell(said)}" for said in repeated), ""] if repeated else []),
        "Recovery is from the end of a fault until a fresh submission was acknowledged and seen on "
        "a stream.",
        "",
        "| fault | fired | recovery, median and longest in s |",
        "|---|---|---|",
        *_by_kind(runs),
    ]
    return "\n".join(lines)


def _row(run: LabRun) -> str:
    fired = sum(bool(fault.fired) for fault in run.faults)
    return (
        f"| {run.seed} | {run.verdict} | {run.accepted:,} | {fired} of {len(run.faults)} | "
        f"{_cell(run.doubts)} |"
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]


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
