"""The lab's faults: which kinds there are, and those of a seed. Pure.

Kinds that a single host can have are those of `harness.chaos.schedule`; here are those that need
several, or a disk or a clock of one's own.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.chaos import schedule as chaos
from harness.chaos.schedule import Planned
from harness.lab.topology import APIS, HOSTS, MYSQLS, PROCESSES, REDISES, SENTINELS, STORES, WORKERS
from harness.net.fault_proxy import Mode

LOSSY_PROMOTION = "lossy promotion"
SWITCH_OVER = "switch-over, old primary alive"
SEMI_SYNCHRONOUS = "semi-synchronous promotion"
BACKUP = "backup restored"
SPLIT = "network split"
ONE_WAY = "one-way loss"
UNPLUGGED = "host unplugged"
SLOW = "slow network"
PACKET_LOSS = "packet loss"
REORDER = "packets reordered"
DUPLICATE = "packets duplicated"
SENTINEL = "Sentinel fail-over"
REDIS_LOSSY = "Redis promotion that loses writes"
REDIS_EMPTY = "both Redis come back empty"
FULL_DISK = "full disk"
POWER = "power loss"
CLOCK_JUMP = "clock jumps"
CLOCK_DRIFT = "clock drifts"
TEMPORAL_WIPED = "Temporal wiped"
TEMPORAL_RESTORED = "Temporal restored from a copy"
ROLLING = "rolling restart of everything"
ROLLBACK = "release rolled back"
PROXY_RESTART = "proxy restart"
DRAIN = "API host drained"
REBOOT = "host rebooted"
REPLICATION_STOPPED = "replication stopped"
NO_SENTINEL_QUORUM = "no Sentinel quorum"

FAULTS_IN_A_RUN = 12
LEAST_S = 115.0
FIRST_S = 5.0
GAP_S = 1.0

Make = Callable[[random.Random], Planned]


def _pick(kind: str, targets: tuple[str, ...], low: float, high: float) -> Make:
    def make(rng: random.Random) -> Planned:
        return Planned(
            kind=kind, target=rng.choice(targets), hold_s=round(rng.uniform(low, high), 1)
        )

    return make


def _failpoint(action: str) -> Make:
    return lambda _: Planned(kind=chaos.FAILPOINT, target="worker", action=action)


def _proxied(mode: Mode) -> Make:
    def make(rng: random.Random) -> Planned:
        counted = mode in (Mode.RESET_BEFORE, Mode.RESET_AFTER, Mode.RESET_MID_REPLY)
        edge = "client-server" if counted else rng.choice(("client-server", "listener-server"))
        return Planned(
            kind=mode.value,
            target=edge,
            hold_s=round(rng.uniform(1, 2.5), 1),
            connections=rng.randint(4, 30) if counted else None,
            latency_s=round(rng.uniform(0.1, 0.5), 2) if mode is Mode.LATENCY else 0.0,
        )

    return make


REDIS_MASTER, MYSQL_PRIMARY = "redis-master", "mysql-primary"
"""Whichever host has that part when the fault strikes."""

PAIRS = tuple(
    f"{a}/{b}"
    for a, b in (
        *((api, store) for api in APIS for store in ("proxy", REDIS_MASTER, "temporal")),
        *((worker, store) for worker in WORKERS for store in ("proxy", REDIS_MASTER, "temporal")),
        *(("mysql1", "mysql2"), ("redis1", "redis2"), ("proxy", MYSQL_PRIMARY)),
        *(("worker1", "worker2"), ("proxy", REDIS_MASTER)),
    )
)
"""Hosts that talk to each other."""

_SERVERS = tuple(host for host in HOSTS if host not in ("clients", "proxy"))
_BUSY = (*APIS, *WORKERS, *REDISES, *MYSQLS, "temporal")

KINDS: tuple[Make, ...] = (
    _pick(LOSSY_PROMOTION, ("MySQL",), 0.3, 1.5),
    _pick(chaos.KILL, PROCESSES, 0, 0),
    _pick(SPLIT, PAIRS, 2, 5),
    _pick(SENTINEL, ("Redis",), 0, 0),
    _pick(ROLLING, ("everything",), 0, 0),
    _pick(chaos.PAUSE, (*APIS, *WORKERS, *STORES), 3, 5),
    _pick(SWITCH_OVER, ("MySQL",), 2, 4),
    _pick(SLOW, _BUSY, 2, 4),
    _pick(DRAIN, APIS, 1, 3),
    _pick(FULL_DISK, STORES, 2, 4),
    _pick(chaos.FLUSH, ("Redis",), 0, 0),
    _proxied(Mode.RESET_AFTER),
    _pick(POWER, STORES, 0.2, 1),
    _pick(REDIS_LOSSY, ("Redis",), 0.5, 1.5),
    _pick(ONE_WAY, PAIRS, 2, 5),
    _pick(CLOCK_JUMP, (*APIS, *WORKERS), 3, 5),
    _failpoint("record.after_commit exit"),
    _pick(PROXY_RESTART, ("proxy",), 0.1, 0.5),
    _pick(TEMPORAL_WIPED, ("temporal",), 0, 0),
    _pick(chaos.RESTART, PROCESSES, 0.2, 2),
    _pick(PACKET_LOSS, _BUSY, 3, 5),
    _proxied(Mode.REFUSE),
    _pick(SEMI_SYNCHRONOUS, ("MySQL",), 0.2, 1),
    _failpoint("publish.before exit"),
    _pick(REDIS_EMPTY, ("Redis",), 0.2, 1),
    _pick(UNPLUGGED, _SERVERS, 2, 5),
    _proxied(Mode.HANG),
    _pick(BACKUP, ("MySQL",), 10, 15),
    _pick(REORDER, _BUSY, 3, 5),
    _failpoint("record.before_commit exit"),
    _pick(ROLLBACK, ("release",), 3, 5),
    _pick(CLOCK_DRIFT, (*APIS, *WORKERS), 3, 5),
    _proxied(Mode.RESET_MID_REPLY),
    _pick(TEMPORAL_RESTORED, ("temporal",), 4, 8),
    _pick(REBOOT, _SERVERS, 0.5, 1.5),
    _failpoint("record.after_commit raise"),
    _proxied(Mode.NO_REPLY),
    _pick(REPLICATION_STOPPED, ("MySQL",), 2, 4),
    _failpoint("notify.before exit"),
    _pick(DUPLICATE, _BUSY, 3, 5),
    _proxied(Mode.LATENCY),
    _pick(NO_SENTINEL_QUORUM, (*SENTINELS,), 1, 3),
    _failpoint("batch.before_completion exit"),
    _proxied(Mode.RESET_BEFORE),
)
"""Each kind, with how its target and its length are drawn."""


def labels() -> tuple[str, ...]:
    """The name of each kind, as reports count it."""
    return tuple(make(random.Random(0)).label for make in KINDS)


def plan(seed: int, *, count: int = FAULTS_IN_A_RUN, kinds: Sequence[str] = ()) -> list[Planned]:
    """The faults of a seed, one after another. Seeds that follow each other take the kinds by
    turns, so any four of them have every kind. With `kinds` there is one fault for each of these
    names, and the seed draws order, targets and lengths."""
    rng = random.Random(f"lab {seed}")
    by_name = dict(zip(labels(), KINDS, strict=True))
    turn = [by_name[kind] for kind in kinds] or [
        KINDS[(seed * count + n) % len(KINDS)] for n in range(count)
    ]
    drawn = [make(rng) for make in turn]
    rng.shuffle(drawn)
    planned = []
    at_s = FIRST_S
    for number, fault in enumerate(drawn, 1):
        planned.append(replace(fault, number=number, at_s=round(at_s, 1)))
        at_s += fault.hold_s + GAP_S
    return planned
