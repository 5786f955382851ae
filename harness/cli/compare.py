"""`scoreboard compare A B`: is B slower than A?"""

import sys
from pathlib import Path

import click

from harness.measure.terminal import Ink, duration, number
from harness.report.compare import EFFECT, compare, different_loads, different_settings, why_untold
from harness.report.document import LoadResult
from harness.report.result_files import UnreadableResult, read_result_as
from harness.report.run_view import correctness
from harness.wrong_use import writable_file
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, command, refuse
from scoreboard_cli.types import FILE, Number


@command("compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--effect",
    type=Number("SHARE", least=0, whole=False),
    default=EFFECT,
    help=f"Smallest change of a median that counts ({EFFECT:g}).",
)
@click.option("--html", type=FILE, help="Also write both runs side by side into this page.")
def compare_results(before: Path, after: Path, effect: float, html: Path | None) -> int:
    """Say whether the load run of result file AFTER is worse than that of BEFORE.

    Exit codes: 0 the same or better; 1 worse, or not correct; 2 a file cannot be read; 3 nothing in
    common, too few seconds, or a run that is not valid.
    """
    if html is not None:
        writable_file("--html", html)
    try:
        first, second = (read_result_as(path, LoadResult) for path in (before, after))
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    except UnreadableResult as error:
        refuse(str(error))
    if html is not None:
        from harness.cli.target.side_by_side import write_page

        write_page(first, second, html)
    return _compare(first, second, effect)


def _compare(before: LoadResult, after: LoadResult, effect: float) -> int:
    differences = compare(before, after, effect=effect)
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
    if after.started_unix_s < before.started_unix_s:
        print(ink.warn("  the second run is the older one: is the order BEFORE AFTER?"))
    for reason in different_settings(before, after):
        print(ink.warn(f"  not the same: {reason}"))
    comparable = before.verdict.valid and after.verdict.valid and not different_loads(before, after)
    worse = sum(found.judgement == "worse" for found in differences)
    incorrect = correctness(after) == "false"
    if incorrect:
        print(ink.bad("  the second run is not correct"))
    untold = why_untold(before, after, differences)
    for reason in untold:
        print(ink.warn(f"  could not tell: {reason}"))
    seen = f"{len(differences)} figures compared"
    # Figures of a run that is not valid are its generator's; those of another load, another answer.
    if incorrect or (worse and comparable):
        print(ink.bad(f"  {seen}, {worse} worse"))
        return BAD
    if untold:
        return COULD_NOT_TELL
    print(ink.good(f"  {seen}, none worse"))
    return GOOD
