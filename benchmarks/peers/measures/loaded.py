"""Answers and deliveries while submissions come at a steady rate, in an open loop.

Every run is verified: each accepted submission is in the ledger, every listener
has every change in order and nothing twice, and the generator itself was on time.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.peers import open_loop
from benchmarks.peers.backends import Backends, mysql_connection, query
from benchmarks.peers.cpu import cpu_s, rss_bytes
from benchmarks.peers.measures.submissions import APPLIED_TIMEOUT_S, WrongAnswer
from benchmarks.peers.processes import conversation, run_json
from benchmarks.peers.programs import USERS, Running, peer


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """One round. Times in ms; `to_last` is from the intended send to the last listener."""

    rate: float
    changes_per_s: float
    answer_p50_ms: float
    answer_p99_ms: float
    late_p99_ms: float
    to_last_p50_ms: float | None
    to_last_p99_ms: float | None
    lag_p99_ms: float | None
    server_cores: float
    kib_per_listener: float


async def measure(
    backends: Backends,
    *,
    rate: float,
    duration_s: float,
    warm_up_s: float,
    listeners: int,
    seed: int,
    changing: int = 1,
    users: int = USERS,
) -> Loaded:
    """One round of ours, started anew. Raises WrongAnswer."""
    async with peer("ours", backends, users=users) as running:
        rss_before = rss_bytes(running.pids)
        arguments = ("watch_listeners", str(running.port), str(listeners))
        async with conversation(*arguments) as swarm:
            await swarm.heard()
            kib = (rss_bytes(running.pids) - rss_before) / 1024 / listeners
            times = backends.folder / "submitted.times"
            task = open_loop.Task(
                port=running.port,
                secret=running.secret.decode(),
                users=users,
                rate=rate,
                duration_s=duration_s,
                warm_up_s=warm_up_s,
                seed=seed,
                changing=changing,
                times=str(times),
            )
            submitting = asyncio.create_task(run_json("open_loop", task, open_loop.Outcome))
            # The generator's start is no load.
            await asyncio.sleep(1.5 + warm_up_s)
            began, cpu_before = time.monotonic(), cpu_s(running.pids)
            await asyncio.sleep(max(0.5, duration_s - 1))
            cores = (cpu_s(running.pids) - cpu_before) / (time.monotonic() - began)
            outcome = await submitting
            seqs = await _recorded(running, outcome)
            last_seq = max((seq for seq in seqs.values() if seq is not None), default=0)
            verdict = await swarm.ask(f"until {last_seq}")
            _complete(verdict["account"], listeners)
            reached = backends.folder / "reached.times"
            await swarm.ask(f"times {reached}")
    to_last_ms = _to_last_ms(times, reached, seqs)
    return Loaded(
        rate=rate,
        changes_per_s=last_seq / (duration_s + warm_up_s),
        answer_p50_ms=outcome.p50_ms,
        answer_p99_ms=outcome.p99_ms,
        late_p99_ms=outcome.late_p99_ms,
        to_last_p50_ms=_quantile(to_last_ms, 0.5),
        to_last_p99_ms=_quantile(to_last_ms, 0.99),
        lag_p99_ms=verdict["lag_p99_ms"],
        server_cores=cores,
        kib_per_listener=kib,
    )


async def _recorded(running: Running, outcome: open_loop.Outcome) -> dict[bytes, int | None]:
    """The seq of each submission in the ledger, once all accepted ones are there."""
    if not outcome.clean:
        raise WrongAnswer(f"not every arrival was accepted: {outcome}")
    deadline = time.monotonic() + APPLIED_TIMEOUT_S
    async with mysql_connection(running.mysql_url) as connection:
        while True:
            rows = await query(connection, "SELECT submission_id, seq FROM ledger")
            if len(rows) == outcome.accepted:
                break
            if len(rows) > outcome.accepted or time.monotonic() > deadline:
                raise WrongAnswer(f"{len(rows)} in the ledger, {outcome.accepted} accepted")
            await asyncio.sleep(0.2)
    seqs = sorted(seq for _, seq in rows if seq is not None)
    if seqs != list(range(1, len(seqs) + 1)):
        raise WrongAnswer("the ledger's sequence has gaps")
    return {bytes(name): seq for name, seq in rows}


def _complete(account: Mapping[str, Any], listeners: int) -> None:
    wrong = {
        name: account[name]
        for name in ("behind", "missing", "gaps", "duplicates", "reorders", "resets", "broken")
        if account[name]
    }
    if wrong or account["streaming"] != listeners:
        raise WrongAnswer(f"{account['streaming']} of {listeners} listeners, {wrong}")


def _to_last_ms(
    submitted: Path, reached: Path, seqs: Mapping[bytes, int | None]
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """From each submission's intended send to the last listener that got its change."""
    data = reached.read_bytes()
    base = int.from_bytes(data[:8], "little", signed=True)
    last_us = np.frombuffer(data, dtype=np.int64, offset=8)
    records = submitted.read_bytes()
    times = []
    for at in range(0, len(records), 24):
        seq = seqs[records[at : at + 16]]
        if seq is not None:
            due_us = int.from_bytes(records[at + 16 : at + 24], "little")
            times.append((int(last_us[seq - base]) - due_us) / 1000)
    return np.array(times, dtype=np.float64)


def _quantile(values: "np.ndarray[Any, np.dtype[np.float64]]", share: float) -> float | None:
    return float(np.quantile(values, share)) if values.size else None
