"""Finds the greatest sustained load: double, bisect, confirm. Pure.

The search tries one load at a time. Neither one failure nor one success decides:
repeats confirm the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Step:
    """One trial: its phase (`double`, `bisect`, `confirm`), its load, and whether the load held."""

    phase: str
    load: int
    held: bool


@dataclass(kw_only=True)
class SearchResult:
    """The greatest load confirmed, 0 when none held, and how it was found.

    `bounded` is false when even the greatest load allowed held.
    """

    load: int = 0
    bounded: bool = True
    steps: list[Step] = field(default_factory=list)


def search(
    sustained: Callable[[int, str], bool],
    *,
    start: int,
    most: int,
    least: int = 1,
    precision: float = 0.05,
    repeats: int = 2,
) -> SearchResult:
    """Ask `sustained(load, phase)` until the border is known to `precision` and confirmed.

    Only loads from `least` to `most` are tried; `start` is one of them.

    The confirmed load held `repeats` times in all; one failure there steps down
    by `precision`. At most about 20 + 2·repeats trials.
    """
    found = SearchResult()

    def trial(load: int, phase: str) -> bool:
        held = sustained(load, phase)
        found.steps.append(Step(phase=phase, load=load, held=held))
        return held

    low, high = 0, start
    while trial(high, "double"):
        low = high
        if high >= most:
            found.bounded = False
            break
        high = min(most, high * 2)
    else:
        while low == 0 and high > least:
            # Not even the start is sustained: halve until something does.
            high = max(least, high // 2)
            if trial(high, "double"):
                low, high = high, high * 2
        if low == 0:
            return found
        while high - low > max(1, precision * low):
            middle = (low + high) // 2
            if trial(middle, "bisect"):
                low = middle
            else:
                high = middle
    load = low
    while load >= least:
        # A load stepped down to may never have been tried, or have held once already.
        needed = repeats - sum(step.held for step in found.steps if step.load == load)
        if all(trial(load, "confirm") for _ in range(needed)):
            found.load = load
            return found
        found.bounded = True
        load = min(load - 1, int(load * (1 - precision)))
    return found


def backlog_grows(backlog: list[tuple[float, float]], *, rate: float) -> bool:
    """Whether unfinished work piled up: pairs (second, submissions accepted but not yet seen).

    Compares the last third with the first; more than half a second's worth of
    arrivals on top is growth, however fast the answers were.
    """
    if len(backlog) < 6:
        return False
    third = len(backlog) // 3
    early = sum(value for _, value in backlog[:third]) / third
    late = sum(value for _, value in backlog[-third:]) / third
    return late - early > max(10.0, rate / 2)
