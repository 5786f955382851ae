"""A peer under `scoreboard load`, as anybody would load a server of theirs, and its verdict.

The same load for ours and for the literal server; with `kill`, one of two workers is killed with
SIGKILL in the middle, and nothing replaces it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from benchmarks.peers.backends import Backends
from benchmarks.peers.cpu import cpu_s
from benchmarks.peers.processes import GeneratorFailed
from benchmarks.peers.programs import Running, peer, run_command

FIGURES = (
    *("rate", "answer_p50_ms", "answer_p90_ms", "to_last_p50_ms", "to_last_p90_ms"),
    *("server_cores", "services_cores"),
)
"""What is kept of each run, by the names of Beside."""
PLAYERS = 200
START_S = 2.0
"""What the load command takes to begin, about."""
KILLED_AFTER = 0.5
"""Of the measured time."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Times in ms, from the intended send; None where too few samples tell."""

    verdict: str
    reasons: list[str]
    rate: float
    answer_p50_ms: float | None
    answer_p90_ms: float | None
    to_last_p50_ms: float | None
    to_last_p90_ms: float | None
    server_cores: float
    services_cores: float


async def measure(
    name: str,
    backends: Backends,
    *,
    rate: float,
    warm_up_s: float,
    duration_s: float,
    listeners: int,
    seed: int,
    kill: bool,
) -> Beside:
    """One run of one peer, started anew."""
    # Ours serves with a worker inside, or without one.
    serving = "ours-stream" if kill and name == "ours" else name
    options = {
        "rate": f"{rate:.3g}",
        "duration": f"{duration_s:g}s",
        "warmup": f"{warm_up_s:g}s",
        "listeners": str(listeners),
        "players": str(PLAYERS),
        "seed": str(seed),
    }
    async with peer(serving, backends, workers=2 if kill else 0) as running:
        services = list(backends.pids.values())
        before = cpu_s(running.pids), cpu_s(services)
        began = time.monotonic()
        loading = asyncio.create_task(_load(running, backends, options))
        if kill:
            await asyncio.sleep(START_S + warm_up_s + KILLED_AFTER * duration_s)
            os.kill(running.workers[0].pid, signal.SIGKILL)
        document = await loading
        elapsed_s = time.monotonic() - began
        spent = cpu_s(running.pids) - before[0], cpu_s(services) - before[1]
    figures, verdict = document["figures"], document["verdict"]
    return Beside(
        verdict="correct" if verdict["correct"] else _word(verdict),
        reasons=[*verdict["invalid"], *verdict["incorrect"]],
        rate=figures["throughput"],
        answer_p50_ms=_ms(figures["response_p50"]),
        answer_p90_ms=_ms(figures["response_p90"]),
        to_last_p50_ms=_ms(figures["submit_deliver_last_p50"]),
        to_last_p90_ms=_ms(figures["submit_deliver_last_p90"]),
        server_cores=spent[0] / elapsed_s,
        services_cores=spent[1] / elapsed_s,
    )


def _word(verdict: dict[str, Any]) -> str:
    return "convicted" if verdict["correctness"] == "false" else "could not tell"


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


async def _load(running: Running, backends: Backends, options: Mapping[str, str]) -> Any:
    """The result document. Raises GeneratorFailed when there is none."""
    file = backends.folder / f"beside-{running.name}-{time.monotonic_ns()}.json"
    places = {"results": str(backends.folder), "result-file": str(file)}
    said = await run_command("load", running, {**options, **places}, "--no-ceiling")
    if not file.exists():
        raise GeneratorFailed(f"load of {running.name}: {said}")
    return msgspec.json.decode(file.read_bytes())
