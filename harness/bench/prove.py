"""How often the regression gate judges wrongly on this machine, by instructions and by times.

One revision, unpacked twice, is compared with itself: unchanged, with a planted slowdown and
with one planted function call. Not the gate itself, nor its publication (`harness.report`).
"""

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.bench.compare_revisions import (
    Judged,
    Sample,
    Tally,
    compare_sides,
    error_rates,
    run_tree,
    tally,
)
from harness.bench.instructions import count_instructions, has_grown, missing
from harness.bench.runner import least_ns, slowed

TRIALS = 100
PLANTED = 0.10
SLOWDOWNS = (PLANTED, 0.2, 0.5, 1.0)
"""Resampled; the first is also really run."""
COMPARISONS = 2
EQUAL_COUNTS, PLANTED_COUNTS = 4, 2
CASES = ("sse_decode_500", "batch_decode_500", "head_check_500", "build_requests")
"""Some of each module for the repeated timed comparisons, which would otherwise take an hour."""
SPINS = 10_000


def prove(
    trees: Mapping[str, Path],
    only: Sequence[str],
    rounds: int,
    tell: Callable[[str], None] = lambda _: None,
    *,
    instructions: bool = True,
) -> dict[str, Any]:
    """The fields of a BenchProofResult. Raises OSError."""
    pool: list[Sample] = []

    def pooled(side: str, asked: Sequence[str]) -> Sample:
        sample = run_tree(trees[side], asked)
        # Not those of a second look, which lack cases.
        if list(asked) == list(only):
            pool.append(sample)
        return sample

    def compare(*plant: str) -> list[Judged]:
        return compare_sides(
            lambda side, asked: run_tree(trees[side], asked, plant if side == "head" else ()),
            names=only or CASES,
            rounds=rounds,
        )

    started = time.monotonic()
    tell("timing equal code")
    equal = [compare_sides(pooled, names=only, rounds=rounds)]
    minutes = (time.monotonic() - started) / 60
    equal += [compare() for _ in range(COMPARISONS - 1)]
    tell("timing a planted slowdown and a planted call")
    plant = ("--spins", json.dumps(spins_for(pool)))
    real = {
        "equal": tally(equal, right=("same", "better")),
        "slower": tally([compare(*plant) for _ in range(COMPARISONS)], right=("worse",)),
        "one_more_call": tally([compare("--one-more-call")], right=("more",)),
    }
    counted: dict[str, Any] = {}
    if instructions and not missing():
        tell("counting instructions")
        folders = list(trees.values())
        started = time.monotonic()
        counts = [count_instructions(folders[n % 2], only) for n in range(EQUAL_COUNTS)]
        minutes += (time.monotonic() - started) / EQUAL_COUNTS * 2 / 60
        slower = [count_instructions(folders[0], only, plant) for _ in range(PLANTED_COUNTS)]
        tallies, counted = instruction_errors(counts, slower)
        real |= tallies
    rates = error_rates(pool, planted=SLOWDOWNS, rounds=rounds, trials=TRIALS, seed=1)
    return {
        **rates,
        **counted,
        "planted": PLANTED,
        "minutes": minutes,
        "miss_rate": rates["miss_rates"][f"{PLANTED:.0%}"],
        "real": {name: {**asdict(t), "rate": t.rate} for name, t in real.items()},
    }


def spins_for(pool: Sequence[Sample]) -> dict[str, int]:
    """Turns of an empty loop that take `PLANTED` of each case's time, by its quietest rounds."""
    spin_ns = least_ns(slowed(lambda: None, SPINS)) / SPINS
    return {
        name: max(1, round(PLANTED * min(sample[name]["ns"] for sample in pool) / spin_ns))
        for name in pool[0]
    }


def instruction_errors(
    equal: Sequence[Mapping[str, int]], slower: Sequence[Mapping[str, int]]
) -> tuple[dict[str, Tally], dict[str, float]]:
    """Errors over all pairs of counts, the spread of equal counts, the least planted growth."""
    same = _pairs(itertools.permutations(equal, 2))
    grown = _pairs(itertools.product(equal, slower))
    tallies = {
        "instructions_equal": Tally(
            comparisons=len(equal) * (len(equal) - 1),
            decisions=len(same),
            wrong=sum(map(has_grown, same)),
        ),
        "instructions_slower": Tally(
            comparisons=len(equal) * len(slower),
            decisions=len(grown),
            wrong=sum(not has_grown(pair) for pair in grown),
        ),
    }
    return tallies, {
        "instruction_spread": max(head / base - 1 for base, head in same),
        "instruction_growth": min(head / base - 1 for base, head in grown),
    }


def _pairs(counts: Any) -> list[tuple[int, int]]:
    return [(base[name], head[name]) for base, head in counts for name in base]
