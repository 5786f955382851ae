"""`scoreboard chaos --lab` over many seeds, and `scoreboard cluster`: the lab for a person.

A run that has a verdict is kept; the command given again goes on with the seeds that have none.
"""

import asyncio
import logging
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.chaos.report import report_of
from harness.chaos.report import terminal as report_terminal
from harness.chaos.run import Plan
from harness.chaos.system import StackFailed
from harness.lab.count import NAME, LabRun, kept_of, line, markdown, terminal
from harness.lab.network import LabError, entered, labs
from harness.lab.run import run_lab
from harness.lab.schedule import LEAST_S, plan
from harness.lab.system import Lab, lacking, remove
from harness.lab.topology import HOSTS, HTTP_PORT
from harness.net.fault_proxy import Proxy
from harness.report.results_document import keep_section
from scoreboard import tokens
from scoreboard_cli.group import (
    BAD,
    COULD_NOT_TELL,
    GOOD,
    CommandError,
    command,
    exclude,
    refuse,
)
from scoreboard_cli.types import PORT

TOKEN_TTL_S = 24 * 3600


def chaos_lab(
    *,
    seeds: range,
    sizes: dict[str, Any],
    results: Path,
    out: Path | None,
    write: Path | None,
    least_s: float = LEAST_S,
) -> int:
    """Run each seed that has no verdict yet; 0 when all are true."""
    _able()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    kept = results / "lab"
    kept.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in seeds:
        path = kept / f"{seed}.json"
        known = msgspec.json.decode(path.read_bytes(), type=LabRun) if path.exists() else None
        if known is not None and not known.broken and len(seeds) > 1:
            _say(f"{line(known)} (kept)")
            runs.append(known)
            continue
        run = _one(seed, sizes, least_s, out)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
        runs.append(run)
        _say(line(run))
    print(terminal(runs))
    if write is not None:
        _written(runs, write)
    if all(run.good for run in runs):
        return GOOD
    return BAD if any(run.verdict == "false" for run in runs) else COULD_NOT_TELL


def _one(seed: int, sizes: dict[str, Any], least_s: float, out: Path | None) -> LabRun:
    folder = (out or Path(tempfile.mkdtemp(prefix="scoreboard-lab-"))) / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Plan(
        seed=seed, short=False, lab=True, faults=tuple(plan(seed)), least_s=least_s, **sizes
    )
    _say(f"seed {seed}: {len(chosen.faults)} faults")
    try:
        run = run_lab(folder, chosen, _say)
    except (LabError, StackFailed) as error:
        _say(f"{error}\nEverything is in {folder}")
        return LabRun(seed=seed, broken=str(error) or type(error).__name__)
    report = report_of(run)
    kept = kept_of(run, report)
    print(report_terminal(report), flush=True)
    if kept.good and out is None:
        shutil.rmtree(folder.parent, ignore_errors=True)
    else:
        _say(f"Everything is in {folder}")
    return kept


def _written(runs: list[LabRun], page: Path) -> None:
    keep_section(page, NAME, runs, lambda file: markdown(runs, file))
    print(f"{page}: {NAME}; {len(runs)} runs")


def _able() -> None:
    if missing := lacking():
        raise CommandError("\n".join(missing), COULD_NOT_TELL)


@command("cluster")
@click.option("--port", type=PORT, default=3000, help="Port on this machine (3000).")
@click.option("--down", is_flag=True, help="End every lab on this machine, then stop.")
def cluster(port: int, down: bool) -> int:
    """Run a whole deployment on hosts of its own until Ctrl-C, and print what is where.

    A host is a network namespace with an address and, for stores, a disk. Needs root.
    """
    exclude("--down", "--port")
    if down:
        return _down()
    _able()
    import uvloop

    try:
        # Bound on this machine's own network; the proxy behind it connects from the clients' host.
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        refuse(f"port {port}: {error.strerror}")
    folder = Path(tempfile.mkdtemp(prefix="scoreboard-cluster-"))
    lab = Lab(folder)

    async def until_stopped() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        async with lab:
            public = Proxy("public", HOSTS["proxy"], HTTP_PORT)
            await public.start(listening=listening)
            _greet(lab, port)
            await stopping.wait()
            await public.close()

    try:
        lab.build()
        with entered(lab.network.namespace("clients")):
            uvloop.run(until_stopped())
    except (LabError, StackFailed) as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    finally:
        lab.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    return GOOD


def _greet(lab: Lab, port: int) -> None:
    token = tokens.mint(lab.secret.encode(), subject="1", now_s=int(time.time()), ttl_s=TOKEN_TTL_S)
    print("Ready. Hosts, each with a shell by `ip netns exec NAME bash`:\n")
    for host, address in HOSTS.items():
        print(f"  {lab.network.namespace(host):20} {address}")
    print(f"\nTheir logs are in {lab.folder}. The proxy is at http://localhost:{port}:\n")
    print(f"  curl http://localhost:{port}/scores")
    print(f"  curl -N http://localhost:{port}/scores/stream")
    print(f"  curl -X POST http://localhost:{port}/scores/update \\")
    print(f"    -H 'Authorization: Bearer {token}' \\")
    print("    -H 'Content-Type: application/json' -d '{\"userId\":1,\"increment\":10}'")
    print("\nCtrl-C or `make cluster-down` ends everything; nothing is kept.", flush=True)


def _down() -> int:
    found = labs()
    for prefix in found:
        remove(prefix)
    print(f"Ended: {', '.join(found)}." if found else "Nothing is running.")
    return GOOD


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
