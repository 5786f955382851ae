"""The highest rate that a peer sustains within an SLO, by `scoreboard capacity`.

The same search for every peer, as anybody would search a server of theirs: a trial counts only
when it was valid, correct and within the limits.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.peers.backends import Backends
from benchmarks.peers.processes import GeneratorFailed
from benchmarks.peers.programs import Running, peer, run_command
from harness.report.document import CapacityResult
from harness.report.result_files import read_result_as

SLO = "p99<100ms,submit_deliver_last_p99<300ms"
SLOW = {
    "literal": {
        "start": "5",
        "duration": "20",
        "slo": "p90<100ms,submit_deliver_last_p90<300ms",
    }
}
"""Other options for a peer that takes too few submissions for a p99 in this time, and that the
first rate of the others would overload for minutes: its p90 is held to their limits, a favour."""


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` submissions/s. `limit`: why the lowest rate above did not hold.

    Of a peer of which no rate held, `rate` is the lowest that was tried: more than it sustains. Of
    ours it is 0 then.
    """

    rate: float
    limit: str
    trials: int


async def measure(
    name: str,
    backends: Backends,
    *,
    listeners: int,
    seconds: float,
    rates: tuple[int, int],
    repeats: int,
    slo: str = SLO,
) -> Sustained:
    """One search of one peer, started anew, from the first of `rates` up to the second."""
    options = {
        "slo": slo,
        "listeners": str(listeners),
        "duration": f"{seconds:g}",
        "warmup": f"{seconds / 4:g}",
        "start": str(rates[0]),
        "most": str(rates[1]),
        "repeats": str(repeats),
        "players": "2000",
        **SLOW.get(name, {}),
    }
    async with peer(name, backends) as running:
        found = await _search(running, backends, options)
    failed = [trial for trial in found.trials if not trial.held]
    nearest = min(failed, key=lambda trial: trial.rate, default=None)
    held = next((search.load or 0 for search in found.searches), 0)
    favour = 0 if nearest is None or name == "ours" else nearest.rate
    return Sustained(
        rate=held or favour,
        limit="" if nearest is None else f"{nearest.rate}/s: {nearest.why}",
        trials=len(found.trials),
    )


async def _search(
    running: Running, backends: Backends, options: Mapping[str, str]
) -> CapacityResult:
    """The result document. Raises GeneratorFailed when there is none."""
    folder = Path(backends.folder) / f"capacity-{running.name}-{running.port}"
    folder.mkdir()
    said = await run_command("capacity", running, {**options, "results": str(folder)})
    files = sorted(folder.glob("capacity-*.json"))
    if not files:
        raise GeneratorFailed(f"capacity of {running.name}: {said}")
    return read_result_as(files[-1], CapacityResult)
