"""How much a server sustains under limits: a search of short runs, and what they add up to.

Every trial is a whole `harness load` in a process of its own, with its verdict,
so a rate counts only when it was valid, correct, within the limits, and when no
backlog grew behind fast answers.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.checker import Verdict
from harness.report.document import LoadResult, Scalability, TrialResult
from harness.report.result_files import read_result_as
from harness.sessions.search import SearchResult, backlog_grows, search
from harness.sessions.usl import Bounds, TooFewPoints, bootstrap

TRIAL_TIMEOUT_S = 600
PLAYERS_PER_RATE = 1
"""Users per submission/s: keeps each far below the rate limit per user."""
PLAYERS_MIN = 1000
ALIKE = 3
"""So many trials that fail for one cause end a search."""


@dataclass(kw_only=True)
class Plan:
    """What to search over and under which limits."""

    slo: str
    seconds: float
    warmup_s: float
    start: int
    most: int
    least: int = 1
    precision: float
    repeats: int
    results: Path
    load_arguments: tuple[str, ...] = ()
    players: int = 0
    """0 for as many as the rate needs."""


NOTHING = "nothing was accepted"
NOT_CORRECT = "not correct"


class FailsAlike(Exception):
    """The first trials failed for one cause that no load changes; the message has it."""


@dataclass(kw_only=True)
class CapacityTrial:
    """One run of the search."""

    rate: int
    listeners: int
    load: int
    """The one of the two that is searched for."""
    phase: str
    held: bool
    why: str
    document: LoadResult = field(repr=False)

    def to_result(self) -> TrialResult:
        """What is kept of it; the run's own result file has the rest."""
        document = self.document
        figures, resources = document.figures, document.resources
        return TrialResult(
            rate=self.rate,
            listeners=self.listeners,
            phase=self.phase,
            held=self.held,
            why=self.why,
            run_id=document.run_id,
            goodput=figures.get("goodput"),
            response_p50=figures.get("response_p50"),
            response_p99=figures.get("response_p99"),
            lag_p99=figures.get("lag_p99"),
            in_flight=in_flight(document),
            deliveries_per_s=document.counts.get("deliveries", 0) / document.seconds_measured,
            cores=resources.cores,
            bottleneck=resources.bottleneck,
        )


def in_flight(document: LoadResult) -> float:
    """Mean number of submissions on their way, by Little's law from rate and mean service time."""
    mean_us = document.figures.get("service_mean")
    return float(document.figures.get("goodput") or 0) * float(mean_us or 0) / 1e6


def why_not(document: LoadResult, rate: int) -> str:
    """Why a trial did not hold, empty when it did."""
    verdict = document.verdict
    if nothing := _nothing_accepted(document):
        return nothing
    if verdict.invalid:
        return f"not valid: {verdict.invalid[0]}"
    if verdict.incorrect:
        told = verdict.correctness is Verdict.FALSE
        return f"{NOT_CORRECT if told else 'not told correct'}: {verdict.incorrect[0]}"
    unmeasured = [limit.limit for limit in verdict.limits if limit.measured is None]
    if unmeasured:
        return f"not measured: {', '.join(unmeasured)} (a longer --duration, or another limit)"
    broken = [limit.limit for limit in verdict.limits if not limit.passed]
    if broken:
        return f"over {', '.join(broken)}"
    if backlog_grows(unseen(document), rate=rate):
        return "the backlog grows"
    return ""


def _nothing_accepted(document: LoadResult) -> str:
    """The commonest answer of a trial that had no other; empty where something was accepted."""
    totals = document.totals
    if totals.get("ok") or not totals.get("intended"):
        return ""
    causes = [
        (count, name.partition("_")[2])
        for name, count in totals.items()
        if name.startswith(("status_", "cause_"))
    ]
    commonest = max(causes, default=(0, "no answer"))[1]
    return f"{NOTHING}: {f'HTTP {commonest}' if commonest.isdigit() else commonest}"


def unseen(document: LoadResult) -> list[tuple[float, float]]:
    """Pairs (second, accepted submissions that the board did not show yet)."""
    accepted, total = {}, 0
    for second in document.seconds:
        total += second.counters.get("ok", 0)
        accepted[second.t] = total
    window = document.window
    seqs = {t: seq for t, seq in document.backlog if seq >= 0}
    if not seqs:
        return []
    first = document.final_seq - document.totals.get("ok", 0)
    return [
        # The look falls into second t, so what was due before it should be there.
        (float(t), float(accepted[t - 1] - (seq - first)))
        for t, seq in sorted(seqs.items())
        if window.start <= t < window.end and t - 1 in accepted
    ]


class Capacity:
    """Runs searches and keeps their trials. `tell` is called with every trial as it ends."""

    def __init__(self, plan: Plan, tell: Any) -> None:
        self._plan = plan
        self._tell = tell
        self.trials: list[CapacityTrial] = []

    def over_rate(self, listeners: int) -> SearchResult:
        """The greatest submission rate with that many listeners."""
        return self._search(lambda load: (load, listeners))

    def over_listeners(self, rate: int) -> SearchResult:
        """The most listeners at that submission rate."""
        return self._search(lambda load: (rate, load))

    def _search(self, place: Any) -> SearchResult:
        plan = self._plan

        def sustained(load: int, phase: str) -> bool:
            rate, listeners = place(load)
            return self._trial(rate, listeners, load, phase).held

        return search(
            sustained,
            start=plan.start,
            most=plan.most,
            least=plan.least,
            precision=plan.precision,
            repeats=plan.repeats,
        )

    def _trial(self, rate: int, listeners: int, load: int, phase: str) -> CapacityTrial:
        document = run_load(self._plan, rate, listeners)
        why = why_not(document, rate)
        trial = CapacityTrial(
            rate=rate,
            listeners=listeners,
            load=load,
            phase=phase,
            held=not why,
            why=why,
            document=document,
        )
        self.trials.append(trial)
        self._tell(trial)
        if cause := same_cause(self.trials):
            raise FailsAlike(cause)
        return trial


def same_cause(trials: Sequence[CapacityTrial]) -> str:
    """Why no trial held, if the last ones failed alike, whatever their load, or the server was
    convicted as often; else empty."""
    if any(trial.held for trial in trials):
        return ""
    wrong = convictions(trials)
    last = wrong if len(wrong) >= ALIKE else trials[-ALIKE:]
    if len(last) < ALIKE or len({trial.why.partition(":")[0] for trial in last}) > 1:
        return ""
    why = last[-1].why
    hopeless = why.startswith(("not ", NOTHING))
    return f"{ALIKE} trials failed alike, {why}" if hopeless else ""


def convictions(trials: Sequence[CapacityTrial], *, most: int | None = None) -> list[CapacityTrial]:
    """The trials that were not correct, of those with a load of at most `most`."""
    return [
        trial
        for trial in trials
        if trial.why.startswith(NOT_CORRECT) and (most is None or trial.load <= most)
    ]


def tells(cause: str) -> bool:
    """Whether a cause is the server's own, not that too little was seen of it."""
    return NOT_CORRECT in cause or NOTHING in cause


def run_load(plan: Plan, rate: int, listeners: int) -> LoadResult:
    """One `harness load`; its result document. Raises OSError when it left none."""
    path = plan.results / f"trial-{rate}-{listeners}-{os.urandom(3).hex()}.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "load", "--no-ceiling"),
            *("--rate", rate_text(rate, trace="--trace" in plan.load_arguments)),
            *("--listeners", str(listeners)),
            *("--duration", str(plan.seconds), "--warmup", str(plan.warmup_s)),
            *("--players", str(plan.players or max(PLAYERS_MIN, rate * PLAYERS_PER_RATE))),
            *("--slo", plan.slo, "--results", str(plan.results)),
            *("--result-file", str(path)),
            *plan.load_arguments,
        ],
        capture_output=True,
        text=True,
        timeout=TRIAL_TIMEOUT_S,
        check=False,
    )
    if not path.exists():
        raise OSError(f"a trial left no result:\n{done.stderr.strip()[-2000:]}")
    return read_result_as(path, LoadResult)


def rate_text(rate: int, *, trace: bool) -> str:
    """The option `--rate` of a trial. Beside a trace it has its unit: as the bare default it would
    be the trace's own rate."""
    return f"{rate}/s" if trace else str(rate)


def scalability(trials: Sequence[TrialResult]) -> Scalability:
    """The law fitted to (submissions in flight, goodput) of all trials, or why it was not."""
    points = [
        (max(1.0, t.in_flight), t.goodput)
        for t in trials
        if t.goodput and t.in_flight and not t.why.startswith("not ")
    ]
    try:
        bounds: Bounds = bootstrap(points)
    except TooFewPoints as error:
        return Scalability(points=points, refused=str(error))
    # JSON knows no infinity: `msgspec` writes it as null, which stands for no bound.
    law = {"points": points, **asdict(bounds), "peak_rate": bounds.fit.peak}
    return msgspec.json.decode(msgspec.json.encode(law), type=Scalability)


def limiting(trials: Sequence[CapacityTrial]) -> str:
    """The bottleneck at the least load that did not hold, else at the greatest that did."""
    failed = [t for t in trials if not t.held]
    decisive = (
        min(failed, key=lambda t: (t.rate, t.listeners))
        if failed
        else max(trials, key=lambda t: (t.rate, t.listeners), default=None)
    )
    return "" if decisive is None else decisive.document.resources.bottleneck
