"""`python -m harness compare A B`: is B slower than A? Exit 1 when it is, or when it is wrong."""

import argparse
import sys
from pathlib import Path

from harness.measure.terminal import Ink, duration, number
from harness.report.compare import EFFECT, compare, different_settings
from harness.report.document import LoadResult
from harness.report.result_files import UnreadableResult, read_result_as


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare", help="two results side by side, with a verdict", description=__doc__
    )
    parser.add_argument("before", type=Path, help="result file of the base")
    parser.add_argument("after", type=Path, help="result file to judge")
    parser.add_argument(
        "--effect", type=float, default=EFFECT, help="least change of a median (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 same or better, 1 worse or a bad verdict, 2 when a file cannot be read."""
    try:
        before, after = (
            read_result_as(path, LoadResult) for path in (arguments.before, arguments.after)
        )
    except (OSError, UnreadableResult) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differences = compare(before, after, effect=arguments.effect)
    ink = Ink(sys.stdout)
    print(f"\n  {'':22}{before.run_id[-11:]:>12}{after.run_id[-11:]:>12}{'change':>10}")
    for found in differences:
        show = duration if found.is_time else number
        word = {"worse": ink.bad, "better": ink.good}.get(found.judgement, ink.dim)
        change = "" if found.change is None else f"{found.change:+.1%}"
        print(
            f"  {found.name:22}{show(found.before or 0):>12}{show(found.after or 0):>12}"
            f"{change:>10}"
            f"  {word(found.judgement)} {ink.dim(f'p={found.p_value:.3f}')}"
        )
    for reason in different_settings(before, after):
        print(ink.warn(f"  not the same: {reason}"))
    sound = all(document.verdict.valid for document in (before, after))
    if not sound:
        print(ink.bad("  at least one of the runs is not valid"))
    if not after.verdict.correct:
        print(ink.bad("  the second run is not correct"))
    worse = any(found.judgement == "worse" for found in differences)
    return 1 if worse or not sound or not after.verdict.correct else 0
