"""Locust users as the coordinator knows them: where each runs, what it said last, who gets work.

Values and counting, which need no Locust. The users are `harness.run.locust_users`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.capabilities import Signs
from harness.report import document
from harness.run.messages import Report, status_document

T = TypeVar("T")
ROLES = ("submitters", "listeners")
"""What the process of a Locust user does; the first is served first."""


@dataclass(kw_only=True)
class Member:
    """One Locust user that joined. `name` once it has work, `final` once its last report came."""

    ident: str
    kind: str
    pid: int
    host: str
    descriptors: int = 1 << 20
    client_id: str | None = None
    name: str = ""
    history_bytes: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, tuple[int, int]] = field(default_factory=dict)
    reach: dict[str, Any] = field(default_factory=dict)
    signs: Signs = field(default_factory=Signs)
    final: bool = False

    def to_document(self) -> document.Member:
        """What the result document says of it."""
        return document.Member(kind=self.kind, host=self.host, pid=self.pid, status=self.status)

    def hear(self, report: Report) -> None:
        """Keep what a report says of the user itself.

        It goes on to report each second after its last word, and only that knows
        the target its listeners are measured against; so that stands.
        """
        if self.final:
            return
        if report.status is not None:
            self.status = status_document(report.status)
        if report.final is not None:
            self.latest = report.final.latest
            self.reach = report.final.reach
            self.signs = report.final.signs
            self.history_bytes = report.final.history_bytes
            self.final = True


def assign_roles(members: Iterable[Member]) -> list[Member]:
    """The members that get work, named; the others stay idle.

    One of a kind in a process, since a second engine would only share its CPU; and one kind in a
    process where there are enough of them, since ten thousand listeners beside a sender make it
    late (measured: p99 18 ms), and that lateness would pass for the server's. The same members
    always give the same answer.
    """
    processes: defaultdict[tuple[str, int], dict[str, Member]] = defaultdict(dict)
    for member in sorted(members, key=lambda m: (m.host, m.pid, m.ident)):
        processes[member.host, member.pid].setdefault(member.kind, member)
    kinds = {kind for candidates in processes.values() for kind in candidates}
    taken: Counter[str] = Counter()
    chosen: list[Member] = []
    # Those without a choice first, so that the others can make up for them.
    for candidates in sorted(processes.values(), key=len):
        kind = min(candidates, key=lambda kind: (taken[kind], ROLES.index(kind)))
        taken[kind] += 1
        chosen.append(candidates[kind])
    for kind in sorted(kinds - set(taken)):
        chosen += [c[kind] for c in processes.values() if kind in c]
    numbers: Counter[str] = Counter()
    chosen.sort(key=lambda m: (ROLES.index(m.kind), m.host, m.pid))
    for member in chosen:
        member.name = f"{member.kind}-{numbers[member.kind]}"
        numbers[member.kind] += 1
    return chosen


def users_for(workers: int, kinds: Sequence[str]) -> int:
    """The fewest users that leave no worker idle: `kinds` names that of each user class.

    Users of different classes come in turn, so it is a multiple of the classes.
    """
    return len(kinds) * max(1, -(-workers // len(set(kinds))))


def share(total: int, index: int, count: int) -> int:
    """The part of `total` that one of `count` gets; parts differ by one at most."""
    return total // count + (1 if index < total % count else 0)


def in_turn(tokens: Sequence[T], first: int, count: int) -> list[T]:
    """What listeners `first` onward carry, so that all pools together use all players evenly."""
    return [tokens[(first + i) % len(tokens)] for i in range(min(count, len(tokens)))]
