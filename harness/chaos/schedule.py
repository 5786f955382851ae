"""The fault schedule: a pure function of the seed.

The times are planned times. A fault starts at its time or when the one before has recovered,
whichever is later; order, targets and parameters never depend on what happens.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.net.fault_proxy import Mode

PROCESSES = ("mysql", "redis", "temporal", "worker", "server")

CLUSTER_PARTS = (
    *("temporal-history", "temporal-history-2", "temporal-matching", "temporal-worker"),
    "postgres",
)
"""What runs besides `temporal`, then the frontend, where Temporal is several processes."""

EDGES = (
    "client-server",
    "listener-server",
    "server-redis",
    "server-mysql",
    "server-temporal",
    "worker-redis",
    "worker-mysql",
    "worker-temporal",
)

KILL = "kill -9"
PAUSE = "pause"
RESTART = "restart"
FLUSH = "flushall"
EMPTY = "comes back empty"
FAILPOINT = "failpoint"
LOSE = "MySQL loses changes"

FAILPOINTS = (
    "record.before_commit",
    "record.after_commit",
    "publish.before",
    "notify.before",
    "batch.before_completion",
)

LOST_MOST = (5, 50, 500)
"""How many changes MySQL loses at most: the fewer, the sooner new ones stand in their place."""

BEYOND_TIMEOUT_S = 12.0
"""Longer than any activity or task timeout of the system under test (10 s)."""

BESIDE_AFTER_S = 1.0
"""How long after its companion the second fault of a pair strikes."""

FIRST_FAULT_S = 8.0
GAP_S = 4.0
SHORT_GAP_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One fault. ``action`` belongs to failpoints, ``connections`` and ``latency_s`` to proxies,
    ``changes`` to MySQL that loses so many."""

    number: int = 0
    kind: str
    target: str
    at_s: float = 0.0
    hold_s: float = 0.0
    action: str = ""
    connections: int | None = None
    latency_s: float = 0.0
    changes: int = 0
    beside: int | None = None
    """The number of the fault during which this one strikes, a moment after its start."""

    @property
    def label(self) -> str:
        """The kind as counted in reports."""
        return f"{self.kind} {self.action}".strip() if self.kind == FAILPOINT else self.kind


def plan(seed: int, *, short: bool, cluster: bool = False, losses: bool = False) -> list[Planned]:
    """The schedule of `seed`: some 100 faults in a quarter of an hour, or 19 in a minute or two.

    The long form holds every process fault, every failpoint and every proxy mode on every
    edge once, and ten pairs that strike together, in an order drawn from the seed. The short
    form draws one of each kind and one pair. With `cluster` the parts of Temporal are killed,
    restarted and paused, too; with `losses` MySQL loses changes.
    """
    rng = random.Random(f"chaos {seed} {short}")
    groups = [[fault] for fault in (_short(rng) if short else _all(rng))]
    if cluster:
        groups += [[fault] for fault in _of_cluster(rng, short=short)]
    if losses:
        groups += [[_lose(rng, most)] for most in (LOST_MOST[:1] if short else LOST_MOST)]
    pairs = _pairs(rng, short=short)
    groups += [list(pair) for pair in (rng.sample(pairs, 1) if short else pairs)]
    rng.shuffle(groups)
    gap_s = SHORT_GAP_S if short else GAP_S
    planned: list[Planned] = []
    at_s = FIRST_FAULT_S / (2 if short else 1)
    for group in groups:
        first = len(planned) + 1
        for position, fault in enumerate(group):
            planned.append(
                replace(
                    fault,
                    number=first + position,
                    at_s=round(at_s + position * BESIDE_AFTER_S, 3),
                    beside=first if position else None,
                )
            )
        at_s += max(f.hold_s + n * BESIDE_AFTER_S for n, f in enumerate(group))
        at_s += gap_s + rng.random()
    return planned


def groups_of(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Faults that strike together, in order."""
    groups: list[list[Planned]] = []
    for fault in planned:
        if fault.beside is None:
            groups.append([fault])
        else:
            groups[-1].append(fault)
    return groups


def duration_s(planned: list[Planned]) -> float:
    """How long the schedule takes when every fault recovers within its gap."""
    return max(fault.at_s + fault.hold_s for fault in planned) + GAP_S


def _all(rng: random.Random) -> Iterator[Planned]:
    for process in PROCESSES:
        yield Planned(kind=KILL, target=process)
        yield Planned(kind=RESTART, target=process, hold_s=round(rng.uniform(0.2, 3), 1))
        yield _pause(process, short=False)
    yield Planned(kind=FLUSH, target="redis")
    yield Planned(kind=EMPTY, target="redis", hold_s=round(rng.uniform(0.2, 2), 1))
    for name in FAILPOINTS:
        yield Planned(kind=FAILPOINT, target="worker", action=f"{name} exit")
    yield Planned(kind=FAILPOINT, target="worker", action="record.after_commit raise")
    for name in ("record.before_commit", "record.after_commit"):
        late_ms = int(BEYOND_TIMEOUT_S * 1000)
        yield Planned(
            kind=FAILPOINT, target="worker", action=f"{name} sleep:{late_ms}", hold_s=late_ms / 1000
        )
    for edge in EDGES:
        for mode in Mode:
            if mode is not Mode.PASS:
                yield _proxied(rng, mode, edge, hold_s=rng.uniform(2.5, 6))


def _short(rng: random.Random) -> Iterator[Planned]:
    """One of each kind: kill and pause of two processes, the rest of one target each."""
    for process in rng.sample(PROCESSES, 2):
        yield Planned(kind=KILL, target=process)
    yield _pause(rng.choice(PROCESSES), short=True)
    yield Planned(kind=RESTART, target=rng.choice(PROCESSES), hold_s=0.3)
    yield Planned(kind=FLUSH, target="redis")
    yield Planned(kind=EMPTY, target="redis", hold_s=0.3)
    for name in rng.sample(FAILPOINTS, 2):
        yield Planned(kind=FAILPOINT, target="worker", action=f"{name} exit")
    yield Planned(kind=FAILPOINT, target="worker", action="record.after_commit raise")
    busy = ("client-server", "listener-server", "server-redis", "server-mysql", "server-temporal")
    for mode in Mode:
        if mode is not Mode.PASS:
            yield _proxied(rng, mode, rng.choice(busy), hold_s=1.5)
    yield _proxied(rng, Mode.RESET_AFTER, "client-server", hold_s=1.5)


def _of_cluster(rng: random.Random, *, short: bool) -> Iterator[Planned]:
    """Each fault of a process on each part; in the short form a history is killed and one more."""
    if short:
        yield Planned(kind=KILL, target="temporal-history")
        yield Planned(kind=KILL, target=rng.choice(CLUSTER_PARTS[1:]))
        yield _pause(rng.choice(CLUSTER_PARTS), short=True)
        return
    for part in CLUSTER_PARTS:
        yield Planned(kind=KILL, target=part)
        yield Planned(kind=RESTART, target=part, hold_s=round(rng.uniform(0.2, 3), 1))
        yield _pause(part, short=False)


def _pairs(rng: random.Random, *, short: bool) -> list[tuple[Planned, Planned]]:
    """Pairs of faults: the second strikes while the system recovers from the first."""
    hold_s = 1.5 if short else 4.0

    def proxied(mode: Mode, edge: str) -> Planned:
        return _proxied(rng, mode, edge, hold_s=hold_s)

    def paused(process: str) -> Planned:
        return Planned(kind=PAUSE, target=process, hold_s=3.0 if short else 6.0)

    def killed(process: str) -> Planned:
        return Planned(kind=KILL, target=process)

    return [
        (paused("redis"), killed("server")),
        (proxied(Mode.REFUSE, "server-redis"), killed("worker")),
        (paused("mysql"), proxied(Mode.RESET_AFTER, "client-server")),
        (proxied(Mode.HANG, "server-temporal"), Planned(kind=FLUSH, target="redis")),
        (proxied(Mode.NO_REPLY, "server-mysql"), Planned(kind=EMPTY, target="redis", hold_s=0.3)),
        (proxied(Mode.LATENCY, "server-redis"), killed("temporal")),
        (paused("temporal"), Planned(kind=RESTART, target="server", hold_s=0.3)),
        (proxied(Mode.REFUSE, "server-mysql"), proxied(Mode.RESET_MID_REPLY, "listener-server")),
        (proxied(Mode.HANG, "worker-mysql"), proxied(Mode.HANG, "server-redis")),
        (killed("mysql"), killed("redis")),
    ]


def _pause(process: str, *, short: bool) -> Planned:
    if short:
        return Planned(kind=PAUSE, target=process, hold_s=3.0)
    return Planned(kind=PAUSE, target=process, hold_s=BEYOND_TIMEOUT_S)


def _lose(rng: random.Random, most: int) -> Planned:
    return Planned(kind=LOSE, target="mysql", changes=rng.randint(1, most))


def _proxied(rng: random.Random, mode: Mode, edge: str, *, hold_s: float) -> Planned:
    counted = mode in (Mode.RESET_BEFORE, Mode.RESET_AFTER, Mode.RESET_MID_REPLY)
    return Planned(
        kind=mode.value,
        target=edge,
        hold_s=round(hold_s, 1),
        connections=rng.randint(1, 12) if counted else None,
        latency_s=round(rng.uniform(0.1, 0.8), 2) if mode is Mode.LATENCY else 0.0,
    )
