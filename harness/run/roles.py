"""Who does what among the load processes: pure counting, which needs no Locust."""

from collections import defaultdict
from collections.abc import Iterable, Sequence


def share_workers(workers: Sequence[str], kinds: Iterable[str]) -> dict[str, list[str]]:
    """Which workers serve each kind: disjoint while there are enough, else all serve all.

    The same workers in the same order always give the same answer.
    """
    names = sorted(set(kinds))
    if len(names) > len(workers):
        return {name: list(workers) for name in names}
    shares: defaultdict[str, list[str]] = defaultdict(list)
    for position, worker in enumerate(workers):
        shares[names[position % len(names)]].append(worker)
    return dict(shares)


def users_for(workers: int, kinds: Sequence[str]) -> int:
    """The fewest users that leave no worker idle: `kinds` names that of each user class.

    Users of different classes come in turn, so it is a multiple of the classes.
    """
    return len(kinds) * max(1, -(-workers // len(set(kinds))))
