"""The moment at which a server stopped accepting what it had accepted: when, at what offered load,
with which answers. Pure; read from the counters of each second.
"""

from collections.abc import Mapping, Sequence

from harness.measure.terminal import number
from harness.report.charts import per_second
from harness.report.document import Fault, Second
from harness.report.run_view import CAUSES

WELL, FALLEN = 0.9, 0.5
"""Shares of the offered load that are accepted before and after the moment."""
ENDED_MIN = 5
"""Of a second with fewer outcomes a share says nothing."""
OUTCOMES = ("ok", "fail", "unknown", "dropped")


def collapses_of(seconds: Sequence[Second]) -> list[Fault]:
    """Spans in which less than half was accepted, after a second in which nearly all was.

    Of a submission without any outcome nobody knows: the process that sent it was lost, or the run
    ended before the answer.
    """
    found: list[Fault] = []
    well = False
    begun: Second | None = None
    ended = ((s, sum(s.counters.get(name, 0) for name in OUTCOMES)) for s in seconds)
    seen = [(second, count) for second, count in ended if count >= ENDED_MIN]
    for second, count in seen:
        share = second.counters.get("ok", 0) / count
        if begun is not None and share >= FALLEN:
            found.append(_fault(begun, second.t))
            begun, well = None, False
        elif begun is None and well and share < FALLEN:
            begun = second
        # A second of which a part was accepted does not make the fall a decline.
        well = well or share >= WELL
    if begun is not None:
        found.append(_fault(begun, seen[-1][0].t + 1))
    return found


def _fault(first: Second, end: float) -> Fault:
    counters = first.counters
    answers = "; ".join(
        f"{number(count)} {words}" for words, count in _answers(counters).items() if count
    )
    return Fault(
        name=f"the server fell over at {number(per_second(first, 'intended'))}/s offered, "
        f"{number(per_second(first, 'ok'))} accepted ({answers or 'no answers'})",
        start=first.t,
        end=end,
    )


def _answers(counters: Mapping[str, int]) -> dict[str, int]:
    found = {
        f"HTTP {name.removeprefix('status_')}": count
        for name, count in counters.items()
        if name.startswith("status_") and not name.startswith("status_2")
    }
    for name, count in counters.items():
        if name.startswith("cause_"):
            found[CAUSES.get(name.removeprefix("cause_"), name.removeprefix("cause_"))] = count
    found["never sent"] = counters.get("dropped", 0)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
