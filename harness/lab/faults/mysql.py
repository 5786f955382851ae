"""Faults of MySQL's pair: promotions, a switch-over, a restored backup.

What a primary lost is read from it while nobody else can reach it, and noted in `Lab.losses`: the
checker then knows each lost change by name. `replay` follows, as the runbooks ask.
"""

import asyncio
import contextlib
import shutil
import time

from harness.chaos.faults import Heal, Injected
from harness.chaos.lost_changes import loss_of, replay
from harness.lab.disks import settled
from harness.lab.mysql import until
from harness.lab.network import LabError
from harness.lab.system import Lab


async def lossy_promotion(lab: Lab, outcome: Injected) -> Heal:
    """The replica stops applying; then the primary dies and the replica takes its place."""
    mysql = lab.mysql
    old, new = mysql.primary, mysql.replica
    await mysql.sql(old, "SET GLOBAL rpl_semi_sync_master_enabled = 0")
    await mysql.sql(new, "STOP SLAVE")
    kept = await mysql.board_seq(new)

    async def heal() -> None:
        with contextlib.suppress(LabError):
            await until(lambda: ahead(lab, old, kept), timeout_s=5, what="a change to lose")
        await lab.machines.kill(old)
        await mysql.promote(new)
        what = f"{old} killed, {new} promoted"
        said, lost = await _lost(lab, old, kept, what)
        outcome.proof = said if lost else None

    return heal


async def ahead(lab: Lab, server: str, seq: int) -> None:
    if await lab.mysql.board_seq(server) <= seq + 1:
        raise LabError("nothing yet")


async def _lost(
    lab: Lab, old: str, kept: int, what: str, *, since_s: float = 0.0
) -> tuple[str, int]:
    """Ask the old primary, off the network, what it alone had; rebuild it; replay. What happened,
    and how many changes it had."""
    lab.network.plug(old, up=False)
    try:
        await lab.mysql.started(old)
        rows = await lab.mysql.rows_after(old, kept)
    finally:
        await lab.machines.kill(old)
        lab.network.plug(old, up=True)
    if rows:
        lab.losses.append(loss_of(kept, rows))
    await lab.mysql.rebuild(old)
    if not rows:
        return f"{what}; no change lost", 0
    back = await replay(lab.run, lost_s=since_s or time.time())
    said = f"{what}; {len(rows)} changes after {kept} lost; replay brought back {back}"
    return said, len(rows)


async def lossy_if_any(lab: Lab, outcome: Injected) -> Heal:
    """The primary dies; the replica, which acknowledged each commit, applies all it has and takes
    its place."""
    mysql = lab.mysql
    old, new = mysql.primary, mysql.replica
    [row] = await mysql.sql(old, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_status'")
    status = row["Value"]
    before = lab.pid(old)
    await lab.machines.kill(old)

    async def heal() -> None:
        [state] = await mysql.sql(new, "SHOW SLAVE STATUS")
        await mysql.sql(new, f"SELECT MASTER_GTID_WAIT('{state['Gtid_IO_Pos']}', 30)")
        await mysql.sql(new, "STOP SLAVE")
        kept = await mysql.board_seq(new)
        await mysql.promote(new)
        what = f"{old} (pid {before}) killed, {new} promoted; semi-synchronous: {status}"
        outcome.proof, _ = await _lost(lab, old, kept, what)

    return heal


async def switch_over(lab: Lab, outcome: Injected) -> Heal:
    """The primary becomes read-only, the replica takes its place, nothing is cut."""
    mysql = lab.mysql
    old, new = mysql.primary, mysql.replica
    await mysql.sql(old, "SET GLOBAL read_only = 1")
    await mysql.caught_up()
    await mysql.promote(new, cut_sessions=False)
    left = await _sessions(lab, old)

    async def heal() -> None:
        outcome.proof = (
            f"{new} promoted, {old} (pid {lab.pid(old)}) alive with {left} sessions, "
            f"{await _sessions(lab, old)} in the end"
        )
        await mysql.follow(old, new)

    return heal


async def _sessions(lab: Lab, server: str) -> int:
    [row] = await lab.mysql.sql(
        server,
        "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'scoreboard'",
    )
    return int(row["n"])


async def replication_stopped(lab: Lab, outcome: Injected) -> Heal:
    """The replica applies nothing for a while."""
    mysql = lab.mysql
    await mysql.sql(mysql.replica, "STOP SLAVE")
    kept = await mysql.board_seq(mysql.replica)

    async def heal() -> None:
        behind = await mysql.board_seq(mysql.primary) - kept
        if behind:
            outcome.proof = f"{mysql.replica} was {behind} changes behind"
        await mysql.sql(mysql.replica, "START SLAVE")
        await mysql.caught_up()

    return heal


async def backup_restored(lab: Lab, outcome: Injected) -> Heal:
    """A copy of the replica's data is taken; later both servers are lost and the copy is all."""
    mysql = lab.mysql
    old, new = mysql.primary, mysql.replica
    backup = lab.folder / "backup"
    await lab.machines.stop(new)
    shutil.rmtree(backup, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, lab.site.store(new) / "data", backup)
    taken_s = time.time()
    await mysql.started(new)
    await mysql.sql(new, "START SLAVE")

    async def heal() -> None:
        await lab.machines.kill(old)
        await lab.machines.kill(new)
        data = lab.site.store(new) / "data"
        shutil.rmtree(data)
        await asyncio.to_thread(shutil.copytree, backup, data)
        await asyncio.to_thread(settled, data)
        shutil.rmtree(backup)
        await mysql.started(new)
        kept = await mysql.board_seq(new)
        await mysql.promote(new)
        what = f"{new} restored from a copy {time.time() - taken_s:.0f} s old"
        said, lost = await _lost(lab, old, kept, what, since_s=taken_s)
        outcome.proof = said if lost else None

    return heal
