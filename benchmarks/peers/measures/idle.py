"""One submission at a time on an idle machine: from the POST to the event on the stream."""

from statistics import median

from benchmarks.peers import probe
from benchmarks.peers.backends import Backends
from benchmarks.peers.processes import run_json
from benchmarks.peers.programs import peer


async def measure(name: str, backends: Backends, *, count: int, seed: int) -> float:
    """Median milliseconds of one round of one peer, started anew."""
    async with peer(name, backends) as running:
        task = probe.Task(
            port=running.port, secret=running.secret.decode(), count=count, warm_up=10, seed=seed
        )
        return median(await run_json("probe", task, list[float]))
