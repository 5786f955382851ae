"""Runs the measures in interleaved rounds and keeps every figure by name.

Within a round each peer has its turn, in an order that changes from round to
round, so that whatever else the machine does falls on all alike.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from benchmarks.peers.backends import Backends
from benchmarks.peers.measures import growth, idle, loaded, reads, streams, submissions
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.programs import USERS

T = TypeVar("T")

LOAD_SHARE = 0.7
SEED = 20_251_124


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long and how large. Times in seconds."""

    rounds: int
    users: int
    submit_s: float
    naive_s: float
    warm_up_s: float
    loaded_s: float
    probes: int
    stream_s: float
    read_s: float
    listeners: int
    crowd: int
    stream_rates: tuple[int, ...]
    sizes: tuple[growth.Size, ...]
    listener_sizes: tuple[int, ...]


FULL = Scale(
    rounds=5,
    users=USERS,
    submit_s=8,
    naive_s=8,
    warm_up_s=2,
    loaded_s=15,
    probes=60,
    stream_s=6,
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
)
TINY = Scale(
    rounds=1,
    users=42,
    submit_s=0.5,
    naive_s=0.5,
    warm_up_s=0.2,
    loaded_s=1.5,
    probes=3,
    stream_s=0.5,
    read_s=0.3,
    listeners=20,
    crowd=40,
    stream_rates=(100, 1000),
    sizes=(growth.Size(users=1000), growth.Size(users=3000, ledger_rows=2000)),
    listener_sizes=(10, 30),
)


class Recorder:
    """Figures by name, and the whole of what each round found."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.samples: defaultdict[str, list[float | None]] = defaultdict(list)
        self.details: defaultdict[str, list[Any]] = defaultdict(list)
        self.failures: list[str] = []
        self._say = say

    async def attempt(self, measuring: Awaitable[T]) -> T | None:
        """What a measure found; None, and a failure noted, when the answers were wrong."""
        try:
            return await measuring
        except WrongAnswer as error:
            self.failures.append(str(error))
            self._say(f"  WRONG: {error}")
            return None

    def keep(self, name: str, value: float | None, whole: Any = None) -> None:
        """One round's figure."""
        self.samples[name].append(value)
        if whole is not None:
            self.details[name].append(msgspec.to_builtins(whole))
        shown = "nothing" if value is None else f"{value:,.4g}"
        self._say(f"  {name}: {shown}")


def turns(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: begins one later each time, every second one reversed."""
    start = number % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if number % 2 else order


async def _submit(
    name: str,
    figure: str,
    backends: Backends,
    scale: Scale,
    recorder: Recorder,
    *,
    keyed: bool = False,
) -> float | None:
    """One round of a peer's throughput, kept as `figure`; submissions/s."""
    found = await recorder.attempt(
        submissions.measure(
            name,
            backends,
            duration_s=scale.naive_s if name == "naive" else scale.submit_s,
            warm_up_s=scale.warm_up_s,
            users=scale.users,
            keyed=keyed,
        )
    )
    rate = found.rate if found else None
    recorder.keep(figure, rate, found)
    return rate


async def run_submissions(
    backends: Backends, scale: Scale, rounds: int, recorder: Recorder
) -> None:
    """Throughput of ours and of all who store or only answer."""
    names = ("ours", "direct", "ceiling", "naive", "direct-cached", "ceiling-uncached")
    for number in range(rounds):
        for name in turns(names, number):
            await _submit(name, f"submissions/{name}", backends, scale, recorder)
        await _submit("ours", "submissions/ours with keys", backends, scale, recorder, keyed=True)


async def run_loaded(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Latencies at LOAD_SHARE of the rate that the same round has measured just before.

    Of no other: a machine that is shared may be half as fast some minutes later.
    """

    async def under_load(rate: float, listeners: int, number: int) -> loaded.Loaded | None:
        return await recorder.attempt(
            loaded.measure(
                backends,
                rate=LOAD_SHARE * rate,
                duration_s=scale.loaded_s,
                listeners=listeners,
                seed=SEED + number,
                users=scale.users,
            )
        )

    for number in range(rounds):
        rate = await _submit("ours", "loaded/rate of the closed loop", backends, scale, recorder)
        alone = await under_load(rate, 1, number) if rate else None
        recorder.keep("loaded/answer p99", alone.answer_p99_ms if alone else None, alone)
        recorder.keep("loaded/answer p50", alone.answer_p50_ms if alone else None)
        heard = await under_load(rate, scale.listeners, number) if rate else None
        recorder.keep("loaded/to last p99", heard.to_last_p99_ms if heard else None, heard)
        recorder.keep("loaded/answer p99 with listeners", heard.answer_p99_ms if heard else None)


async def run_idle(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """One submission at a time."""
    for number in range(rounds):
        for name in turns(("ours", "naive"), number):
            found = await idle.measure(name, backends, count=scale.probes, seed=SEED + number)
            recorder.keep(f"idle/{name}", found)


async def run_streams(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Deliveries per CPU-second of four SSE servers."""
    names = ("ours-stream", "nchan", "queue", "sse-starlette")
    for number in range(rounds):
        for rate in scale.stream_rates:
            for name in turns(names, number):
                found = await recorder.attempt(
                    streams.measure(
                        name,
                        backends,
                        listeners=scale.listeners,
                        rate=rate,
                        duration_s=scale.stream_s,
                    )
                )
                recorder.keep(
                    f"streams {rate}/{name}", found.deliveries_per_cpu_s if found else None, found
                )


async def run_crowd(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Many listeners while submissions run; then, for information, with every one a change."""
    for number in range(rounds):
        for changing, name in ((10, "crowd"), (1, "crowd, all change")):
            found = await recorder.attempt(
                loaded.measure(
                    backends,
                    rate=1000,
                    duration_s=scale.loaded_s,
                    listeners=scale.crowd,
                    seed=SEED + number,
                    changing=changing,
                    users=scale.users,
                )
            )
            recorder.keep(f"{name}/lag p99", found.lag_p99_ms if found else None, found)
            recorder.keep(f"{name}/cores", found.server_cores if found else None)
            recorder.keep(f"{name}/KiB per listener", found.kib_per_listener if found else None)


async def run_reads(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """GET /scores."""
    for number in range(rounds):
        for name in turns(("ours", "ceiling"), number):
            found = await reads.measure(name, backends, duration_s=scale.read_s)
            recorder.keep(f"reads/{'constant' if name == 'ceiling' else name}", found)


async def run_growth(backends: Backends, scale: Scale, rounds: int, recorder: Recorder) -> None:
    """Cost at larger sizes."""
    for _ in range(rounds):
        for listeners in scale.listener_sizes:
            fanout = await recorder.attempt(
                streams.measure(
                    "ours-stream",
                    backends,
                    listeners=listeners,
                    rate=100,
                    duration_s=scale.stream_s,
                )
            )
            recorder.keep(f"listeners/{listeners}", fanout.us_per_read if fanout else None, fanout)
    async with growth.running_sizes(scale.sizes, backends) as running:
        by_name = {str(size): (size, False) for size in scale.sizes}
        # Keys spread over the whole index, so their cost is asked for where it is largest, too.
        for size in (scale.sizes[0], scale.sizes[-1]):
            by_name[f"{size}, with keys"] = (size, True)
        for number in range(rounds):
            for name in turns(tuple(by_name), number):
                size, keyed = by_name[name]
                found = await recorder.attempt(
                    growth.measure(
                        running[size],
                        backends,
                        size,
                        duration_s=scale.submit_s,
                        seed=SEED + number,
                        keyed=keyed,
                    )
                )
                recorder.keep(f"growth/{name}", found.total_us if found else None, found)


GROUPS: dict[str, Callable[[Backends, Scale, int, Recorder], Awaitable[None]]] = {
    "submissions": run_submissions,
    "loaded": run_loaded,
    "idle": run_idle,
    "streams": run_streams,
    "crowd": run_crowd,
    "reads": run_reads,
    "growth": run_growth,
}
