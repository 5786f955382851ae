"""Runs the measures in interleaved rounds and keeps every figure by name.

Within a round each peer has its turn, in an order that changes from round to
round, so that whatever else the machine does falls on all alike.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.peers import centrifugo
from benchmarks.peers.backends import Backends
from benchmarks.peers.measures import (
    beside,
    capacity,
    everyday,
    growth,
    idle,
    loaded,
    reads,
    streams,
    submissions,
)
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.programs import USERS

BESIDE_SHARE = 0.5
"""Of the literal server's throughput: the slower one must stand the load, too."""
BESIDE_LISTENERS = 100
SEED = 20_251_124


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long and how large. Times in seconds."""

    rounds: int
    users: int
    submit_s: float
    warm_up_s: float
    loaded_s: float
    loaded_warm_up_s: float
    loaded_rate: float
    probes: int
    stream_s: float
    stream_ramp_s: float
    read_s: float
    listeners: int
    crowd: int
    stream_rates: tuple[int, ...]
    sizes: tuple[growth.Size, ...]
    listener_sizes: tuple[int, ...]
    everyday_rates: tuple[float, ...]
    everyday_peers: tuple[str, ...] = ("ours", "direct", "redis", "ceiling", "literal")
    capacity_peers: tuple[str, ...]
    capacity_rates: tuple[int, int]
    """The first rate tried, and the greatest."""
    capacity_s: float
    capacity_slo: str
    hostile: tuple[int, ...]
    builds: bool
    """Whether what takes minutes to build is built, or only used where it stands."""


FULL = Scale(
    rounds=5,
    users=USERS,
    submit_s=8,
    warm_up_s=2,
    loaded_s=15,
    # As in `make load`: two thousand tokens are verified in it, and what waited for that is done.
    loaded_warm_up_s=5,
    loaded_rate=1000,
    probes=60,
    stream_s=6,
    stream_ramp_s=1,
    read_s=4,
    listeners=1000,
    crowd=10_000,
    stream_rates=(100, 1000),
    sizes=(
        growth.Size(users=1000),
        growth.Size(users=100_000),
        growth.Size(users=1_000_000),
        growth.Size(users=1_000_000, ledger_rows=10_000_000),
    ),
    listener_sizes=(100, 1000, 10_000),
    everyday_rates=(100, 500, 1000, 1500, 3000, 5000),
    capacity_peers=("ours", "literal", "direct-stream", "redis"),
    capacity_rates=(250, 8000),
    # So that a peer which holds 62/s has the samples of a p99.
    capacity_s=20,
    capacity_slo=capacity.SLO,
    hostile=(14, 40),
    builds=True,
)
TINY = Scale(
    rounds=1,
    users=42,
    submit_s=0.5,
    warm_up_s=0.2,
    loaded_s=1.5,
    loaded_warm_up_s=0.5,
    loaded_rate=100,
    probes=3,
    stream_s=0.5,
    stream_ramp_s=0.3,
    read_s=0.3,
    listeners=20,
    crowd=40,
    stream_rates=(100, 1000),
    sizes=(growth.Size(users=1000), growth.Size(users=3000, ledger_rows=2000)),
    listener_sizes=(10, 30),
    everyday_rates=(50,),
    capacity_peers=("redis",),
    capacity_rates=(8, 8),
    capacity_s=2,
    # So few samples have no percentile.
    capacity_slo="max<5s,submit_deliver_last_max<5s",
    hostile=(2,),
    builds=False,
)


class Recorder:
    """Figures by name, and the whole of what each round found."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.samples: defaultdict[str, list[float | None]] = defaultdict(list)
        self.details: defaultdict[str, list[Any]] = defaultdict(list)
        self.failures: list[str] = []
        self._say = say

    async def take(self, measuring: Awaitable[Any] | None, **figures: str) -> Any:
        """What a measure found. Keeps the figures: each an attribute of that by its name.

        The whole is kept under the first figure. None, and figures without a value, when there
        was nothing to measure or the answers were wrong; the latter is a failure.
        """
        found = None
        try:
            found = await measuring if measuring is not None else None
        except WrongAnswer as error:
            self.failed(error)
        for attribute, name in figures.items():
            self.keep(name, None if found is None else getattr(found, attribute))
        if found is not None:
            self.details[next(iter(figures.values()))].append(msgspec.to_builtins(found))
        return found

    def failed(self, error: WrongAnswer) -> None:
        """A measure whose answers were wrong."""
        self.failures.append(str(error))
        self._say(f"  WRONG: {error}")

    def keep(self, name: str, value: float | None) -> None:
        """One round's figure."""
        self.samples[name].append(value)
        self._say(f"  {name}: {'nothing' if value is None else f'{value:,.4g}'}")


def turns(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: begins one later each time, every second one reversed."""
    start = number % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if number % 2 else order


async def _submit(
    name: str, figure: str, backends: Backends, scale: Scale, recorder: Recorder, *, keyed: bool
) -> submissions.Throughput | None:
    """One round of a peer's throughput, kept as `figure`."""
    measuring = submissions.measure(
        name,
        backends,
        duration_s=scale.submit_s,
        warm_up_s=scale.warm_up_s,
        users=scale.users,
        keyed=keyed,
    )
    found: submissions.Throughput | None = await recorder.take(measuring, rate=figure)
    return found


async def run_submissions(
    backends: Backends, scale: Scale, rounds: int, recorder: Recorder
) -> None:
    """Throughput of ours and of all who store or only answer."""
    for number in range(rounds):
        for name in turns(("ours", "direct", "ceiling", "literal"), number):
            await _submit(name, f"submissions/{name}", backends, scale, recorder, keyed=False)
        await _submit("ours", "submissions/ours with keys", backends, scale, recorder, keyed=True)


async def run_loaded(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Latencies with listeners that get every change, and direct SQL's without listeners."""
    for number in range(rounds):
        for name in turns(("ours", "direct"), number):
            if name == "direct":
                found = await _curve(name, backends, (scale.loaded_rate,), scale, number, recorder)
                for part in found:
                    _keep_everyday(recorder, "loaded/direct, no listeners", part)
                continue
            measuring = loaded.measure(
                backends,
                rate=scale.loaded_rate,
                duration_s=scale.loaded_s,
                warm_up_s=scale.loaded_warm_up_s,
                listeners=scale.listeners,
                seed=SEED + number,
                users=scale.users,
            )
            await recorder.take(
                measuring,
                answer_p99_ms="loaded/answer p99",
                answer_p50_ms="loaded/answer p50",
                to_last_p99_ms="loaded/to last p99",
            )


async def run_idle(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """One submission at a time."""
    for number in range(rounds):
        for name in turns(("ours", "literal"), number):
            found = await idle.measure(name, backends, count=scale.probes, seed=SEED + number)
            recorder.keep(f"idle/{name}", found)


async def run_beside(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Ours and the literal server under the same load, undisturbed and losing a worker."""
    for number in range(rounds):
        names = turns(("ours", "literal"), number)
        rates = {}
        for name in names:
            figure = f"beside/{name}/throughput"
            rates[name] = await _submit(name, figure, backends, scale, recorder, keyed=False)
        literal = rates["literal"]
        for kill, case in ((False, "undisturbed"), (True, "worker killed")):
            for name in names:
                measuring = None
                if literal:
                    measuring = beside.measure(
                        name,
                        backends,
                        rate=BESIDE_SHARE * literal.rate,
                        warm_up_s=scale.warm_up_s,
                        duration_s=scale.loaded_s,
                        listeners=min(scale.listeners, BESIDE_LISTENERS),
                        seed=SEED + number,
                        kill=kill,
                    )
                figures = {each: f"beside/{name}/{case}/{each}" for each in beside.FIGURES}
                await recorder.take(measuring, **figures)


async def run_everyday(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """The curve of latency and CPU over offered load, far from saturation."""
    for number in range(rounds):
        for name in turns(scale.everyday_peers, number):
            rates = scale.everyday_rates
            for part in await _curve(name, backends, rates, scale, number, recorder):
                _keep_everyday(recorder, f"everyday {part.rate:g}/{name}", part)


async def _curve(
    name: str,
    backends: Backends,
    rates: Sequence[float],
    scale: Scale,
    number: int,
    recorder: Recorder,
) -> list[everyday.Everyday]:
    """One round of a peer under these loads."""
    try:
        return await everyday.measure(
            name,
            backends,
            rates=rates,
            duration_s=scale.submit_s,
            warm_up_s=scale.warm_up_s,
            users=scale.users,
            seed=SEED + number,
        )
    except WrongAnswer as error:
        recorder.failed(error)
        return []


async def run_capacity(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """The highest rate within the SLO, with listeners that each get every change."""
    for number in range(rounds):
        for name in turns(scale.capacity_peers, number):
            searching = capacity.measure(
                name,
                backends,
                listeners=scale.listeners,
                seconds=scale.capacity_s,
                rates=scale.capacity_rates,
                repeats=1,
                slo=scale.capacity_slo,
            )
            await recorder.take(searching, rate=f"capacity/{name}")


async def run_fairness(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """What one user's excess costs the others."""
    for number in range(rounds):
        calm, *disturbed = await everyday.measure_fairness(
            backends,
            connections=scale.hostile,
            rate=scale.everyday_rates[0],
            duration_s=scale.submit_s,
            warm_up_s=scale.warm_up_s,
            users=scale.users,
            seed=SEED + number,
        )
        _keep_everyday(recorder, "fairness/undisturbed", calm)
        for count, part in zip(scale.hostile, disturbed, strict=True):
            name = f"fairness/{count} hostile connections"
            _keep_everyday(recorder, name, part)
            recorder.keep(f"{name}/not accepted", part.offered - part.accepted)


def _keep_everyday(recorder: Recorder, name: str, part: everyday.Everyday) -> None:
    for attribute in everyday.FIGURES:
        recorder.keep(f"{name}/{attribute}", getattr(part, attribute))
    recorder.details[name].append(msgspec.to_builtins(part))


async def run_streams(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Deliveries per CPU-second of SSE servers. Centrifugo is left out where it needs Go."""
    names = ["ours-stream", "nchan", "queue", "sse-starlette"]
    if centrifugo.available() if scale.builds else centrifugo.is_built():
        names.append("centrifugo")
    for number in range(rounds):
        for rate in scale.stream_rates:
            for name in turns(names, number):
                measuring = streams.measure(
                    name,
                    backends,
                    listeners=scale.listeners,
                    rate=rate,
                    duration_s=scale.stream_s,
                    ramp_s=scale.stream_ramp_s,
                )
                await recorder.take(measuring, deliveries_per_cpu_s=f"streams {rate}/{name}")


async def run_crowd(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Many listeners while submissions run; then, for information, with every one a change."""
    for number in range(rounds):
        for changing, name in ((10, "crowd"), (1, "crowd, all change")):
            measuring = loaded.measure(
                backends,
                rate=1000,
                duration_s=scale.loaded_s,
                warm_up_s=scale.loaded_warm_up_s,
                listeners=scale.crowd,
                seed=SEED + number,
                changing=changing,
                users=scale.users,
            )
            await recorder.take(
                measuring,
                lag_p99_ms=f"{name}/lag p99",
                server_cores=f"{name}/cores",
                kib_per_listener=f"{name}/KiB per listener",
            )


async def run_reads(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """GET /scores."""
    for number in range(rounds):
        for name in turns(("ours", "ceiling"), number):
            found = await reads.measure(name, backends, duration_s=scale.read_s)
            recorder.keep(f"reads/{'constant' if name == 'ceiling' else name}", found)


async def run_growth(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Cost at larger sizes."""
    for _ in range(rounds):
        for count in scale.listener_sizes:
            fanout = streams.measure(
                "ours-stream",
                backends,
                listeners=count,
                rate=100,
                duration_s=scale.stream_s,
                ramp_s=scale.stream_ramp_s,
            )
            await recorder.take(fanout, us_per_read=f"listeners/{count}")
    async with growth.running_sizes(scale.sizes, backends) as running:
        by_name = {str(size): (size, False) for size in scale.sizes}
        # Keys spread over the whole index, so their cost is asked for where it is largest, too.
        for size in (scale.sizes[0], scale.sizes[-1]):
            by_name[f"{size}, with keys"] = (size, True)
        for number in range(rounds):
            for name in turns(tuple(by_name), number):
                size, keyed = by_name[name]
                measuring = growth.measure(
                    running[size],
                    backends,
                    size,
                    duration_s=scale.submit_s,
                    seed=SEED + number,
                    keyed=keyed,
                )
                await recorder.take(
                    measuring, total_us=f"growth/{name}", written=f"growth/{name}, bytes"
                )


GROUPS: dict[str, Callable[[Backends, Scale, int, Recorder], Awaitable[None]]] = {
    "submissions": run_submissions,
    "loaded": run_loaded,
    "idle": run_idle,
    "beside": run_beside,
    "everyday": run_everyday,
    "capacity": run_capacity,
    "fairness": run_fairness,
    "streams": run_streams,
    "crowd": run_crowd,
    "reads": run_reads,
    "growth": run_growth,
}
