"""`scoreboard load` with several targets, and `scoreboard compare --html`: one table of both."""

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.report.document import LoadResult, SideBySideResult
from harness.report.result_files import write_result_file, write_whole
from harness.report.side_by_side import html_page, lines, side_by_side
from harness.sessions.side_by_side import Pairing, run_in_turn
from harness.wrong_use import described, reachable, warn_if_insecure
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, CommandError, refuse


def load_in_turn(
    targets: Sequence[str], *, options: Sequence[str], rounds: int, results: Path, host: str | None
) -> int:
    """Run all targets in turn, write one report, and print its table; the worst exit code."""
    if host is not None:
        refuse("--host names one server: leave it out with several --target")
    servers = [described(path, None) for path in targets]
    names: list[str] = []
    for path, server in zip(targets, servers, strict=True):
        assert server is not None
        warn_if_insecure(server)
        reachable(server.address.url)
        name = server.name or Path(path).stem
        names.append(name if name not in names else f"{name} {len(names) + 1}")
    folder = results / f"sides-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    pairing = Pairing(names=names, targets=targets, options=options, rounds=rounds, folder=folder)
    try:
        runs, codes = run_in_turn(pairing, partial(print, file=sys.stderr, flush=True))
    except OSError as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    document = side_by_side(names, runs)
    write_result_file(document, folder.with_suffix(".json"))
    page = folder.with_suffix(".html")
    write_whole(page, html_page(document, runs).encode())
    show(document)
    print(f"\n  {folder.with_suffix('.json')}   report: {page}")
    return BAD if BAD in codes else next((code for code in codes if code), GOOD)


def show(document: SideBySideResult) -> None:
    """The table on stdout."""
    print()
    for line in lines(document):
        print(line)


def write_page(before: LoadResult, after: LoadResult, page: Path) -> None:
    """One page of two runs that were made before."""
    names = [run.label or run.target or run.run_id for run in (before, after)]
    if names[0] == names[1]:
        names = [before.run_id, after.run_id]
    runs = [[before], [after]]
    try:
        write_whole(page, html_page(side_by_side(names, runs), runs).encode())
    except OSError as error:
        refuse(f"--html {page}: {error.strerror}")
