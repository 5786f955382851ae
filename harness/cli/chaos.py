"""`python -m harness chaos`: faults on a stack of its own, and a verdict.

Leaves its report as JSON and as a page in the results folder. What the run itself wrote
(history, the stack's data and logs) is kept when the verdict is not good, or when asked.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.chaos.page import html_page
from harness.chaos.report import report_of, terminal
from harness.chaos.run import Plan, run_chaos
from harness.chaos.schedule import duration_s, plan
from harness.chaos.system import StackFailed
from harness.report.result_files import write_result_file


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    chaos = subparsers.add_parser("chaos", help="break a running stack on a schedule, and judge it")
    chaos.add_argument("--seed", type=int, default=1, help="decides the whole schedule")
    chaos.add_argument("--short", action="store_true", help="a minute or two, one of each kind")
    chaos.add_argument("--out", type=Path, help="folder to keep everything in (default: temporary)")
    chaos.add_argument("--results", type=Path, default=Path("results"), help="folder for reports")
    chaos.add_argument("--rate", type=float, help="submissions per second while all is well")
    chaos.add_argument("--listeners", type=int, help="event streams held open")
    chaos.add_argument("--plan-only", action="store_true", help="print the schedule and stop")
    chaos.set_defaults(run=_chaos)


def _chaos(arguments: argparse.Namespace) -> int:
    faults = plan(arguments.seed, short=arguments.short)
    if arguments.plan_only:
        for fault in faults:
            print(f"{fault.at_s:7.1f} s  {fault.label} on {fault.target}, {fault.hold_s:g} s")
        return 0
    import uvloop

    # A stopped backend makes asyncio report every cut stream; the history has them all.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    kept = arguments.out
    folder = kept or Path(tempfile.mkdtemp(prefix="scoreboard-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{len(faults)} faults over at least {duration_s(faults):.0f} s, seed {arguments.seed}")
    sizes: dict[str, Any] = {} if arguments.short else {"least_s": 605.0}
    for name in ("rate", "listeners"):
        if getattr(arguments, name) is not None:
            sizes[name] = getattr(arguments, name)
    chosen = Plan(seed=arguments.seed, short=arguments.short, **sizes)
    try:
        run = uvloop.run(run_chaos(folder, chosen, _say))
    except StackFailed as error:
        print(f"chaos: {error}\nEverything is in {folder}", file=sys.stderr)
        return 1
    report = report_of(run)
    print(terminal(report))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(report.started_unix_s))
    path = arguments.results / f"chaos-{stamp}.json"
    write_result_file(report, path)
    path.with_suffix(".html").write_text(html_page(report))
    print(f"{path}   report: {path.with_suffix('.html')}")
    if report.good and kept is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Everything is in {folder}", file=sys.stderr)
    return 0 if report.good else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
