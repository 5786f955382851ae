"""Injects one planned fault into a running system, heals it, and proves that it took hold.

The proof is an observation of the fault itself (another pid, a process in state T, connections
cut, a failpoint's own record), never of its consequences.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import redis.asyncio

from harness.chaos import schedule
from harness.chaos.lost_changes import loss_of, replay, take_back
from harness.chaos.schedule import Planned
from harness.chaos.system import UnderTest
from harness.net.fault_proxy import Mode

BACK_TIMEOUT_S = 60.0
TRAFFIC_WAIT_S = 1.0
"""How long an armed proxy waits for traffic before it resets idle connections to provoke some."""
QUIET_WAIT_S = 30.0
FAILPOINT_WAIT_S = 10.0


@dataclass
class Injected:
    """A fault in force. ``proof`` is filled in at the latest when it has healed."""

    planned: Planned
    proof: str | None = None


S = TypeVar("S", bound=UnderTest)
Heal = Callable[[], Awaitable[None]]
Apply: TypeAlias = Callable[[S, Injected], Awaitable[Heal]]
"""Lets a fault strike; returns what heals it."""


@asynccontextmanager
async def injected(
    system: S, fault: Planned, own: Mapping[str, Apply[S]] | None = None
) -> AsyncIterator[Injected]:
    """The fault holds inside the context; leaving it heals. Proof is complete after it.

    `own` are kinds of fault that only this kind of system has.
    """
    outcome = Injected(fault)
    apply: Apply[S] = (own or {}).get(fault.kind) or _BY_KIND.get(fault.kind, _proxied)
    heal = await apply(system, outcome)
    try:
        yield outcome
    finally:
        await heal()


async def _kill(system: UnderTest, outcome: Injected) -> Heal:
    process = outcome.planned.target
    before = system.pid(process)
    await system.ask({"op": "kill", "process": process})

    async def heal() -> None:
        await _until(lambda: system.pid(process) not in (None, before))
        await system.until_up(timeout_s=BACK_TIMEOUT_S)
        outcome.proof = f"pid {before} killed, {system.pid(process)} in its place"

    return heal


async def _restart(system: UnderTest, outcome: Injected) -> Heal:
    process = outcome.planned.target
    before = system.pid(process)
    await system.ask({"op": "stop", "process": process})

    async def heal() -> None:
        await system.ask({"op": "start", "process": process}, timeout_s=BACK_TIMEOUT_S)
        await system.until_up(timeout_s=BACK_TIMEOUT_S)
        after = system.pid(process)
        if None not in (before, after) and before != after:
            outcome.proof = f"pid {before} stopped, {after} in its place"

    return heal


async def _pause(system: UnderTest, outcome: Injected) -> Heal:
    process = outcome.planned.target
    pid = system.pid(process)
    if pid is None:
        raise RuntimeError(f"{process} does not run")
    os.killpg(pid, signal.SIGSTOP)
    await _until(lambda: _process_state(pid) == "T")
    outcome.proof = f"pid {pid} was in state T"

    async def heal() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)
        await system.until_up(timeout_s=BACK_TIMEOUT_S)

    return heal


async def _flush(system: UnderTest, outcome: Injected) -> Heal:
    async with _redis(system) as client, client.pipeline(transaction=True) as pipe:
        pipe.dbsize()
        pipe.flushall()
        pipe.dbsize()
        before, _, after = await pipe.execute()
    if before and not after:
        outcome.proof = f"{before} keys before, {after} after"

    async def heal() -> None:
        pass  # It is over the moment it is done; what follows is recovery.

    return heal


async def _empty(system: UnderTest, outcome: Injected) -> Heal:
    canary = f"canary:{secrets.token_hex(8)}"
    async with _redis(system) as client:
        await client.set(canary, "kept")
    await system.ask({"op": "stop", "process": "redis"})

    async def heal() -> None:
        await system.ask({"op": "start", "process": "redis", "wipe": True})
        async with _redis(system) as client:
            kept = await client.get(canary)
        if kept is None:
            outcome.proof = f"pid {system.pid('redis')} has forgotten a key of its predecessor"
        await system.until_up(timeout_s=BACK_TIMEOUT_S)

    return heal


@asynccontextmanager
async def _redis(system: UnderTest) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.Redis.from_url(system.redis_url)
    try:
        yield client
    finally:
        await client.aclose()


async def _failpoint(system: UnderTest, outcome: Injected) -> Heal:
    name, action = outcome.planned.action.split()
    fired = system.failpoints.with_name(system.failpoints.name + ".fired")
    before = _count(fired, name)
    system.failpoints.write_text(f"{name} 1 {action}\n", "utf-8")
    with contextlib.suppress(TimeoutError):
        await _until(lambda: _count(fired, name) > before, timeout_s=FAILPOINT_WAIT_S)
        outcome.proof = f"{name} tripped ({action})"

    async def heal() -> None:
        system.failpoints.write_text("", "utf-8")
        await system.until_up(timeout_s=BACK_TIMEOUT_S)

    return heal


async def _proxied(system: UnderTest, outcome: Injected) -> Heal:
    fault = outcome.planned
    proxy = system.proxies[fault.target]
    proof = await proxy.arm(
        Mode(fault.kind), connections=fault.connections, latency_s=fault.latency_s
    )
    with contextlib.suppress(TimeoutError):
        await _until(lambda: proof.fired, timeout_s=TRAFFIC_WAIT_S)
    if not proof.fired:
        # A quiet edge, such as a long poll: reset it, so that clients reconnect into the fault.
        # A client that was disconnected just before may be in its back-off.
        proxy.cut()
        with contextlib.suppress(TimeoutError):
            await _until(lambda: proof.fired, timeout_s=QUIET_WAIT_S)

    async def heal() -> None:
        await proxy.heal()
        outcome.proof = str(proof) if proof.fired else None

    return heal


async def _lose(system: UnderTest, outcome: Injected) -> Heal:
    lost_s = time.time()
    kept, rows = await asyncio.to_thread(take_back, system.mysql_url(), outcome.planned.changes)
    if rows:
        system.losses.append(loss_of(kept, rows))

    async def heal() -> None:
        back = await replay(system.run, lost_s=lost_s)
        if rows:
            outcome.proof = (
                f"{len(rows)} changes after {kept} gone; replay brought {back} submissions back"
            )

    return heal


_BY_KIND = {
    schedule.KILL: _kill,
    schedule.RESTART: _restart,
    schedule.PAUSE: _pause,
    schedule.FLUSH: _flush,
    schedule.EMPTY: _empty,
    schedule.FAILPOINT: _failpoint,
    schedule.LOSE: _lose,
}


async def _until(check: Callable[[], bool], *, timeout_s: float = BACK_TIMEOUT_S) -> None:
    # The condition changes in other processes and on disk, so there is no event to wait for.
    async with asyncio.timeout(timeout_s):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _count(fired: Path, name: str) -> int:
    try:
        return sum(line.startswith(f"{name} ") for line in fired.read_text("utf-8").splitlines())
    except FileNotFoundError:
        return 0
