"""`python -m harness selfproof`: plant faults and see whether exactly these are reported."""

import argparse
import sys
import time
from pathlib import Path

from harness.measure.figures import PERCENTILES
from harness.measure.terminal import Ink, duration
from harness.report.result_files import write_result_file
from harness.sessions.self_test import prove


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "selfproof", help="plant faults and see them reported", description=__doc__
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when everything planted was reported exactly, else 1. About a minute."""
    document = prove()
    path = arguments.results / f"selfproof-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
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
    return 0 if document.good else 1
