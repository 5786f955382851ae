"""The highest rate that a peer sustains within an SLO, by `scoreboard capacity`.

The same search for every peer, as anybody would search a server of theirs: a trial counts only
when it was valid, correct and within the limits.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.peers.backends import Backends
from benchmarks.peers.processes import GeneratorFailed, output_of
from benchmarks.peers.programs import OURS, Running, peer
from harness.report.document import CapacityResult
from harness.report.result_files import read_result_as
from stack.ports import HOST

SLO = "p99<100ms,submit_deliver_last_p99<300ms"
STARTS = {"literal": 5}
"""The first rate tried for a peer that others' would overload for minutes."""
EXITS = (0, 1, 3)


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` submissions/s, 0 when none held. `limit`: why the lowest rate above did not."""

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
        "start": str(STARTS.get(name, rates[0])),
        "most": str(rates[1]),
        "repeats": str(repeats),
        "players": "2000",
    }
    async with peer(name, backends) as running:
        found = await _search(running, backends, options)
    failed = [trial for trial in found.trials if not trial.held]
    nearest = min(failed, key=lambda trial: trial.rate, default=None)
    return Sustained(
        rate=next((search.load or 0 for search in found.searches), 0),
        limit="" if nearest is None else f"{nearest.rate}/s: {nearest.why}",
        trials=len(found.trials),
    )


async def _search(
    running: Running, backends: Backends, options: Mapping[str, str]
) -> CapacityResult:
    """The result document. Raises GeneratorFailed when there is none."""
    folder = Path(backends.folder) / f"capacity-{running.name}-{running.port}"
    folder.mkdir()
    places = {"host": f"http://{HOST}:{running.port}", "results": str(folder)}
    witness = {"SCOREBOARD_MYSQL_URL": running.mysql_url} if running.name in OURS else {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scoreboard_cli", "capacity", "--no-seed"),
        *(text for name, value in {**options, **places}.items() for text in (f"--{name}", value)),
        env={**os.environ, "SCOREBOARD_JWT_SECRET": running.secret.decode(), **witness},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await output_of(process)
    files = sorted(folder.glob("capacity-*.json"))
    if process.returncode not in EXITS or not files:
        told = said.decode(errors="replace")[-2000:]
        raise GeneratorFailed(f"capacity of {running.name}: {told}")
    return read_result_as(files[-1], CapacityResult)
