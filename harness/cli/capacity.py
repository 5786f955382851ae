"""`python -m harness capacity`: the greatest load that keeps its limits, and what is full there.

Doubles, bisects and confirms with repeats: over the submission rate, over
listeners, or over the frontier of both. Fits the Universal Scalability Law where
there are enough points.
"""

import argparse
import calendar
import contextlib
import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

from harness.measure.machine import fingerprint
from harness.measure.slo import load_slo
from harness.measure.terminal import Ink, duration, number
from harness.net.target import Target, TargetError, find_target
from harness.report.document import CapacityResult, Machine, Search, SearchPlan, SearchStep
from harness.report.result_files import write_result_file
from harness.sessions.capacity import Capacity, Plan, Trial, limiting, scalability
from harness.sessions.managed_stack import own_stack

REPEATED = (
    *("slo", "over", "rate", "listeners", "start", "most"),
    *("duration", "warmup", "precision", "repeats"),
)
SLO = "p99<500ms,lag_p99<1s,errors<0.1%"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "capacity",
        help="find the greatest load within limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--slo", default=SLO, help="limits (%(default)s)")
    parser.add_argument(
        "--over", choices=("rate", "listeners", "both"), default="rate", help="(%(default)s)"
    )
    parser.add_argument("--rate", type=int, default=1000, help="fixed when over listeners")
    parser.add_argument(
        "--listeners", default="1000", help="fixed when over rate; N,N,… for the frontier"
    )
    parser.add_argument("--start", type=int, default=500, help="first load tried (%(default)s)")
    parser.add_argument("--most", type=int, default=15_000, help="never tried beyond (%(default)s)")
    parser.add_argument("--duration", type=float, default=10.0, help="of a trial (%(default)s)")
    parser.add_argument("--warmup", type=float, default=3.0, help="of a trial (%(default)s)")
    parser.add_argument("--precision", type=float, default=0.1, help="of the border (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="that must hold (%(default)s)")
    parser.add_argument("--host", help="any server with the contract; default: the running stack")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when a load was confirmed, 1 when none held, 2 for wrong use."""
    try:
        load_slo(arguments.slo)
        listeners = [int(part) for part in str(arguments.listeners).split(",")]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    started = time.gmtime()
    folder = arguments.results / f"capacity-{time.strftime('%Y%m%d-%H%M%S', started)}"
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        slo=arguments.slo,
        seconds=arguments.duration,
        warmup_s=arguments.warmup,
        start=arguments.start,
        most=arguments.most,
        precision=arguments.precision,
        repeats=arguments.repeats,
        results=folder,
        load_arguments=("--host", arguments.host) if arguments.host else (),
    )

    def find() -> Target | None:
        return find_target(host=arguments.host, mysql_url="", environ=os.environ, folder=Path.cwd())

    ink = Ink(sys.stderr)
    capacity = Capacity(plan, lambda trial: print(_line(trial, ink), file=sys.stderr, flush=True))
    searches: list[Search] = []
    try:
        with contextlib.ExitStack() as stack:
            if find() is None:
                stack.enter_context(
                    own_stack(find, folder=Path.cwd(), say=lambda t: print(t, file=sys.stderr))
                )
            for count in listeners if arguments.over != "listeners" else [0]:
                before = len(capacity.trials)
                if arguments.over == "listeners":
                    found = capacity.over_listeners(arguments.rate)
                else:
                    found = capacity.over_rate(count)
                searches.append(
                    Search(
                        over="listeners" if arguments.over == "listeners" else "rate",
                        fixed=arguments.rate if arguments.over == "listeners" else count,
                        load=found.load,
                        bounded=found.bounded,
                        bottleneck=limiting(capacity.trials[before:]),
                        steps=[SearchStep(**asdict(step)) for step in found.steps],
                    )
                )
    except (TargetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was found so far follows", file=sys.stderr)
    trials = [trial.to_result() for trial in capacity.trials]
    document = CapacityResult(
        started_unix_s=calendar.timegm(started),
        machine=Machine(**fingerprint()),
        command=command_of(arguments),
        plan=SearchPlan(slo=plan.slo, seconds=plan.seconds, repeats=plan.repeats),
        searches=searches,
        trials=trials,
        scalability=scalability(trials),
    )
    path = folder.with_suffix(".json")
    write_result_file(document, path)
    _print(document, Ink(sys.stdout), path)
    return 0 if searches and all(found.load for found in searches) else 1


def command_of(arguments: argparse.Namespace) -> str:
    """The command that repeats a search, defaults spelled out: they may change."""
    words = ["python", "-m", "harness", "capacity"]
    for name in REPEATED:
        words += [f"--{name}", str(getattr(arguments, name))]
    return shlex.join(words)


def _line(trial: Trial, ink: Ink) -> str:
    kept = trial.to_result()
    word = ink.good("held    ") if trial.held else ink.bad("not held")
    return (
        f"  {trial.phase:8} {number(trial.rate):>7}/s {number(trial.listeners):>7} listeners"
        f"  {word}"
        f"  p99 {duration(kept.response_p99):>7}  lag p99 {duration(kept.lag_p99):>7}"
        + (f"  {ink.dim(trial.why)}" if trial.why else "")
    )


def _print(document: CapacityResult, ink: Ink, path: Path) -> None:
    print()
    for found in document.searches:
        unit = "listeners" if found.over == "listeners" else "submissions/s"
        beside = (
            f"{number(found.fixed)}/s"
            if found.over == "listeners"
            else (f"{number(found.fixed)} listeners")
        )
        least = "" if found.bounded else "at least "
        if found.load:
            print(
                ink.bold(f"  {least}{number(found.load)} {unit}") + f" with {beside}, within "
                f"{document.plan.slo}, {document.plan.repeats} times"
            )
        else:
            print(ink.bad(f"  no load held with {beside}"))
        if found.bottleneck:
            where = "beyond it" if found.bounded else "there"
            print(f"  {where}: {found.bottleneck}")
    law = document.scalability
    if law.fit is None:
        print(ink.dim(f"  no scalability law: {law.refused}"))
    else:
        low, high = law.peak
        told = "no bound" if law.peak_rate is None else f"{number(law.peak_rate)}/s"
        told += f" ({number(low or 0)}–{'∞' if high is None else number(high)})"
        print(
            f"  scalability law: peak {told}, contention {law.fit.contention:.3f}, "
            f"coherency {law.fit.coherency:.5f}"
        )
    print(ink.dim(f"  {path}"))
