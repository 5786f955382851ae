"""`scoreboard selfproof`: plant faults and see whether exactly these are reported."""

import sys
import time
from pathlib import Path

import click

from harness.measure.figures import PERCENTILES
from harness.measure.terminal import Ink, duration
from harness.report.result_files import write_result_file
from harness.sessions.self_test import prove
from scoreboard_cli.group import BAD, GOOD, command
from scoreboard_cli.types import FOLDER


@command("selfproof")
@click.option("--results", type=FOLDER, default=Path("results"), help="Folder for the result.")
def selfproof(results: Path) -> int:
    """Plant faults and see whether each is reported, and nothing else. About a minute."""
    document = prove()
    path = results / f"selfproof-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    write_result_file(document, path)
    ink = Ink(sys.stdout)
    print()
    for proof in document.proofs:
        sign = ink.good("✓") if proof.exact else ink.bad("✗")
        print(f"  {sign} {proof.planted:42} {proof.reported}")
    stall = document.stall
    print(f"\n  {stall.planted}; {stall.intended:,} requests intended\n")
    heads = "".join(f"{percentile.label:>10}" for percentile in PERCENTILES)
    print(ink.dim(f"  {'':24}{'requests':>10}{heads}"))
    for report in stall.reports:
        cells = "".join(
            f"{duration(1000 * report.times_ms[percentile.key]):>10}" for percentile in PERCENTILES
        )
        print(f"  {report.tool:24}{report.requests:>10,}{cells}")
    print(ink.dim(f"\n  {path}"))
    return GOOD if document.good else BAD
