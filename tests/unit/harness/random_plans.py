"""Any run against an honest server of the specification: what varies, drawn by a seed."""

import random
from collections.abc import Callable

from tests.unit.harness.plain_run import Plan

BASES: tuple[Callable[[random.Random], int], ...] = (
    lambda _: 0,
    lambda rng: rng.randrange(2000),
    lambda rng: rng.randrange(120),
)
SPELLED: tuple[Callable[[int], str] | None, ...] = (
    None,
    None,
    None,
    lambda user: ("ann", "Ann")[user % 2] + str(user // 2),
    lambda user: str(21 - user),
    lambda user: f"Ann{user // 2}" + " " * (user % 2),
)


def random_plan(seed: int, lie: str = "") -> Plan:
    """Users who are called alike, who never submit, who are renamed; losses, refusals, lost
    answers, reconnects, slow listeners, several processes: in any company."""
    rng = random.Random(seed)
    users, listeners = rng.choice([3, 6, 8, 12, 20, 60]), rng.choice([1, 3, 5, 8])
    scores = (0, 30, 55, 90, 210, 1400, 1500)
    count = rng.choice([0, 0, 0, 1, 2, 3]) if users >= 6 else 0
    same_names = rng.choice([0, 2, 3, 4] if count else [0, 0, 0, 2, 3])
    return Plan(
        seed=seed,
        users=users,
        submissions=rng.choice([60, 60, 120, 200]),
        every_ms=rng.choice([2.0, 10.0, 40.0]),
        listeners=listeners,
        processes=rng.choice([1, 1, 2, 3]) if listeners > 2 else 1,
        refused=rng.choice([0, 0, 0.1, 0.3]),
        unknown=rng.choice([0, 0, 0.05, 0.1]),
        reconnects=rng.choice([0, 0, 0, 2, 6]),
        slow_listener_ms=rng.choice([0, 0, 2500]),
        shuffled=rng.random() < 0.3,
        losses=rng.choice([0, 0, 0.1, 0.2, 0.3]),
        same_names=same_names,
        spelled=None if same_names else rng.choice(SPELLED),
        # A renamed one of three would take the others' names with it.
        renamed=rng.choice(["", "", "", "Anna"]) if same_names < 3 else "",
        silent=tuple(rng.choice(scores) for _ in range(count)),
        bases=rng.choice(BASES),
        roster=rng.random() < 0.3,
        lie=lie,
        lie_at=rng.choice([10, 20, 25]),
    )
