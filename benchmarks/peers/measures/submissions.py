"""Accepted and applied submissions per second, end to end, for each peer.

A closed loop with as many connections as suits the peer; the clock stops when
the last accepted submission is in MySQL, and only rows that are there count.
"""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from benchmarks.peers import closed_loop
from benchmarks.peers.backends import Backends, mysql_connection, query
from benchmarks.peers.cpu import cpu_s
from benchmarks.peers.processes import run_json
from benchmarks.peers.programs import USERS, Running, peer

CONNECTIONS = {
    "ours": 512,
    "direct": 128,
    "naive": 64,
    "ceiling": 128,
    "ceiling-uncached": 128,
}
STORES = frozenset({"ours", "direct", "naive"})
APPLIED_TIMEOUT_S = 120.0
ALICE_AND_BOB = 1500 + 1400


class WrongAnswer(AssertionError):
    """A peer was fast and wrong; its figures do not count."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer. `rate` is per second; `cpu` is in µs per submission by process."""

    rate: float
    accepted: int
    elapsed_s: float
    cpu_us: dict[str, float]


async def measure(
    name: str, backends: Backends, *, duration_s: float, warm_up_s: float, keyed: bool = False
) -> Throughput:
    """One round of one peer, started anew. Raises WrongAnswer."""
    async with peer(name, backends) as running:
        return await submit(
            running, backends, duration_s=duration_s, warm_up_s=warm_up_s, keyed=keyed
        )


async def submit(
    running: Running,
    backends: Backends,
    *,
    duration_s: float,
    warm_up_s: float,
    keyed: bool = False,
    users: int = USERS,
) -> Throughput:
    """Load a peer that runs: a warm-up whose effect must be there, too, then the round."""
    before = await points(running)
    if warm_up_s:
        warm = await _ask(running, warm_up_s, "warm" if keyed else "", users)
        await _applied(running, before + warm.good, warm)
        before += warm.good
    pids = {"peer": list(running.pids), **{name: [pid] for name, pid in backends.pids.items()}}
    cpu_before = {name: cpu_s(found) for name, found in pids.items()}
    answers = await _ask(running, duration_s, "round" if keyed else "", users)
    ended_unix = await _applied(running, before + answers.good, answers)
    elapsed_s = max(answers.elapsed_s, ended_unix - answers.started_unix)
    used = {name: cpu_s(found) - cpu_before[name] for name, found in pids.items()}
    used["generator"] = answers.cpu_s
    return Throughput(
        rate=answers.good / elapsed_s,
        accepted=answers.good,
        elapsed_s=elapsed_s,
        cpu_us=per_item(used, answers.good),
    )


def per_item(used_s: Mapping[str, float], count: int) -> dict[str, float]:
    """Microseconds of CPU per item."""
    return {name: round(1e6 * seconds / max(1, count), 2) for name, seconds in used_s.items()}


async def _ask(
    running: Running, duration_s: float, keyed: str, users: int
) -> closed_loop.Answers:
    return await run_json(
        "closed_loop",
        closed_loop.Task(
            port=running.port,
            connections=CONNECTIONS[running.name.split("-")[0]],
            duration_s=duration_s,
            secret=running.secret.decode(),
            users=min(users, USERS),
            keyed=keyed,
        ),
        closed_loop.Answers,
    )


async def points(running: Running) -> int:
    """The sum of all scores: each submission adds one point, so also what was applied."""
    if running.name.split("-")[0] not in STORES:
        return 0
    async with mysql_connection(running.mysql_url) as connection:
        [(total,)] = await query(connection, f"SELECT SUM(score) FROM users WHERE id <= {USERS}")
    return int(total or 0)


async def _applied(running: Running, expected: int, answers: closed_loop.Answers) -> float:
    """Wait until exactly what was accepted is applied; the Unix time when it was seen."""
    if not answers.clean:
        raise WrongAnswer(f"{running.name}: answers {answers.statuses}, {answers.lost} lost")
    if running.name.split("-")[0] not in STORES:
        return time.time()
    deadline = time.monotonic() + APPLIED_TIMEOUT_S
    async with mysql_connection(running.mysql_url) as connection:
        while True:
            [(total,)] = await query(
                connection, f"SELECT SUM(score) FROM users WHERE id <= {USERS}"
            )
            now = time.time()
            if total == expected:
                break
            if total > expected or time.monotonic() > deadline:
                raise WrongAnswer(f"{running.name}: {total} points, {expected} accepted")
            await asyncio.sleep(0.01)
        if running.name == "ours":
            await _ledger_agrees(connection, expected)
    return now


async def _ledger_agrees(connection: object, expected: int) -> None:
    """The sequence is gapless and every point has its row."""
    [(rows, first, last, board)] = await query(
        connection,
        "SELECT COUNT(seq), MIN(seq), MAX(seq), (SELECT seq FROM boards WHERE id = 1) FROM ledger",
    )
    if rows and not (first == 1 and last == rows == board == expected - ALICE_AND_BOB):
        raise WrongAnswer(f"ours: {rows} rows, seq {first} to {last}, board {board}")
