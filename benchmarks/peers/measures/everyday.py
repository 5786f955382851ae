"""Answers and CPU at a fixed offered load far from saturation, and what a hostile user changes.

An open loop without listeners, each user with a token of its own, the same for every peer.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from benchmarks.peers import excess, open_loop
from benchmarks.peers.backends import Backends
from benchmarks.peers.cpu import cpu_s
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.processes import run_json
from benchmarks.peers.programs import OURS, Running, peer

FIGURES = ("answer_p50_ms", "answer_p99_ms", "server_cores", "cores", "us_per_submission")
OVERLOADED_MS = 1000.0
START_S = 1.5
"""What the generator takes before its first arrival."""


class Everyday(msgspec.Struct, frozen=True, kw_only=True):
    """One load: times in ms from the intended send, cores meanwhile, and answers by kind."""

    rate: float
    offered: int
    accepted: int
    refused: int
    unknown: int
    answer_p50_ms: float
    answer_p99_ms: float
    server_cores: float
    services_cores: float
    hostile: excess.Answers | None = None

    @property
    def cores(self) -> float:
        """Server and services together."""
        return self.server_cores + self.services_cores

    @property
    def us_per_submission(self) -> float:
        """CPU time of server and services, in µs."""
        return self.cores / self.rate * 1e6


async def measure(
    name: str,
    backends: Backends,
    *,
    rates: Sequence[float],
    duration_s: float,
    warm_up_s: float,
    users: int,
    seed: int,
) -> list[Everyday]:
    """The peer, started once, under one load after the other, while it stands them.

    The curve of a peer ends with the first load that it answers after more than OVERLOADED_MS, or
    before one of which it does not accept every arrival. Ours has to: raises WrongAnswer.
    """
    found: list[Everyday] = []
    async with peer(name, backends, users=users) as running:
        for number, rate in enumerate(rates):
            part = await _offer(
                running, backends, rate, duration_s, warm_up_s, users, seed + number
            )
            if part.accepted == part.offered:
                found.append(part)
            elif name in OURS:
                raise WrongAnswer(f"{name} at {rate:g}/s: not every arrival was accepted: {part}")
            if part.accepted != part.offered or part.answer_p99_ms > OVERLOADED_MS:
                break
    return found


async def measure_fairness(
    backends: Backends,
    *,
    connections: Sequence[int],
    rate: float,
    duration_s: float,
    warm_up_s: float,
    users: int,
    seed: int,
) -> list[Everyday]:
    """Ours, undisturbed and beside one user at full speed over so many connections."""
    async with peer("ours", backends, users=users) as running:
        found = []
        for number, count in enumerate((0, *connections)):
            task = excess.Task(
                port=running.port,
                secret=running.secret.decode(),
                connections=count,
                duration_s=START_S + warm_up_s + duration_s,
            )
            hostile = asyncio.create_task(run_json("excess", task, excess.Answers))
            others = await _offer(
                running, backends, rate, duration_s, warm_up_s, users, seed + number
            )
            found.append(msgspec.structs.replace(others, hostile=await hostile))
        return found


async def _offer(
    running: Running,
    backends: Backends,
    rate: float,
    duration_s: float,
    warm_up_s: float,
    users: int,
    seed: int,
) -> Everyday:
    task = open_loop.Task(
        port=running.port,
        secret=running.secret.decode(),
        users=users,
        rate=rate,
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        seed=seed,
    )
    offering = asyncio.create_task(run_json("open_loop", task, open_loop.Outcome))
    await asyncio.sleep(START_S + warm_up_s)
    services = list(backends.pids.values())
    began, before = time.monotonic(), (cpu_s(running.pids), cpu_s(services))
    await asyncio.sleep(max(0.5, duration_s - 1))
    took_s, after = time.monotonic() - began, (cpu_s(running.pids), cpu_s(services))
    outcome = await offering
    return Everyday(
        rate=rate,
        offered=outcome.intended,
        accepted=outcome.accepted,
        refused=outcome.refused,
        unknown=outcome.unknown + outcome.dropped,
        answer_p50_ms=outcome.p50_ms,
        answer_p99_ms=outcome.p99_ms,
        server_cores=(after[0] - before[0]) / took_s,
        services_cores=(after[1] - before[1]) / took_s,
    )
