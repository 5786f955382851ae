"""`scoreboard chaos`: faults on a stack of its own, and a verdict.

Leaves its report as JSON and as a page in the results folder. What the run itself wrote
(history, the stack's data and logs) is kept when the verdict is not good, or when asked.
"""

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from harness.chaos.page import html_page
from harness.chaos.report import report_of, terminal
from harness.chaos.run import Plan, run_chaos
from harness.chaos.schedule import duration_s, plan
from harness.chaos.system import StackFailed
from harness.checker import Verdict
from harness.cli.check import EXIT_CODES
from harness.lab.schedule import labels
from harness.lab.schedule import plan as lab_plan
from harness.report.result_files import keep_result
from harness.wrong_use import writable, writable_file
from scoreboard_cli.group import COULD_NOT_TELL, GOOD, CommandError, command, exclude, need, refuse
from scoreboard_cli.types import FILE, FOLDER, Number, whole


@command("chaos")
@click.option("--seed", type=whole(), default=1, help="Decides the whole schedule (1).")
@click.option("--short", is_flag=True, help="A minute or two, with one fault of each kind.")
@click.option("--out", type=FOLDER, help="Keep everything in this folder (default: temporary).")
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the reports.")
@click.option(
    "--rate",
    type=Number("N", above=0, whole=False),
    help="Submissions per second while nothing is broken.",
)
@click.option("--listeners", type=whole(least=1), help="Event streams held open.")
@click.option(
    "--temporal-cluster",
    is_flag=True,
    help="Temporal as several processes on PostgreSQL; each of them is struck, too.",
)
@click.option(
    "--losses", is_flag=True, help="MySQL loses its last changes, too; the database must tell."
)
@click.option("--plan-only", is_flag=True, help="Print the schedule and stop.")
@click.option(
    "--lab", is_flag=True, help="On several hosts, with the faults that need them (root)."
)
@click.option(
    "--seeds", type=whole(least=1), help="With --lab: so many seeds, those with a verdict left out."
)
@click.option("--write", type=FILE, help="With --lab: put the table of all seeds into this page.")
@click.option(
    "--minutes",
    type=Number("N", above=0, whole=False),
    help="With --seeds: begin no run that would end later; the same command goes on.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="With --lab: one fault of this kind in place of the seed's; may be given again.",
)
def chaos(
    seed: int,
    short: bool,
    out: Path | None,
    results: Path,
    rate: float | None,
    listeners: int | None,
    temporal_cluster: bool,
    losses: bool,
    plan_only: bool,
    lab: bool,
    seeds: int | None,
    write: Path | None,
    minutes: float | None,
    kinds: tuple[str, ...],
) -> int:
    """Inject faults into a stack of its own under load, then check every promise.

    Exit codes: 0 every promise holds, 1 one does not, 2 wrong use, 3 too little was seen to tell.
    """
    _check(None if plan_only else results, out, write, kinds)
    faults = (
        lab_plan(seed, kinds=kinds)
        if lab
        else plan(seed, short=short, cluster=temporal_cluster, losses=losses)
    )
    if plan_only:
        for fault in faults:
            print(f"{fault.at_s:7.1f} s  {fault.label} on {fault.target}, {fault.hold_s:g} s")
        return GOOD
    sizes: dict[str, Any] = {}
    if rate is not None:
        sizes["rate"] = rate
    if listeners is not None:
        sizes["listeners"] = listeners
    if lab:
        from harness.cli.lab.commands import chaos_kinds, chaos_lab

        if kinds:
            return chaos_kinds(kinds=kinds, seed=seed, sizes=sizes, out=out)
        return chaos_lab(
            seeds=range(seed, seed + (seeds or 1)),
            sizes=sizes,
            results=results,
            out=out,
            write=write,
            minutes=minutes,
        )
    import uvloop

    # A stopped backend makes asyncio report every cut stream; the history has them all.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = out or Path(tempfile.mkdtemp(prefix="scoreboard-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{len(faults)} faults over at least {duration_s(faults):.0f} s, seed {seed}")
    if not short:
        sizes["least_s"] = 605.0
    chosen = Plan(seed=seed, short=short, temporal_cluster=temporal_cluster, losses=losses, **sizes)
    try:
        run = uvloop.run(run_chaos(folder, chosen, _say))
    except StackFailed as error:
        raise CommandError(f"{error}\nEverything is in {folder}", COULD_NOT_TELL) from None
    report = report_of(run)
    print(terminal(report))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(report.started_unix_s))
    path = keep_result(report, results / f"chaos-{stamp}.json")
    path.with_suffix(".html").write_text(html_page(report), "utf-8")
    print(f"{path}   report: {path.with_suffix('.html')}")
    if report.good and out is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Everything is in {folder}", file=sys.stderr)
    return EXIT_CODES[Verdict(report.verdict)]


def _check(
    results: Path | None, out: Path | None, write: Path | None, kinds: tuple[str, ...]
) -> None:
    """Refuses options that exclude or need each other, unknown kinds, and places that take no
    file."""
    exclude("--lab", "--short", "--temporal-cluster", "--losses")
    exclude("--kind", "--seeds", "--write", "--minutes")
    for option in ("--seeds", "--write", "--minutes", "--kind"):
        need(option, "--lab")
    if unknown := sorted(set(kinds) - set(labels())):
        refuse(f"--kind {unknown[0]}: there are {'; '.join(sorted(labels()))}")
    for flag, folder in (("--results", results), ("--out", out)):
        if folder is not None:
            writable(flag, folder)
    if write is not None:
        writable_file("--write", write)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
