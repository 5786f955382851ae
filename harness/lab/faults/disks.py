"""Faults of a store's disk: no room, no power."""

import asyncio
import contextlib

import pymysql

from harness.chaos.faults import Heal, Injected
from harness.lab.faults.mysql import ahead
from harness.lab.mysql import until
from harness.lab.network import LabError
from harness.lab.system import Lab


async def full_disk(lab: Lab, outcome: Injected) -> Heal:
    """No room is left on a store's disk."""
    store = outcome.planned.target
    disk = lab.disks[store]
    taken = disk.fill()
    full = False
    try:
        (disk.mount / "probe").write_bytes(bytes(65536))
    except OSError:
        full = True
    finally:
        with contextlib.suppress(OSError):
            (disk.mount / "probe").unlink()

    async def heal() -> None:
        disk.free()
        if full:
            outcome.proof = f"{taken >> 20} MB filled, a write of 64 kB found no room"
        if store.startswith("mysql"):
            await _commits_again(lab, store)
        await lab.until_up()

    return heal


async def _commits_again(lab: Lab, store: str) -> None:
    """MariaDB looks for room only once a minute; who waits longer is started again, as the runbook
    says."""
    try:
        async with asyncio.timeout(3):
            if store == lab.mysql.primary:
                before = await lab.mysql.board_seq(store)
                await until(lambda: ahead(lab, store, before), timeout_s=3, what=store)
            else:
                await lab.mysql.caught_up(timeout_s=2.5)
    except (TimeoutError, LabError, pymysql.err.Error):
        await lab.machines.kill(store)
        await lab.mysql.started(store)


async def power_loss(lab: Lab, outcome: Injected) -> Heal:
    """A store's host loses its power: what was not synced is gone."""
    store = outcome.planned.target
    before = lab.pid(store)
    await lab.machines.kill(store)
    gone = await asyncio.to_thread(lab.disks[store].cut_power)

    async def heal() -> None:
        lab.machines.start(store)
        await lab.until_up()
        outcome.proof = f"pid {before} killed, {gone} unsynced blocks of 4 KiB gone"

    return heal
