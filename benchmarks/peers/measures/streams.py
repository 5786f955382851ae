"""SSE deliveries per CPU-second of the server: the same listeners, the same events.

Changes are published one by one at a steady rate; a delivery is one event that
one listener has read. Server means the process that holds the streams (nginx,
Sanic, uvicorn); Redis and the publisher are not counted, for anyone.
"""

import asyncio
import time

import msgspec

from benchmarks.peers import feed
from benchmarks.peers.backends import Backends
from benchmarks.peers.cpu import cpu_s, rss_bytes
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.processes import Conversation, conversation, run_json
from benchmarks.peers.programs import OURS, Running, peer

FEEDS = {
    "nchan": "nchan",
    "centrifugo": "centrifugo",
    "queue": "pubsub",
    "sse-starlette": "pubsub",
    "ours-stream": "board",
}
DRAIN_TIMEOUT_S = 60.0


class Fanout(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer. `complete`: every listener got every event, waited for or not."""

    deliveries_per_cpu_s: float
    deliveries_per_s: float
    published_per_s: float
    server_cores: float
    us_per_delivery: float
    us_per_read: float
    events_per_read: float
    kib_per_listener: float
    complete: bool


async def measure(
    name: str,
    backends: Backends,
    *,
    listeners: int,
    rate: float,
    duration_s: float,
    ramp_s: float,
) -> Fanout:
    """One round of one peer, started anew. Raises WrongAnswer when ours misses an event."""
    async with peer(name, backends) as running:
        rss_before = rss_bytes(running.pids)
        where = str(running.port), str(listeners), running.stream_path
        async with conversation("count_listeners", *where) as counting:
            await counting.heard()
            kib = (rss_bytes(running.pids) - rss_before) / 1024 / listeners
            return await _flow(running, backends, counting, rate, (ramp_s, duration_s), kib)


async def _flow(
    running: Running,
    backends: Backends,
    counting: Conversation,
    rate: float,
    times_s: tuple[float, float],
    kib: float,
) -> Fanout:
    ramp_s, duration_s = times_s
    task = feed.Task(
        kind=FEEDS[running.name],
        rate=rate,
        duration_s=ramp_s + duration_s + ramp_s,
        port=running.port,
        redis_url=backends.urls["redis"],
    )
    feeding = asyncio.create_task(run_json("feed", task, feed.Published))
    # The interpreter's start is part of the ramp.
    while (await counting.ask())["most"] == 0:
        if feeding.done():
            raise WrongAnswer(f"{running.name}: nothing of {feeding.result()} arrived")
        await asyncio.sleep(0.05)
    await asyncio.sleep(ramp_s)
    began, cpu_before = time.monotonic(), cpu_s(running.pids)
    before = await counting.ask()
    await asyncio.sleep(duration_s)
    cpu = cpu_s(running.pids) - cpu_before
    elapsed_s = time.monotonic() - began
    after = await counting.ask()
    count, reads = after["total"] - before["total"], after["reads"] - before["reads"]
    published = (await feeding).published
    complete = await _complete(counting, published, wait=running.name in OURS)
    if running.name in OURS and not complete:
        raise WrongAnswer(f"{running.name}: not every listener has every event")
    return Fanout(
        deliveries_per_cpu_s=count / max(cpu, 0.01),
        deliveries_per_s=count / elapsed_s,
        published_per_s=published / task.duration_s,
        server_cores=cpu / elapsed_s,
        us_per_delivery=1e6 * cpu / max(1, count),
        us_per_read=1e6 * cpu / max(1, reads),
        events_per_read=count / max(1, reads),
        kib_per_listener=kib,
        complete=complete,
    )


async def _complete(counting: Conversation, published: int, *, wait: bool) -> bool:
    """Whether each listener has exactly what was published. Ours is waited for."""
    deadline = time.monotonic() + (DRAIN_TIMEOUT_S if wait else 0)
    while True:
        answer = await counting.ask()
        if answer["least"] == answer["most"] == published:
            return True
        if answer["most"] > published:
            return False
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
