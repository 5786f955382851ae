"""How much a server sustains under limits: a search of short runs, and what they add up to.

Every trial is a whole `harness load` in a process of its own, with its verdict,
so a rate counts only when it was valid, correct, within the limits, and when no
backlog grew behind fast answers.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.measure.search import Found, backlog_grows, search
from harness.measure.usl import Bounds, TooFewPoints, bootstrap

TRIAL_TIMEOUT_S = 600
PLAYERS_PER_RATE = 1
"""Users per submission/s: keeps each far below the rate limit per user."""
PLAYERS_MIN = 1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to search over and under which limits."""

    slo: str
    seconds: float
    warmup_s: float
    start: int
    most: int
    precision: float
    repeats: int
    results: Path
    load_arguments: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Trial:
    """One run of the search."""

    rate: int
    listeners: int
    phase: str
    held: bool
    why: str
    document: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """What is kept of it; the run's own result file has the rest."""
        figures, resources = self.document["figures"], self.document["resources"]
        return {
            "rate": self.rate,
            "listeners": self.listeners,
            "phase": self.phase,
            "held": self.held,
            "why": self.why,
            "run_id": self.document["run_id"],
            "goodput": figures.get("goodput"),
            "response_p50": figures.get("response_p50"),
            "response_p99": figures.get("response_p99"),
            "lag_p99": figures.get("lag_p99"),
            "in_flight": in_flight(self.document),
            "deliveries_per_s": deliveries_per_s(self.document),
            "cores": resources["cores"],
            "bottleneck": resources["bottleneck"],
        }


def in_flight(document: Mapping[str, Any]) -> float:
    """Mean number of submissions on their way, by Little's law from rate and mean service time."""
    mean_us = document["figures"].get("service_mean")
    return float(document["figures"].get("goodput") or 0) * float(mean_us or 0) / 1e6


def deliveries_per_s(document: Mapping[str, Any]) -> float:
    """Events delivered per second over all listeners."""
    window = document["window"]
    return float(document["counts"].get("deliveries", 0) / max(1, window["end"] - window["start"]))


def why_not(document: Mapping[str, Any], rate: int) -> str:
    """Why a trial did not hold, empty when it did."""
    verdict = document["verdict"]
    if verdict["invalid"]:
        return f"not valid: {verdict['invalid'][0]}"
    if verdict["incorrect"]:
        return f"not correct: {verdict['incorrect'][0]}"
    broken = [kept["limit"] for kept in verdict["limits"] if not kept["kept"]]
    if broken:
        return f"over {', '.join(broken)}"
    if backlog_grows(unseen(document), rate=rate):
        return "the backlog grows"
    return ""


def unseen(document: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Pairs (second, accepted submissions that the board did not show yet)."""
    accepted, total = {}, 0
    for second in document["seconds"]:
        total += int(second.get("ok", 0))
        accepted[int(second["t"])] = total
    window = document["window"]
    seqs = {int(t): seq for t, seq in document["backlog"] if seq >= 0}
    if not seqs:
        return []
    first = document["final_seq"] - int(document["totals"].get("ok", 0))
    return [
        # The look falls into second t, so what was due before it should be there.
        (float(t), float(accepted[t - 1] - (seq - first)))
        for t, seq in sorted(seqs.items())
        if window["start"] <= t < window["end"] and t - 1 in accepted
    ]


class Capacity:
    """Runs searches and keeps their trials. `tell` is called with every trial as it ends."""

    def __init__(self, plan: Plan, tell: Any) -> None:
        self._plan = plan
        self._tell = tell
        self.trials: list[Trial] = []

    def over_rate(self, listeners: int) -> Found:
        """The greatest submission rate with that many listeners."""
        return self._search(lambda load: (load, listeners))

    def over_listeners(self, rate: int) -> Found:
        """The most listeners at that submission rate."""
        return self._search(lambda load: (rate, load))

    def _search(self, place: Any) -> Found:
        plan = self._plan

        def holds(load: int, phase: str) -> bool:
            rate, listeners = place(load)
            return self._trial(rate, listeners, phase).held

        return search(
            holds,
            start=plan.start,
            most=plan.most,
            precision=plan.precision,
            repeats=plan.repeats,
        )

    def _trial(self, rate: int, listeners: int, phase: str) -> Trial:
        document = run_load(self._plan, rate, listeners)
        why = why_not(document, rate)
        trial = Trial(
            rate=rate,
            listeners=listeners,
            phase=phase,
            held=not why,
            why=why,
            document=document,
        )
        self.trials.append(trial)
        self._tell(trial)
        return trial


def run_load(plan: Plan, rate: int, listeners: int) -> dict[str, Any]:
    """One `harness load`; its result document. Raises OSError when it left none."""
    known = set(plan.results.glob("*.json"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness", "load", "--no-ceiling"),
            *("--rate", str(rate), "--listeners", str(listeners)),
            *("--duration", str(plan.seconds), "--warmup", str(plan.warmup_s)),
            *("--players", str(max(PLAYERS_MIN, rate * PLAYERS_PER_RATE))),
            *("--slo", plan.slo, "--results", str(plan.results)),
            *plan.load_arguments,
        ],
        capture_output=True,
        text=True,
        timeout=TRIAL_TIMEOUT_S,
        check=False,
    )
    fresh = [
        path
        for path in set(plan.results.glob("*.json")) - known
        if not path.name.startswith(("capacity", "ceiling"))
    ]
    if not fresh:
        raise OSError(f"a trial left no result:\n{done.stderr.strip()[-2000:]}")
    document: dict[str, Any] = json.loads(fresh[0].read_text())
    return document


def scalability(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The law fitted to (submissions in flight, goodput) of all trials, or why it was not."""
    points = [
        (max(1.0, t["in_flight"]), t["goodput"])
        for t in trials
        if t["goodput"] and t["in_flight"] and not t["why"].startswith("not ")
    ]
    try:
        bounds: Bounds = bootstrap(points)
    except TooFewPoints as error:
        return {"refused": str(error), "points": points}
    law: dict[str, Any] = _finite(
        {"points": points, **asdict(bounds), "peak_rate": bounds.fit.peak}
    )
    return law


def _finite(value: Any) -> Any:
    """The value with infinities as None, which JSON can hold."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def limiting(trials: Sequence[Trial]) -> str:
    """The bottleneck at the least load that did not hold, else at the greatest that did."""
    failed = [t for t in trials if not t.held]
    decisive = (
        min(failed, key=lambda t: (t.rate, t.listeners))
        if failed
        else max(trials, key=lambda t: (t.rate, t.listeners), default=None)
    )
    return "" if decisive is None else str(decisive.document["resources"]["bottleneck"])
