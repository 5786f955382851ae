"""Is head slower than base? Interleaved rounds, a rank test, a least effect, hard counts.

Within one job the same code spreads by a percent, between jobs by a quarter, so
base and head take turns in this job, each round in a fresh process, the order
swapped every round. A time is worse only when the ranks say so and its median
moved by `effect`; what is neither clear nor clean is measured again with as many
rounds more. Counts do not depend on the machine, so any growth fails.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from harness.report.compare import rank_test

ROUNDS = 10
EFFECT = 0.08
SIGNIFICANCE = 0.05
"""For all cases together; each gets its share (Bonferroni)."""
DOUBT = 0.05
EFFECTS = (0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
POWER = 0.9
POWER_DRAWS = 60
PEAK_SLACK = 0.02
"""Allocator rounding lets peaks differ by a little between equal programs."""
RUNNER = Path(__file__).with_name("runner.py")

Sample = Mapping[str, Mapping[str, float]]
Measure = Callable[[str, Sequence[str]], Sample]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One case. `judgement` is same, better, worse, or more (a count grew).

    `sees` is the least slowdown that its times would most likely show; None: not even a doubling.
    """

    name: str
    base_ns: float
    head_ns: float
    change: float
    p_value: float
    rounds: int
    calls: tuple[int, int]
    peak_bytes: tuple[int, int]
    sees: float | None = None
    instructions: tuple[int, int] | None = None
    judgement: str
    why: str = ""


def run_tree(
    folder: Path, names: Sequence[str], plant: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """One round of a tree in a fresh process. Raises OSError with its last words.

    `plant` are options of the runner.
    """
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(folder), *names, *plant],
        cwd=folder,
        # Sets would otherwise be walked in another order each time, and counts differ.
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise OSError(f"benchmarks of {folder.name} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def measure_sides(
    measure: Measure, names: Sequence[str], *, rounds: int
) -> dict[str, list[Sample]]:
    """`rounds` samples of each side, in turns, the first side alternating."""
    sides: dict[str, list[Sample]] = {"base": [], "head": []}
    for number in range(rounds):
        order = ("base", "head") if number % 2 == 0 else ("head", "base")
        for side in order:
            sides[side].append(measure(side, names))
    return sides


def compare_sides(
    measure: Measure,
    *,
    names: Sequence[str] = (),
    rounds: int = ROUNDS,
    effect: float = EFFECT,
    with_power: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Judged]:
    """Measure both sides, again where it is ambiguous, and judge every common case, or `names`.

    `with_power` also tells what slowdown each case's times would show.
    """
    sides = measure_sides(measure, names, rounds=rounds)
    judged = judge_all(sides, effect=effect)
    doubtful = [j.name for j in judged if is_ambiguous(j, len(judged), effect)]
    if doubtful:
        tell(f"measuring again: {', '.join(doubtful)}")
        more = measure_sides(measure, doubtful, rounds=rounds)
        for side, samples in more.items():
            sides[side] += samples
        judged = judge_all(sides, effect=effect)
    if with_power:
        judged = [replace(j, sees=sight_of(j.name, sides, len(judged), effect)) for j in judged]
    return judged


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Which cases a comparison can see: by their names on either side, and those asked for."""

    base: tuple[str, ...]
    head: tuple[str, ...]
    asked: tuple[str, ...] = ()

    @property
    def common(self) -> tuple[str, ...]:
        """Cases that are compared."""
        return tuple(name for name in self.head if name in self.base)

    def gaps(self) -> list[str]:
        """Why what is compared is not what should be; empty when nothing is missing."""
        reasons = []
        nowhere = [name for name in self.asked if name not in self.base + self.head]
        if nowhere:
            reasons.append(f"no such case: {', '.join(nowhere)}")
        if not self.base and not nowhere:
            reasons.append("the base has no benchmarks in this folder")
        if not self.head and not nowhere:
            reasons.append("this tree has no benchmarks in this folder")
        lost = [name for name in self.base if name not in self.head]
        if lost and self.head:
            reasons.append(f"this tree has lost {', '.join(lost)}")
        if self.base and self.head and not self.common:
            reasons.append("the two trees have no case in common")
        return reasons


def coverage_of(measure: Measure, names: Sequence[str]) -> Coverage:
    """What both trees can be asked for: one round of each. Raises OSError with a tree's words."""
    found = {side: tuple(measure(side, names)) for side in ("base", "head")}
    return Coverage(base=found["base"], head=found["head"], asked=tuple(names))


def judge_all(sides: Mapping[str, Sequence[Sample]], *, effect: float = EFFECT) -> list[Judged]:
    """The judgement on each case that both sides have."""
    names = [n for n in sides["head"][0] if n in sides["base"][0]]
    return [
        judge_case(name, sides, significance=SIGNIFICANCE / max(1, len(names)), effect=effect)
        for name in names
    ]


def judge_case(
    name: str, sides: Mapping[str, Sequence[Sample]], *, significance: float, effect: float
) -> Judged:
    """The judgement on one case from all its rounds."""
    rounds = {side: [s[name] for s in samples if name in s] for side, samples in sides.items()}
    base, head = ([r["ns"] for r in rounds[side]] for side in ("base", "head"))
    change = median(head) / median(base) - 1
    p_value = rank_test(base, head)
    calls = (least(rounds["base"], "calls"), least(rounds["head"], "calls"))
    peaks = (least(rounds["base"], "peak_bytes"), least(rounds["head"], "peak_bytes"))
    judgement, why = "same", ""
    if p_value < significance and abs(change) >= effect:
        judgement = "worse" if change > 0 else "better"
        why = f"{change:+.1%} in time"
    if calls[1] > calls[0]:
        judgement, why = "more", f"{calls[0]} to {calls[1]} function calls"
    elif peaks[1] > peaks[0] * (1 + PEAK_SLACK) + 256:
        judgement, why = "more", f"{peaks[0]} to {peaks[1]} bytes at the peak"
    return Judged(
        name=name,
        base_ns=median(base),
        head_ns=median(head),
        change=change,
        p_value=p_value,
        rounds=len(base),
        calls=calls,
        peak_bytes=peaks,
        judgement=judgement,
        why=why,
    )


def least(rounds: Sequence[Mapping[str, float]], key: str) -> int:
    """The least of a count over rounds: caches that fill once do not count."""
    return int(min(r[key] for r in rounds))


def is_ambiguous(judged: Judged, cases: int, effect: float) -> bool:
    """Whether more rounds could change the judgement on its time."""
    likely = judged.p_value < DOUBT
    certain = judged.p_value < SIGNIFICANCE / max(1, cases)
    large = abs(judged.change) >= effect / 2
    clear = certain and abs(judged.change) >= 1.5 * effect
    return likely and large and not clear


def rounds_that_show(cases: int) -> int:
    """The fewest rounds in which times can show a slowdown at all, were it however large."""

    def apart(rounds: int) -> float:
        return rank_test(range(rounds), range(rounds, 2 * rounds))

    certain = SIGNIFICANCE / max(1, cases)
    rounds = 1
    while apart(rounds) >= certain and (apart(rounds) >= DOUBT or apart(2 * rounds) >= certain):
        rounds += 1
    return rounds


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Comparisons of one kind whose right answer is known; a decision is one case of one."""

    comparisons: int
    decisions: int
    wrong: int

    @property
    def rate(self) -> float:
        """Share of the decisions that were wrong."""
        return self.wrong / max(1, self.decisions)


def tally(comparisons: Sequence[Sequence[Judged]], *, right: Collection[str]) -> Tally:
    """How many judgements of these comparisons are not among the right ones."""
    found = [judged.judgement for comparison in comparisons for judged in comparison]
    return Tally(
        comparisons=len(comparisons),
        decisions=len(found),
        wrong=sum(judgement not in right for judgement in found),
    )


def least_detectable(
    base: Sequence[float], head: Sequence[float], *, significance: float, effect: float
) -> float | None:
    """The least slowdown of `EFFECTS` found in nine of ten resamplings of these times.

    Without the second look, so rather too large than too small. None: not even a doubling.
    """
    draw = random.Random(1)
    noise = [time / median(side) for side in (base, head) for time in side]
    for slowdown in EFFECTS:
        found = 0
        for _ in range(POWER_DRAWS):
            before = draw.choices(noise, k=len(base))
            after = [time * (1 + slowdown) for time in draw.choices(noise, k=len(head))]
            found += is_worse(before, after, significance=significance, effect=effect)
        if found >= POWER * POWER_DRAWS:
            return slowdown
    return None


def sight_of(
    name: str, sides: Mapping[str, Sequence[Sample]], cases: int, effect: float
) -> float | None:
    """`least_detectable` of one case of a comparison."""
    base, head = ([s[name]["ns"] for s in sides[side] if name in s] for side in ("base", "head"))
    return least_detectable(base, head, significance=SIGNIFICANCE / cases, effect=effect)


def is_worse(
    base: Sequence[float], head: Sequence[float], *, significance: float, effect: float
) -> bool:
    """Whether the times of head are longer, by ranks and by median."""
    return median(head) / median(base) - 1 >= effect and rank_test(base, head) < significance


def error_rates(
    sides: Sequence[Sample], *, planted: Sequence[float], rounds: int, trials: int, seed: int
) -> dict[str, Any]:
    """How often times call equal code worse, and how often they miss each planted slowdown.

    Resamples real rounds of one tree, with the second look at ambiguous cases: an
    A/A comparison, and the same with one side slowed by each of `planted`.
    """
    draw = random.Random(seed)
    names = list(sides[0])

    def resampled(factor: float) -> Measure:
        def measure(side: str, asked: Sequence[str]) -> Sample:
            sample = draw.choice(sides)
            scale = factor if side == "head" else 1.0
            return {
                n: {**sample[n], "ns": sample[n]["ns"] * scale}
                for n in (asked or names)
                if n in sample
            }

        return measure

    def worse(factor: float) -> list[int]:
        """Cases called worse, by comparison."""
        return [
            sum(j.judgement == "worse" for j in compare_sides(resampled(factor), rounds=rounds))
            for _ in range(trials)
        ]

    false_alarms = worse(1.0)
    decisions = trials * len(names)
    return {
        "trials": trials,
        "cases": len(names),
        "rounds": rounds,
        "false_alarm_rate": sum(false_alarms) / decisions,
        "false_alarm_comparisons": sum(map(bool, false_alarms)) / trials,
        "miss_rates": {f"{slow:.0%}": 1 - sum(worse(1 + slow)) / decisions for slow in planted},
    }
