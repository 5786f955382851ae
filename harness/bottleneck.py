"""Which resource a run was short of, from its samples. Pure; names what is full, not why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

CORE_FULL = 0.9
MACHINE_FULL = 0.92
DISK_WAIT = 0.2
HARNESS_FULL = 0.85
SINGLE_THREADED = ("server", "worker", "redis")
"""Programs whose main work is on one thread: one core is all they can use."""
OWN_PREFIX = "harness "


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Means over a window: cores by process, shares of the machine, peak memory in MiB."""

    cores: Mapping[str, float]
    rss_mib: Mapping[str, float]
    busy: float
    iowait: float
    cpus: int

    @property
    def elsewhere(self) -> float:
        """Cores busy with programs that are no part of the run: noise."""
        return max(0.0, self.busy * self.cpus - sum(self.cores.values()))

    @property
    def harness_share(self) -> float:
        """Share of the whole machine's CPU that the harness' own processes took."""
        own = sum(value for name, value in self.cores.items() if name.startswith(OWN_PREFIX))
        return own / self.cpus


def usage_of(samples: Iterable[Mapping[str, Any]], cpus: int) -> Usage | None:
    """Means of the samples, None when there is none."""
    kept: Sequence[Mapping[str, Any]] = [s for s in samples if s.get("processes") is not None]
    if not kept:
        return None
    names = sorted({name for sample in kept for name in sample["processes"]})

    def values(name: str, key: str) -> list[float]:
        return [s["processes"][name][key] for s in kept if name in s["processes"]]

    return Usage(
        cores={name: mean(values(name, "cpu")) for name in names},
        rss_mib={name: max(values(name, "rss_mib")) for name in names},
        busy=mean(s["machine"]["busy"] for s in kept),
        iowait=mean(s["machine"]["iowait"] for s in kept),
        cpus=cpus,
    )


def name_bottleneck(usage: Usage | None) -> str:
    """One sentence: the fullest resource, or that none was full."""
    if usage is None:
        return "unknown: nothing was sampled"
    largest = sorted(usage.cores.items(), key=lambda pair: -pair[1])
    for name, cores in largest:
        if name.startswith(OWN_PREFIX) and cores >= HARNESS_FULL:
            return f"the harness itself: {name.removeprefix(OWN_PREFIX)} uses {cores:.0%} of a core"
    if usage.busy >= MACHINE_FULL:
        told = ", ".join(f"{name} {cores:.2f}" for name, cores in largest[:3])
        return f"the machine's {usage.cpus} CPUs, {usage.busy:.0%} busy (cores: {told})"
    for name, cores in largest:
        if name in SINGLE_THREADED and cores >= CORE_FULL:
            return f"the {name} process: its one core is {cores:.0%} busy"
    if usage.iowait >= DISK_WAIT:
        return f"the disk: CPUs wait {usage.iowait:.0%} of the time for it"
    told = f"{largest[0][0]} {largest[0][1]:.2f} cores" if largest else "nothing seen"
    return f"no resource is full (machine {usage.busy:.0%} busy, most by {told})"
