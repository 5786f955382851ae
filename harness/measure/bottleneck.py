"""Names the resource that limited a run, from its samples. Pure; it does not explain the cause."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import Any

CORE_FULL = 0.9
MACHINE_FULL = 0.92
DISK_WAIT = 0.2
HARNESS_FULL = 0.85
MEMORY_LEFT = 0.05
"""Share of the machine's memory below which the kernel starts to reclaim pages in use."""
LOCK_WAITERS = 0.5
SYNCS_WAITING = 0.5
STATEMENTS_AT_ONCE = 8.0
"""While MySQL keeps up, worker and API have fewer statements in flight."""
START_SLOW_MS = 150.0
"""While Temporal keeps up, handing over a batch takes less than 20 ms."""
UNFINISHED_FULL = 0.9
SINGLE_THREADED = ("server", "worker", "redis")
"""Programs whose main work runs on one thread, so that they can use one core at most."""
OWN_PREFIX = "harness "
OTHERS = "other programs"
FOREIGN = "server under test"
"""The processes of a server that is not our own: how many threads do its work is not known."""
COUNTED = ("mysql", "redis", "temporal")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Means over a window: cores by process, shares of the machine, peak memory in MiB.

    `counters` are the stores' own, as `mysql.Threads_running`; what was not seen is left out.
    """

    cores: Mapping[str, float]
    rss_mib: Mapping[str, float]
    busy: float
    iowait: float
    cpus: int
    memory_mib: float = 0.0
    available_mib: float = math.inf
    counters: Mapping[str, float] = field(default_factory=dict)

    @property
    def elsewhere(self) -> float:
        """Cores busy with other programs: noise."""
        return max(0.0, self.busy * self.cpus - sum(self.cores.values()))

    @property
    def harness_share(self) -> float:
        """Share of the whole machine's CPU that the harness' own processes took."""
        own = sum(value for name, value in self.cores.items() if name.startswith(OWN_PREFIX))
        return own / self.cpus


def usage_of(
    samples: Iterable[Mapping[str, Any]], cpus: int, memory_mib: float = 0.0
) -> Usage | None:
    """Means over the samples, None without samples. `memory_mib` 0 means unknown."""
    kept: Sequence[Mapping[str, Any]] = [s for s in samples if s.get("processes") is not None]
    if not kept:
        return None
    names = sorted({name for sample in kept for name in sample["processes"]})
    counters: dict[str, list[tuple[float, int]]] = {}
    for sample in kept:
        for group in COUNTED:
            for name, value in sample.get(group, {}).items():
                counters.setdefault(f"{group}.{name}", []).append((value, _weight(sample)))

    def values(name: str, key: str) -> list[tuple[float, int]]:
        return [(s["processes"][name][key], _weight(s)) for s in kept if name in s["processes"]]

    return Usage(
        cores={name: _mean(values(name, "cpu")) for name in names},
        rss_mib={name: max(values(name, "rss_mib"))[0] for name in names},
        busy=_mean([(s["machine"]["busy"], _weight(s)) for s in kept]),
        iowait=_mean([(s["machine"]["iowait"], _weight(s)) for s in kept]),
        cpus=cpus,
        memory_mib=memory_mib,
        available_mib=min(s["machine"].get("available_mib", math.inf) for s in kept),
        counters={name: _mean(found) for name, found in counters.items()},
    )


def _weight(sample: Mapping[str, Any]) -> int:
    """The seconds that a sample is of."""
    return int(sample.get("span_s", 1))


def _mean(weighted: Sequence[tuple[float, int]]) -> float:
    return fmean((value for value, _ in weighted), [weight for _, weight in weighted])


def name_bottleneck(usage: Usage | None) -> str:
    """One sentence: the saturated resource and its evidence, or that none is saturated."""
    if usage is None:
        return "unknown: nothing was sampled"
    if all(process.startswith(OWN_PREFIX) for process in usage.cores):
        none = (
            "unknown: no process of the server is seen from here (--server-pid or --server-name "
            "where it runs on this machine)"
        )
    else:
        name, cores = _largest(usage)[0]
        none = (
            f"no resource is full (machine {usage.busy:.0%} busy, most by {name} {cores:.2f} cores)"
        )
    return next(chain(_processors(usage), _foreign(usage), _stores(usage)), none)


def _largest(usage: Usage) -> list[tuple[str, float]]:
    """Who used how many cores, other programs among them, the greatest first."""
    cores = {**usage.cores, OTHERS: usage.elsewhere}
    return sorted(cores.items(), key=lambda pair: -pair[1])


def _processors(usage: Usage) -> Iterator[str]:
    """Saturated resources of the machine itself. They slow everything else, so they come first."""
    largest = _largest(usage)
    for name, cores in largest:
        if name.startswith(OWN_PREFIX) and cores >= HARNESS_FULL:
            own = name.removeprefix(OWN_PREFIX)
            yield (
                f"the harness itself: its {own} {'use' if own.endswith('s') else 'uses'} "
                f"{cores:.0%} of a core"
            )
    if usage.available_mib < MEMORY_LEFT * usage.memory_mib:
        name, mib = max(usage.rss_mib.items(), key=lambda p: p[1], default=("none seen", 0.0))
        yield (
            f"the machine's memory: {usage.available_mib:,.0f} of {usage.memory_mib:,.0f} MiB "
            f"left (most with {name}: {mib:,.0f} MiB)"
        )
    if usage.busy >= MACHINE_FULL:
        told = ", ".join(f"{name} {cores:.2f}" for name, cores in largest[:3])
        yield f"the machine's {usage.cpus} CPUs, {usage.busy:.0%} busy (cores: {told})"
    for name, cores in largest:
        if name in SINGLE_THREADED and cores >= CORE_FULL:
            yield f"the {name} process: its one core is {cores:.0%} busy"


def _foreign(usage: Usage) -> Iterator[str]:
    used = usage.cores.get(FOREIGN, 0.0)
    if CORE_FULL <= used <= 1.05:
        yield f"the server under test: it uses {used:.2f} cores, all that one thread can"


def _stores(usage: Usage) -> Iterator[str]:
    """Saturated stores while the machine still has room, by their own counters."""
    seen = usage.counters
    thread = sum(seen.get(f"redis.used_cpu_{kind}_main_thread", 0.0) for kind in ("sys", "user"))
    if thread >= CORE_FULL:
        yield f"Redis: its one thread is {thread:.0%} busy"
    if evicted := seen.get("redis.evicted_keys", 0.0):
        yield f"Redis: its memory is full, {evicted:,.1f} keys are evicted per second"
    waiters = seen.get("mysql.Innodb_row_lock_time", 0.0) / 1000
    if waiters >= LOCK_WAITERS:
        yield f"MySQL: {waiters:.1f} transactions wait for row locks at any time"
    syncs = sum(seen.get(f"mysql.Innodb_{kind}_pending_fsyncs", 0.0) for kind in ("data", "os_log"))
    if syncs >= SYNCS_WAITING:
        yield f"the disk: {syncs:.1f} syncs of MySQL wait for it at any time"
    if usage.iowait >= DISK_WAIT:
        yield f"the disk: CPUs wait {usage.iowait:.0%} of the time for it"
    running = seen.get("mysql.Threads_running", 0.0)
    if running >= STATEMENTS_AT_ONCE:
        yield f"MySQL: {running:.1f} statements are under way at any time"
    start_ms = seen.get("temporal.start_ms", 0.0)
    if start_ms >= START_SLOW_MS:
        yield f"Temporal: handing over a batch takes {start_ms:.0f} ms"
    unfinished, most = (seen.get(f"temporal.{n}", 0.0) for n in ("unfinished", "unfinished_max"))
    if most and unfinished >= UNFINISHED_FULL * most:
        yield (
            f"Temporal and the worker: {unfinished:.0f} batches are unfinished, "
            f"of {most:.0f} allowed"
        )
