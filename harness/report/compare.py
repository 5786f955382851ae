"""Compares two runs: figures that differ beyond noise and by more than a minimal effect. Pure.

Seconds are the samples: a figure of each second of A against those of B, by the
Mann-Whitney rank test, and only a median that moved by at least `effect` counts.
So a longer run says more, and one lucky second says nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.measure.settings import RunSettings
from harness.report.charts import per_second
from harness.report.document import LoadResult, Second
from harness.report.run_view import correctness

EFFECT = 0.10
SIGNIFICANCE = 0.01
LOAD = ("rate:", "listeners:", "arrivals:", "stream_gzip:")
"""Settings that make figures incomparable: the other run answered another question."""
SECONDS_MIN = 8
"""With fewer seconds on either side a comparison is unclear."""

FIGURES: tuple[tuple[str, str, str, bool], ...] = (
    # name, histogram or counter, quantile or "", whether more is worse
    ("response p50", "response", "p50", True),
    ("response p99", "response", "p99", True),
    ("service p50", "service", "p50", True),
    ("lag p50", "lag", "p50", True),
    ("lag p99", "lag", "p99", True),
    ("last listener p50", "reach_last", "p50", True),
    ("accepted per second", "ok", "", False),
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure in two runs. `judgement` is same, better, worse or unclear."""

    name: str
    before: float | None
    after: float | None
    change: float | None
    p_value: float | None
    judgement: str
    is_time: bool


def rank_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of Mann-Whitney's U, normal approximation with ties and continuity.

    Good from eight values on each side; 1.0 when all values are equal.
    """
    n1, n2 = len(first), len(second)
    pooled = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum = 0.0
    ties = 0.0
    start = 0
    while start < len(pooled):
        end = start
        while end < len(pooled) and pooled[end][0] == pooled[start][0]:
            end += 1
        rank = (start + 1 + end) / 2
        rank_sum += rank * sum(1 for _, side in pooled[start:end] if side == 0)
        ties += (end - start) ** 3 - (end - start)
        start = end
    total = n1 + n2
    u = rank_sum - n1 * (n1 + 1) / 2
    spread = n1 * n2 / 12 * (total + 1 - ties / (total * (total - 1)))
    if spread <= 0:
        return 1.0
    z = max(0.0, abs(u - n1 * n2 / 2) - 0.5) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2))


def compare(before: LoadResult, after: LoadResult, *, effect: float = EFFECT) -> list[Difference]:
    """Every figure that both runs have."""
    return [
        judge(name, _samples(before, key, q), _samples(after, key, q), worse_up=up, effect=effect)
        for name, key, q, up in FIGURES
        if _samples(before, key, q) and _samples(after, key, q)
    ]


def judge(
    name: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    worse_up: bool,
    effect: float = EFFECT,
    significance: float = SIGNIFICANCE,
) -> Difference:
    """Decide about one figure from its samples on both sides."""
    old, new = median(before), median(after)
    change = new / old - 1 if old else (0.0 if new == old else math.inf)
    p_value = rank_test(before, after)
    if min(len(before), len(after)) < SECONDS_MIN:
        judgement = "unclear"
    elif p_value >= significance or abs(change) < effect:
        judgement = "same"
    else:
        judgement = "worse" if (change > 0) is worse_up else "better"
    return Difference(
        name=name,
        before=old,
        after=new,
        change=change,
        p_value=p_value,
        judgement=judgement,
        is_time="per second" not in name,
    )


def _measured(document: LoadResult) -> list[Second]:
    window = document.window
    return [s for s in document.seconds if window.start <= s.t < window.end]


def _samples(document: LoadResult, key: str, quantile: str) -> list[float]:
    seconds = _measured(document)
    if not quantile:
        return [float(per_second(s, key)) for s in seconds]
    return [float(s.times[key][quantile]) for s in seconds if quantile in s.times.get(key, {})]


def why_untold(
    before: LoadResult, after: LoadResult, differences: Sequence[Difference]
) -> list[str]:
    """Why a comparison that found nothing worse is no acquittal; empty when it is one."""
    reasons = [
        f"the {word} run is not valid: {'; '.join(document.verdict.invalid) or 'no reason kept'}"
        for word, document in (("first", before), ("second", after))
        if not document.verdict.valid
    ]
    if before.run_id and before.run_id == after.run_id:
        reasons.append(f"both files hold the same run, {before.run_id}")
    if correctness(after) == "unknown":
        reasons.append("the second run could not be told correct")
    if load := different_loads(before, after):
        reasons.append(f"the two runs had different loads: {'; '.join(load)}")
    seconds = [f"{len(_measured(document))} s" for document in (before, after)]
    if not differences:
        reasons.append(f"nothing in common to compare: {' and '.join(seconds)} were measured")
    elif lost := lost_figures(before, after):
        reasons.append(f"the second run has lost {', '.join(lost)}, which the first has")
    unclear = [found.name for found in differences if found.judgement == "unclear"]
    if unclear:
        reasons.append(
            f"too few seconds for {', '.join(unclear)}: {' and '.join(seconds)} were measured, "
            f"{SECONDS_MIN} are needed in each run"
        )
    return reasons


def lost_figures(before: LoadResult, after: LoadResult) -> list[str]:
    """Figures of the first run that the second does not have: nobody knows whether they are
    worse."""
    return [
        name
        for name, key, q, _ in FIGURES
        if _samples(before, key, q) and not _samples(after, key, q)
    ]


def different_loads(before: LoadResult, after: LoadResult) -> list[str]:
    """Differences in what the two runs sent and held open."""
    return [reason for reason in different_settings(before, after) if reason.startswith(LOAD)]


def different_settings(before: LoadResult, after: LoadResult) -> list[str]:
    """Differences in settings and machine that may make the runs incomparable."""
    ignored = {"label", "results", "slo"}
    # A run of before an option was there had what is its default now.
    defaults = RunSettings().to_json()
    one, other = defaults | before.settings, defaults | after.settings
    reasons = [
        f"{name}: {one.get(name)} and {other.get(name)}"
        for name in sorted(set(one) | set(other))
        if name not in ignored and one.get(name) != other.get(name)
    ]
    return reasons + [
        f"{name}: {getattr(before.machine, name)} and {getattr(after.machine, name)}"
        for name in ("cpu", "cpus", "kernel", "python")
        if getattr(before.machine, name) != getattr(after.machine, name)
    ]
