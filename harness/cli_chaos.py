"""`python -m harness chaos`: faults on a stack of its own, and a verdict. Also its report."""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.chaos.report import SECTION, is_good, markdown, report_of, terminal
from harness.chaos.run import Plan, run_chaos
from harness.chaos.schedule import duration_s, plan
from harness.chaos.system import StackFailed
from harness.resultsfile import KEPT, replace_section


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands `chaos` and `chaos-report`."""
    chaos = subparsers.add_parser("chaos", help="break a running stack on a schedule, and judge it")
    chaos.add_argument("--seed", type=int, default=1, help="decides the whole schedule")
    chaos.add_argument("--short", action="store_true", help="a minute or two, one of each kind")
    chaos.add_argument("--out", type=Path, help="folder to keep everything in (default: temporary)")
    chaos.add_argument("--rate", type=float, help="submissions per second while all is well")
    chaos.add_argument("--listeners", type=int, help="event streams held open")
    chaos.add_argument("--plan-only", action="store_true", help="print the schedule and stop")
    chaos.set_defaults(run=_chaos)
    report = subparsers.add_parser("chaos-report", help="the Markdown section of a chaos run")
    report.add_argument("report", type=Path, help="a report.json")
    report.add_argument(
        "--write",
        type=Path,
        help="replace the section in this document and keep the report beside it",
    )
    report.set_defaults(run=_report)


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
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(terminal(report))
    good = is_good(report)
    if good and kept is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Everything is in {folder}", file=sys.stderr)
    return 0 if good else 1


def _report(arguments: argparse.Namespace) -> int:
    text = arguments.report.read_text()
    section = markdown(json.loads(text), f"{KEPT}/{SECTION}.json")
    if arguments.write is None:
        print(section)
        return 0
    document = arguments.write.read_text() if arguments.write.exists() else "# Results\n"
    arguments.write.write_text(replace_section(document, SECTION, section))
    kept = arguments.write.parent / KEPT / f"{SECTION}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
