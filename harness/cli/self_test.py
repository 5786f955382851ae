"""`scoreboard selfproof`: plant faults and see whether exactly these are reported."""

import sys
import time
from pathlib import Path

import click

from harness.measure.figures import PERCENTILES
from harness.measure.terminal import Ink, duration
from harness.report.document import Document, SelfTestResult, TroubleCase
from harness.report.result_files import keep_result
from harness.sessions.self_test import prove
from harness.wrong_use import writable
from scoreboard_cli.group import BAD, GOOD, command, need, refuse
from scoreboard_cli.types import FOLDER, whole


@command("selfproof")
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the result.")
@click.option(
    "--trouble",
    is_flag=True,
    help="Plant troubles around the harness (killed workers, dead servers, torn files, Ctrl-C) and "
    "hold its verdicts and exit codes against those that they must give. About two minutes.",
)
@click.option("--only", default="", metavar="TEXT", help="Troubles with this text in their name.")
@click.option("--side-by-side", type=whole(least=1), default=4, help="Troubles at a time (4).")
def selfproof(results: Path, trouble: bool, only: str, side_by_side: int) -> int:
    """Plant faults and see whether each is reported, and nothing else. About a minute.

    Exit codes: 0 each was, 1 one was not, 2 wrong use.
    """
    for option in ("--only", "--side-by-side"):
        need(option, "--trouble")
    writable("--results", results)
    if trouble:
        return _trouble(results, only, side_by_side)
    document = prove()
    path = _kept(document, results, "selfproof")
    ink = Ink(sys.stdout)
    print()
    for proof in document.proofs:
        sign = ink.good("✓") if proof.exact else ink.bad("✗")
        print(f"  {sign} {proof.planted:42} {proof.reported}")
    _print_stall(document, ink)
    print(ink.dim(f"\n  {path}"))
    return GOOD if document.good else BAD


def _print_stall(document: SelfTestResult, ink: Ink) -> None:
    stall = document.stall
    print(f"\n  {stall.planted}; {stall.intended:,} requests intended\n")
    heads = "".join(f"{percentile.label:>10}" for percentile in PERCENTILES)
    print(ink.dim(f"  {'':24}{'requests':>10}{heads}"))
    for report in stall.reports:
        times = [report.times_ms.get(percentile.key) for percentile in PERCENTILES]
        cells = "".join(f"{'–' if ms is None else duration(1000 * ms):>10}" for ms in times)
        print(f"  {report.tool:24}{report.requests:>10,}{cells}")


def _trouble(results: Path, only: str, side_by_side: int) -> int:
    from harness.trouble.proof import chosen, prove_trouble

    troubles = chosen(only)
    if not troubles:
        refuse(f"--only {only}: no trouble has this in its name")
    ink = Ink(sys.stdout)

    def tell(row: TroubleCase) -> None:
        sign = ink.good("✓") if row.held else ink.bad("✗")
        print(f"  {sign} {row.planted:62} {ink.bold(str(row.exit))}  {ink.dim(row.said)}")
        if not row.held:
            print(f"      {ink.bad('must end with')} {row.must_exit} {row.must_say}")
        sys.stdout.flush()

    document = prove_trouble(troubles, side_by_side=side_by_side, tell=tell)
    for reason in document.not_planted:
        print(ink.warn(f"  ? {reason}"))
    path = _kept(document, results, "trouble")
    held = sum(row.held for row in document.troubles)
    print(f"\n  {held} of {len(document.troubles)} gave the verdict that they must")
    print(ink.dim(f"  {path}"))
    return GOOD if document.good else BAD


def _kept(document: Document, results: Path, name: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return keep_result(document, results / f"{name}-{stamp}.json")
