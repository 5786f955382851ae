"""Faults of Redis' pair and of the Sentinels that watch it."""

import shutil
from typing import Any

import redis

from harness.chaos.faults import Heal, Injected
from harness.lab.machines import wait_for
from harness.lab.mysql import until
from harness.lab.network import LabError
from harness.lab.system import Lab
from harness.lab.topology import (
    MASTER_NAME,
    REDISES,
    SENTINEL_PORT,
    SENTINELS,
)
from scoreboard import contract


def _other(host: str) -> str:
    return REDISES[1 - REDISES.index(host)]


def _role(lab: Lab, host: str) -> list[Any]:
    """What a server says of its part; empty while it does not answer."""
    try:
        return list(lab.told(host, "ROLE"))
    except redis.RedisError:
        return []


def _cursor(lab: Lab, host: str) -> int:
    return int(lab.told(host, "HGET", contract.META_KEY, "seq") or 0)


async def _promoted(lab: Lab, old: str) -> None:
    new = _other(old)

    def done() -> bool:
        return lab.redis_master_host() == new and _role(lab, new)[:1] == [b"master"]

    await wait_for(done, timeout_s=30, what="the Sentinels' fail-over")


async def _replicating(lab: Lab) -> None:
    """Wait until the other Redis follows the master."""
    master = lab.redis_master_host()
    other = _other(master)

    def done() -> bool:
        role = _role(lab, other)
        return role[:1] == [b"slave"] and role[3] == b"connected"

    await wait_for(done, timeout_s=40, what=f"{other} to follow {master}")


async def sentinel_fail_over(lab: Lab, outcome: Injected) -> Heal:
    """An operator asks a Sentinel to make the replica the master."""
    old = lab.redis_master_host()
    await _replicating(lab)

    async def ask() -> None:
        try:
            lab.told("proxy", "SENTINEL", "FAILOVER", MASTER_NAME, port=SENTINEL_PORT)
        except redis.RedisError as error:
            raise LabError(str(error)) from error

    await until(ask, timeout_s=15, what="SENTINEL FAILOVER")
    await _promoted(lab, old)
    outcome.proof = f"the Sentinels name {lab.redis_master_host()} in place of {old}"

    async def heal() -> None:
        await _replicating(lab)

    return heal


async def redis_lossy(lab: Lab, outcome: Injected) -> Heal:
    """The replica is cut off from the master; then the master dies and the replica is promoted."""
    old = lab.redis_master_host()
    new = _other(old)
    await _replicating(lab)
    lab.network.drop(new, old)
    lab.network.drop(old, new)

    async def heal() -> None:
        try:
            behind = _cursor(lab, old) - _cursor(lab, new)
            await lab.machines.kill(old)
            await _promoted(lab, old)
        finally:
            lab.network.undrop(new, old)
            lab.network.undrop(old, new)
            lab.machines.start(old)
        if behind:
            outcome.proof = f"{old} killed, {new} promoted without the last {behind} changes"
        await _replicating(lab)

    return heal


async def redis_empty(lab: Lab, outcome: Injected) -> Heal:
    """Both lose their data."""
    await _replicating(lab)
    master = lab.redis_master_host()
    lab.told(master, "SET", "canary", "kept")
    for host in REDISES:
        await lab.machines.kill(host)
        for path in lab.site.store(host).glob("appendonlydir*"):
            shutil.rmtree(path)

    async def heal() -> None:
        for host in (master, *REDISES):
            lab.machines.start(host)
        await _replicating(lab)
        if lab.told(lab.redis_master_host(), "GET", "canary") is None:
            outcome.proof = "a key of their predecessors is gone from both"

    return heal


async def no_quorum(lab: Lab, outcome: Injected) -> Heal:
    """Two Sentinels die, then the master: nobody can promote the replica."""
    spared = outcome.planned.target
    gone = [name for name in SENTINELS if name != spared]
    master = lab.redis_master_host()
    pids = {name: lab.pid(name) for name in (*gone, master)}
    for name in pids:
        await lab.machines.kill(name)

    async def heal() -> None:
        for name in pids:
            lab.machines.start(name)
        await _replicating(lab)
        outcome.proof = f"killed: {', '.join(f'{name} (pid {pid})' for name, pid in pids.items())}"

    return heal
