"""`scoreboard chaos --lab` over many seeds, and `scoreboard cluster`: the lab for a person.

A run that has a verdict is kept; the command given again goes on with the seeds that have none.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.chaos.report import commit, report_of
from harness.chaos.report import terminal as report_terminal
from harness.chaos.run import Plan
from harness.chaos.schedule import Planned
from harness.chaos.system import StackFailed
from harness.checker import Verdict
from harness.lab.count import NAME, LabRun, after, kept_of, kept_runs, line, markdown, terminal
from harness.lab.network import LabError, entered, labs
from harness.lab.run import run_lab
from harness.lab.schedule import LEAST_S, plan
from harness.lab.system import Lab, end, lacking
from harness.lab.topology import HOSTS, HTTP_PORT
from harness.net.fault_proxy import Proxy
from harness.report.results_document import KEPT, keep_section
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
KINDS_LEAST_S = 25.0
"""Load of a run with chosen kinds: enough for a verdict."""


def chaos_lab(
    *,
    seeds: range,
    sizes: dict[str, Any],
    results: Path,
    out: Path | None,
    write: Path | None,
    minutes: float | None = None,
) -> int:
    """Run each seed that has no verdict yet; 0 when all are true.

    After `minutes` no run is begun that would take longer than the longest before it. One seed by
    itself runs always.
    """
    _able()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = results / NAME
    folder.mkdir(parents=True, exist_ok=True)
    page_file = [write.parent / KEPT / f"{NAME}.json"] if write is not None else []
    runs = kept_runs(*page_file, folder)
    at = commit()

    def keep() -> None:
        if write is not None:
            ordered = [runs[n] for n in sorted(runs)]
            keep_section(write, NAME, ordered, partial(markdown, ordered))

    began, longest_s = time.monotonic(), 0.0
    for seed in seeds:
        known = runs.get(seed)
        if known is not None and known.settled and len(seeds) > 1:
            _say(f"{line(known)} (kept)")
            continue
        run_began = time.monotonic()
        if minutes is not None and run_began - began + longest_s > minutes * 60:
            break
        run = after(_one(seed, sizes, plan(seed), out, least_s=LEAST_S, at=at), known)
        longest_s = max(longest_s, time.monotonic() - run_began)
        (folder / f"{seed}.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)))
        runs[seed] = run
        _say(line(run))
        keep()
    asked = [runs[seed] for seed in seeds if seed in runs]
    print(terminal(asked))
    # Also when all were kept: a run without --write may have come since.
    keep()
    if write is not None:
        print(f"{write}: {NAME}; {len(runs)} runs")
    if missing := [seed for seed in seeds if seed not in runs or not runs[seed].settled]:
        print(f"No verdict yet for {len(missing)} of {len(seeds)} seeds; run the command again.")
    if any(run.verdict == Verdict.FALSE.value for run in asked):
        return BAD
    return COULD_NOT_TELL if missing else GOOD


def chaos_kinds(*, kinds: Sequence[str], seed: int, sizes: dict[str, Any], out: Path | None) -> int:
    """One run with a fault of each kind given; kept nowhere."""
    _able()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    run = _one(seed, sizes, plan(seed, kinds=kinds), out, least_s=KINDS_LEAST_S, at=commit())
    _say(line(run))
    if run.good:
        return GOOD
    return BAD if run.verdict == Verdict.FALSE.value else COULD_NOT_TELL


def _one(
    seed: int,
    sizes: dict[str, Any],
    faults: list[Planned],
    out: Path | None,
    *,
    least_s: float,
    at: str,
) -> LabRun:
    folder = (out or Path(tempfile.mkdtemp(prefix="scoreboard-lab-"))) / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Plan(seed=seed, short=False, lab=True, faults=tuple(faults), least_s=least_s, **sizes)
    _say(f"seed {seed}: {len(chosen.faults)} faults")
    try:
        run = run_lab(folder, chosen, _say)
    except Exception as error:
        # Whatever the lab itself failed at must not end a count that takes an hour.
        if not isinstance(error, (LabError, StackFailed)):
            traceback.print_exc()
        reason = str(error) or type(error).__name__
        _say(f"{reason}\nEverything is in {folder}")
        return LabRun(seed=seed, commit=at, broken=reason)
    report = report_of(run)
    kept = kept_of(run, report, at)
    print(report_terminal(report), flush=True)
    if kept.good and out is None:
        shutil.rmtree(folder.parent, ignore_errors=True)
    else:
        _say(f"Everything is in {folder}")
    return kept


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

    async def serve() -> None:
        async with lab:
            public = Proxy("public", HOSTS["proxy"], HTTP_PORT)
            await public.start(listening=listening)
            _greet(lab, port)
            try:
                await asyncio.Event().wait()
            finally:
                await public.close()

    async def until_stopped() -> None:
        serving = asyncio.create_task(serve())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    # As Ctrl-C, also before the loop runs.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        lab.build()
        with entered(lab.network.namespace("clients")):
            uvloop.run(until_stopped())
    except KeyboardInterrupt:
        pass
    except (LabError, StackFailed) as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    finally:
        # A second Ctrl-C must not leave half a lab.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
        end(prefix)
    print(f"Ended: {', '.join(found)}." if found else "Nothing is running.")
    return GOOD


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
