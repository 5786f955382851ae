"""The targets, and whether samples meet them. Pure; nothing here measures.

A sample is a figure of one peer in one round. A target compares ours with a
peer's round by round, since both ran in the same minute, and is judged by the
median of those ratios.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Samples = Mapping[str, Sequence[float | None]]
"""Figures by name, one per round in order; None where a round gave none."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """`figure`, over `against` when that is given, at least or at most `bound`.

    `unit` is what the figure is counted in; a ratio has none.
    """

    group: str
    what: str
    figure: str
    bound: float
    against: str = ""
    at_most: bool = False
    unit: str = "×"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A judged target: median and extremes over the rounds. `median` None: nothing was measured.

    `missing` rounds gave no figure, since their answers were wrong.
    """

    target: Target
    median: float | None
    low: float | None
    high: float | None
    rounds: int
    missing: int = 0

    @property
    def met(self) -> bool | None:
        """Whether every round gave a figure and the median is within the bound.

        None when nothing was measured: neither met nor missed.
        """
        if self.median is None:
            return None
        bound = self.target.bound
        within = self.median <= bound if self.target.at_most else self.median >= bound
        return within and not self.missing

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "met", False: "missed", None: "not measured"}[self.met]


_SMALLEST = "growth/1,000 users"
_LARGER = ("100,000 users", "1,000,000 users", "1,000,000 users, 10,000,000 rows")

TARGETS = (
    Target(
        group="submissions",
        what="accepted and applied submissions/s, relative to the literal server in Go",
        figure="submissions/ours",
        against="submissions/literal",
        bound=200,
    ),
    Target(
        group="submissions",
        what="the same, relative to INSERT + UPDATE + COMMIT in the handler",
        figure="submissions/ours",
        against="submissions/direct",
        bound=2.5,
    ),
    Target(
        group="submissions",
        what="the same, relative to a handler that only checks token and body",
        figure="submissions/ours",
        against="submissions/ceiling",
        bound=0.6,
    ),
    Target(
        group="loaded",
        what="p99 of the 202 at 1,000/s with 1,000 listeners, every submission a change",
        figure="loaded/answer p99",
        bound=50,
        at_most=True,
        unit="ms",
    ),
    Target(
        group="loaded",
        what="the same, relative to INSERT + UPDATE + COMMIT in the handler without listeners",
        figure="loaded/answer p99",
        against="loaded/direct, no listeners/answer_p99_ms",
        bound=1,
        at_most=True,
    ),
    Target(
        group="idle",
        what="idle: POST to event on the stream, relative to the literal server in Go",
        figure="idle/ours",
        against="idle/literal",
        bound=0.5,
        at_most=True,
    ),
    Target(
        group="idle",
        what="idle: POST to event on the stream",
        figure="idle/ours",
        bound=15,
        at_most=True,
        unit="ms",
    ),
    *(
        Target(
            group="everyday",
            what=f"{what} at 100/s, relative to INSERT + UPDATE + COMMIT in the handler",
            figure=f"everyday 100/ours/{figure}",
            against=f"everyday 100/direct/{figure}",
            bound=bound,
            at_most=True,
        )
        for figure, what, bound in (
            ("answer_p50_ms", "p50 of the 202", 4),
            ("answer_p99_ms", "p99 of the 202", 4),
            ("cores", "CPU of server and services", 2),
        )
    ),
    Target(
        group="everyday",
        what="CPU of server and services per submission at 100/s, relative to 5,000/s",
        figure="everyday 100/ours/us_per_submission",
        against="everyday 5000/ours/us_per_submission",
        bound=8,
        at_most=True,
    ),
    Target(
        group="capacity",
        what="submissions/s within p99 ≤ 100 ms and submit → last of 1,000 listeners p99 ≤ 300 ms",
        figure="capacity/ours",
        bound=3000,
        unit="/s",
    ),
    *(
        Target(
            group="capacity",
            what=f"the same, relative to {peer}",
            figure="capacity/ours",
            against=f"capacity/{name}",
            bound=3,
        )
        for name, peer in (
            ("literal", "the literal server in Go"),
            ("direct-stream", "INSERT + UPDATE + COMMIT, then PUBLISH"),
        )
    ),
    *(
        target
        for count in (14, 40)
        for target in (
            Target(
                group="fairness",
                what=f"others' p99 beside one hostile user on {count} connections, relative to"
                " the undisturbed one",
                figure=f"fairness/{count} hostile connections/answer_p99_ms",
                against="fairness/undisturbed/answer_p99_ms",
                bound=2,
                at_most=True,
            ),
            Target(
                group="fairness",
                what=f"others' submissions that were not accepted meanwhile ({count} connections)",
                figure=f"fairness/{count} hostile connections/not accepted",
                bound=0,
                at_most=True,
                unit="",
            ),
        )
    ),
    Target(
        group="streams",
        what="SSE deliveries per CPU-second, 1,000 listeners, 100 changes/s, relative to nchan",
        figure="streams 100/ours-stream",
        against="streams 100/nchan",
        bound=5,
    ),
    Target(
        group="streams",
        what="the same at 1,000 changes/s",
        figure="streams 1000/ours-stream",
        against="streams 1000/nchan",
        bound=30,
    ),
    Target(
        group="streams",
        what="the same, relative to a queue and a task per client on Sanic",
        figure="streams 1000/ours-stream",
        against="streams 1000/queue",
        bound=20,
    ),
    Target(
        group="streams",
        what="the same, relative to sse-starlette on uvicorn",
        figure="streams 1000/ours-stream",
        against="streams 1000/sse-starlette",
        bound=20,
    ),
    Target(
        group="streams",
        what="the same, relative to Centrifugo",
        figure="streams 1000/ours-stream",
        against="streams 1000/centrifugo",
        bound=5,
    ),
    Target(
        group="crowd",
        what="p99 lag at 10,000 listeners, 100 changes/s, 1,000 submissions/s",
        figure="crowd/lag p99",
        bound=400,
        at_most=True,
        unit="ms",
    ),
    Target(
        group="crowd",
        what="server CPU meanwhile",
        figure="crowd/cores",
        bound=1,
        at_most=True,
        unit="cores",
    ),
    Target(
        group="crowd",
        what="server memory for each listener",
        figure="crowd/KiB per listener",
        bound=12,
        at_most=True,
        unit="KiB",
    ),
    Target(
        group="reads",
        what="GET /scores per second, relative to the same framework sending a constant",
        figure="reads/ours",
        against="reads/constant",
        bound=0.9,
    ),
    *(
        Target(
            group="growth",
            what=f"CPU per submission (without a key) at {size}, relative to 1,000 users",
            figure=f"growth/{size}",
            against=_SMALLEST,
            bound=1.3,
            at_most=True,
        )
        for size in _LARGER
    ),
    *(
        Target(
            group="growth",
            what=f"bytes written per submission (without a key) at {size}, relative to 1,000 users",
            figure=f"growth/{size}, bytes",
            against=f"{_SMALLEST}, bytes",
            bound=1.3,
            at_most=True,
        )
        for size in _LARGER
    ),
    *(
        Target(
            group="growth",
            what=f"CPU per delivered read at {listeners:,} listeners, relative to 100",
            figure=f"listeners/{listeners}",
            against="listeners/100",
            bound=1.3,
            at_most=True,
        )
        for listeners in (1000, 10_000)
    ),
)


def judge(target: Target, samples: Samples) -> Result:
    """The target's result over the rounds that gave a figure; the others are counted."""
    ours = samples.get(target.figure, ())
    rounds = len(ours)
    if target.against:
        theirs = samples.get(target.against, ())
        rounds = min(rounds, len(theirs))
        values = [a / b for a, b in zip(ours, theirs, strict=False) if a is not None and b]
    else:
        values = [value for value in ours if value is not None]
    return Result(
        target=target,
        median=median(values) if values else None,
        low=min(values, default=None),
        high=max(values, default=None),
        rounds=len(values),
        missing=rounds - len(values),
    )
