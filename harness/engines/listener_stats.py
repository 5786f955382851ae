"""Per-listener delivery statistics and the records for the history. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from scoreboard.sse import Snapshot

VIOLATIONS = {
    "gaps": "events are missing",
    "duplicates": "an event came again",
    "reorders": "an event came late, after its successor",
    "broken": "bytes that are no event of the contract",
    "conflicts": "an event with other content than before",
}


@dataclass(kw_only=True)
class ListenerTotals:
    """Delivery statistics of a swarm: cursors and fault counts over all its listeners.

    Where events have no ids to follow, `events` counts the different ones by their content, and
    `beyond` those that were more than the offered load can explain.
    """

    listeners: int = 0
    streaming: int = 0
    cursor_min: int = -1
    cursor_max: int = -1
    behind: int = 0
    missing: int = 0
    gaps: int = 0
    duplicates: int = 0
    reorders: int = 0
    resets: int = 0
    broken: int = 0
    conflicts: int = 0
    events: int = 0
    beyond: int = 0
    disconnects: dict[str, int] = field(default_factory=dict)
    faulty: dict[int, dict[str, int]] = field(default_factory=dict)


class Stretch(NamedTuple):
    """One record of a listener for the history; `what` is as in docs/history.md.

    `open`: `first` is the id resumed from, -1 for none. `range`: ids first to
    last. `reset`, `snapshot`: `first` is the seq, with `top`. `close`: `last` is
    the cursor, `detail` the cause. `violation`: expected `first`, got `last`. `late`: event
    `first` came after `last`. `lacks`: `last` further events are lacking. `time_ns` (monotonic)
    is when it was, 0 where the moment of writing will do.
    """

    listener: int
    what: str
    first: int = -1
    last: int = -1
    detail: str = ""
    top: Snapshot | None = None
    time_ns: int = 0


class Sighting(NamedTuple):
    """The first sight of an event that has no id: its number in this process, when (monotonic
    clock), and by which listener."""

    number: int
    user: str
    score: int
    time_ns: int
    listener: int


Records: TypeAlias = tuple[Sequence[tuple[int, str, int] | Sighting], list[Stretch]]
"""First sights of events (seq, user, score) and listeners' stretches."""
