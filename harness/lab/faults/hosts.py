"""Faults of hosts, cables and releases."""

import asyncio
import subprocess
from pathlib import Path

from harness.chaos.faults import Heal, Injected
from harness.lab import schedule
from harness.lab.network import LabError, run
from harness.lab.schedule import DUPLICATE, PACKET_LOSS, REORDER, SLOW
from harness.lab.system import ROOT, Lab
from harness.lab.topology import APIS, PROCESSES, SENTINELS, WORKERS, host_of

CABLES = {
    # Delay and jitter in ms, share lost, share sent twice.
    SLOW: (25, 10, 0.0, 0.0),
    PACKET_LOSS: (0, 0, 0.03, 0.0),
    REORDER: (1, 8, 0.0, 0.0),
    DUPLICATE: (0, 1, 0.0, 0.1),
}
RELEASES_BACK = 60


def resolved(lab: Lab, host: str) -> str:
    """A host by its name or by its part in a pair."""
    match host:
        case schedule.REDIS_MASTER:
            return lab.redis_master_host()
        case schedule.MYSQL_PRIMARY:
            return lab.mysql.primary
    return host


async def split(lab: Lab, outcome: Injected) -> Heal:
    """Two hosts hear nothing of each other."""
    return await _dropped(lab, outcome, both=True)


async def one_way(lab: Lab, outcome: Injected) -> Heal:
    """One of two hosts hears nothing of the other."""
    return await _dropped(lab, outcome, both=False)


async def _dropped(lab: Lab, outcome: Injected, *, both: bool) -> Heal:
    a, b = (resolved(lab, host) for host in outcome.planned.target.split("/"))
    ways = [(a, b), (b, a)] if both else [(a, b)]
    for receiver, sender in ways:
        lab.network.drop(receiver, sender)

    async def heal() -> None:
        lost = sum(lab.network.undrop(receiver, sender) for receiver, sender in ways)
        if lost:
            outcome.proof = f"{lost} packets between {a} and {b} dropped"
        await lab.until_up()

    return heal


async def unplugged(lab: Lab, outcome: Injected) -> Heal:
    """A host's cable is out, and its processes run on."""
    host = outcome.planned.target
    lab.network.plug(host, up=False)
    shown = run("ip", "-n", lab.network.namespace(host), "link", "show", "eth0")
    if "NO-CARRIER" in shown or "LOWERLAYERDOWN" in shown:
        outcome.proof = f"{host} had no carrier"

    async def heal() -> None:
        lab.network.plug(host, up=True)
        await lab.until_up()

    return heal


async def bad_cable(lab: Lab, outcome: Injected) -> Heal:
    """A host's cable delays, loses, overtakes or repeats packets."""
    host = outcome.planned.target
    process = await asyncio.create_subprocess_exec(
        *(lab.site.python, "-m", "harness.lab.cable", lab.network.prefix, host),
        *map(str, CABLES[outcome.planned.kind]),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()

    async def heal() -> None:
        process.terminate()
        out, _ = await process.communicate()
        counts = dict(word.split("=") for word in out.decode().split() if "=" in word)
        needed = {PACKET_LOSS: "lost", REORDER: "overtaken", DUPLICATE: "duplicated"}
        if int(counts.get(needed.get(outcome.planned.kind, "frames"), 0)):
            outcome.proof = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
        await lab.until_up()

    return heal


async def reboot(lab: Lab, outcome: Injected) -> Heal:
    """A host loses its power and starts again: all its processes, and what was not synced."""
    host = outcome.planned.target
    there = [name for name in PROCESSES if host_of(name) == host]
    pids = [lab.pid(name) for name in there]
    lab.network.plug(host, up=False)
    for name in there:
        await lab.machines.kill(name)
    if host in lab.disks:
        await asyncio.to_thread(lab.disks[host].cut_power)

    async def heal() -> None:
        lab.network.plug(host, up=True)
        for name in there:
            lab.machines.start(name)
        await lab.until_up()
        outcome.proof = f"pids {', '.join(map(str, pids))} gone, {len(there)} processes again"

    return heal


async def restarted(lab: Lab, name: str) -> None:
    """Stop a process, start it, and wait until all is up."""
    await lab.machines.stop(name)
    lab.machines.start(name)
    await lab.until_up()


async def rolling(lab: Lab, outcome: Injected) -> Heal:
    """Every process is stopped and started again, one after another."""
    before = {name: lab.pid(name) for name in PROCESSES}
    order = (*SENTINELS, *WORKERS, *APIS, "proxy", *(n for n in PROCESSES if n in lab.disks))
    for name in order:
        await restarted(lab, name)
    same = [name for name in PROCESSES if lab.pid(name) == before[name]]
    if not same:
        outcome.proof = f"{len(order)} processes have other pids"

    async def heal() -> None:
        await lab.until_up()

    return heal


async def drain(lab: Lab, outcome: Injected) -> Heal:
    """The proxy sends an API host no more work; its streams stay."""
    host = outcome.planned.target
    for backend in ("requests", "streams"):
        lab.mysql.order(f"set server {backend}/{host} state drain")
    shown = lab.mysql.order("show servers state requests")

    async def heal() -> None:
        [line] = [text.split() for text in shown.splitlines() if f" {host} " in text]
        if int(line[6]) & 0x08:
            outcome.proof = f"HAProxy has {host} in drain"
        for backend in ("requests", "streams"):
            lab.mysql.order(f"set server {backend}/{host} state ready")
        await lab.until_up()

    return heal


async def proxy_restart(lab: Lab, outcome: Injected) -> Heal:
    """The proxy ends with all connections through it, and starts again."""
    before = lab.pid("proxy")
    await lab.machines.stop("proxy")

    async def heal() -> None:
        lab.machines.start("proxy")
        await lab.until_up()
        outcome.proof = f"pid {before} stopped, {lab.pid('proxy')} in its place"

    return heal


async def rolled_back(lab: Lab, outcome: Injected) -> Heal:
    """API hosts and workers run an older release for a while, one after another."""
    tree = lab.folder / "release"
    commit = await asyncio.to_thread(_unpacked, tree)
    for name in (*WORKERS, *APIS):
        lab.trees[name] = tree
        await restarted(lab, name)
    there = {Path(f"/proc/{lab.pid(name)}/cwd").readlink() for name in (*WORKERS, *APIS)}
    if there == {tree}:
        outcome.proof = f"all ran commit {commit[:12]}"

    async def heal() -> None:
        for name in (*WORKERS, *APIS):
            lab.trees.pop(name)
            await restarted(lab, name)

    return heal


def _unpacked(tree: Path) -> str:
    """The older release in a folder; its commit."""
    commit = older_release()
    if not tree.exists():
        tree.mkdir()
        command = ["git", "-C", str(ROOT), "archive", commit]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    return commit


def older_release() -> str:
    """The oldest of the last commits that has our schema. Raises LabError without a history."""
    git = ["git", "-C", str(ROOT)]
    listed = run(*git, "log", f"-{RELEASES_BACK}", "--first-parent", "--format=%H").split()
    for commit in reversed(listed):
        same = subprocess.run(
            [*git, "diff", "--quiet", commit, "HEAD", "--", "worker/migrations"], check=False
        )
        if same.returncode == 0:
            return commit
    raise LabError("no older commit has this schema")
