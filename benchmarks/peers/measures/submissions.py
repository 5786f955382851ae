"""Accepted and applied submissions per second, end to end, for each peer.

A closed loop with as many connections as suits the peer; the clock stops when
the last accepted submission is in MySQL, and only rows that are there count.
"""

import asyncio
import time

import msgspec

from benchmarks.peers import closed_loop
from benchmarks.peers.backends import Backends, mysql_connection, query
from benchmarks.peers.cpu import cpu_s, written_bytes
from benchmarks.peers.processes import run_json
from benchmarks.peers.programs import USERS, Running, peer

CONNECTIONS = {"ours": 1024, "direct": 128, "literal": 64, "ceiling": 256}
APPLIED_TIMEOUT_S = 300.0


class WrongAnswer(AssertionError):
    """A peer was fast and wrong; its figures do not count."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer. `rate` is per second; `cpu` is in µs per submission by process, and
    `written` in bytes per submission of all."""

    rate: float
    accepted: int
    elapsed_s: float
    cpu_us: dict[str, float]
    written: float | None = None


async def measure(
    name: str,
    backends: Backends,
    *,
    duration_s: float,
    warm_up_s: float,
    users: int = USERS,
    keyed: bool = False,
) -> Throughput:
    """One round of one peer, started anew. Raises WrongAnswer."""
    async with peer(name, backends, users=users) as running:
        return await submit(
            running,
            backends,
            duration_s=duration_s,
            warm_up_s=warm_up_s,
            users=users,
            keyed=keyed,
        )


async def submit(
    running: Running,
    backends: Backends,
    *,
    duration_s: float,
    warm_up_s: float,
    users: int = USERS,
    keyed: bool = False,
    drawn_from: int = 0,
    seed: int = 0,
) -> Throughput:
    """Load a peer that runs: a warm-up whose effect must be there, too, then the round."""
    task = closed_loop.Task(
        port=running.port,
        connections=CONNECTIONS[running.name],
        duration_s=warm_up_s,
        # Caches of tokens are full after two rounds over the users, for whoever has one.
        at_least=0 if running.name == "literal" or drawn_from else 2 * users,
        secret=running.secret.decode(),
        users=users,
        keyed="warm" if keyed else "",
        drawn_from=drawn_from,
        seed=seed,
    )
    stored_before = await stored(running)
    warm = await run_json("closed_loop", task, closed_loop.Answers)
    await _until_applied(running, stored_before.changes + warm.good, warm)
    pids = {"peer": list(running.pids), **{name: [pid] for name, pid in backends.pids.items()}}
    cpu_before = {name: cpu_s(found) for name, found in pids.items()}
    everybody = [pid for found in pids.values() for pid in found]
    written_before = written_bytes(everybody)
    task = msgspec.structs.replace(
        task, duration_s=duration_s, at_least=0, keyed="round" if keyed else "", seed=seed + 1
    )
    answers = await run_json("closed_loop", task, closed_loop.Answers)
    accepted = warm.good + answers.good
    ended_unix = await _until_applied(running, stored_before.changes + accepted, answers)
    used = {name: cpu_s(found) - cpu_before[name] for name, found in pids.items()}
    used["generator"] = answers.cpu_s
    written = written_bytes(everybody)
    await _verify(running, stored_before, accepted)
    elapsed_s = max(answers.elapsed_s, ended_unix - answers.started_unix)
    return Throughput(
        rate=answers.good / elapsed_s,
        accepted=answers.good,
        elapsed_s=elapsed_s,
        cpu_us={
            name: round(1e6 * seconds / max(1, answers.good), 2) for name, seconds in used.items()
        },
        written=None
        if written is None or written_before is None
        else round((written - written_before) / max(1, answers.good), 1),
    )


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer's database holds: changes made so far, rows of its ledger, points of all."""

    changes: int = 0
    rows: int = 0
    points: int = 0


def _keeps_nothing(running: Running) -> bool:
    return running.name == "ceiling"


async def stored(running: Running) -> Stored:
    """Read the whole state; takes a moment when there are millions of rows."""
    if _keeps_nothing(running):
        return Stored()
    async with mysql_connection(running.mysql_url) as connection:
        [(rows,)] = await query(connection, "SELECT COUNT(*) FROM ledger")
        [(points,)] = await query(connection, "SELECT SUM(score) FROM users")
        [(changes,)] = await query(connection, _CHANGES[running.name == "ours"])
    return Stored(changes=int(changes), rows=int(rows), points=int(points))


# Cheap enough to be asked often: the number of changes, of which each adds one point.
_CHANGES = {True: "SELECT seq FROM boards WHERE id = 1", False: "SELECT SUM(score) FROM users"}


async def _until_applied(running: Running, expected: int, answers: closed_loop.Answers) -> float:
    """Wait until as much is applied as was accepted; the Unix time when that was seen."""
    if not answers.clean:
        raise WrongAnswer(f"{running.name}: answers {answers.statuses}, {answers.lost} lost")
    if _keeps_nothing(running):
        return time.time()
    deadline = time.monotonic() + APPLIED_TIMEOUT_S
    async with mysql_connection(running.mysql_url) as connection:
        while True:
            [(changes,)] = await query(connection, _CHANGES[running.name == "ours"])
            now = time.time()
            if changes == expected:
                return now
            if changes > expected or time.monotonic() > deadline:
                raise WrongAnswer(f"{running.name}: {changes} changes, {expected} accepted")
            await asyncio.sleep(0.01)


async def _verify(running: Running, before: Stored, accepted: int) -> None:
    """A row and a point for each accepted submission, and no others."""
    if _keeps_nothing(running):
        return
    after = await stored(running)
    if (after.rows - before.rows, after.points - before.points) != (accepted, accepted):
        raise WrongAnswer(f"{running.name}: {accepted} accepted, {before} before, {after} after")
    if running.name == "ours":
        async with mysql_connection(running.mysql_url) as connection:
            [(count, first, last)] = await query(
                connection,
                f"SELECT COUNT(seq), MIN(seq), MAX(seq) FROM ledger WHERE seq > {before.changes}",
            )
        if (count, first, last) != (accepted, before.changes + 1, after.changes):
            raise WrongAnswer(f"ours: {count} numbers from {first} to {last}")
