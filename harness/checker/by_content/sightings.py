"""Events without ids, joined over the processes that saw them: who was shown with which score when.

Values and their order; what explains an event is `chains`, who received it `receptions`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.checker.evidence import Submission
from harness.evidence.history import Event


@dataclass(slots=True, eq=False)
class Shown:
    """One event: a name with a score for the `occurrence`-th time, first seen at `time_ns`.

    `numbers` are those of the processes that saw it. `submission` is the one that it shows;
    `state` marks what was shown before the run's first submission.
    """

    name: str
    score: int
    occurrence: int
    time_ns: int
    listener: str
    numbers: dict[str, int] = field(default_factory=dict)
    submission: Submission | None = None
    state: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.score}"


def join_sightings(seen: Mapping[str, Iterable[Event]]) -> list[Shown]:
    """The events of all processes in the order of their first sight; equal ones are one."""
    shown: dict[tuple[str, int, int], Shown] = {}
    for process, events in seen.items():
        occurrences: Counter[tuple[str, int]] = Counter()
        for event in sorted(events, key=lambda event: event.seq):
            content = event.user, event.score
            occurrences[content] += 1
            key = (*content, occurrences[content])
            known = shown.get(key)
            listener = f"{process}/{event.listener}"
            if known is None:
                known = shown[key] = Shown(*key, event.time_ns, listener)
            elif event.time_ns < known.time_ns:
                known.time_ns, known.listener = event.time_ns, listener
            known.numbers[process] = event.seq
    return sorted(shown.values(), key=lambda event: event.time_ns)
