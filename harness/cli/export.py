"""`scoreboard export RESULT`: a load run's result for other tools. The forms are in
`harness.report.export`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from harness.report.document import LoadResult
from harness.report.export import FORMATS
from harness.report.result_files import UnreadableResult, read_result_as, write_whole
from harness.wrong_use import writable_file
from scoreboard_cli.group import GOOD, command, refuse


class Export(NamedTuple):
    """A form of the result and the file it goes to; None is stdout."""

    form: str
    path: Path | None


def parse_export(text: str) -> Export:
    """`FORMAT:FILE`, or `FORMAT` for stdout. Raises ValueError."""
    form, _, path = text.partition(":")
    if form not in FORMATS:
        raise ValueError(
            f"{form!r} is not a format; there are {', '.join(FORMATS)}, as in junit:load.xml"
        )
    return Export(form=form, path=None if path in ("", "-") else Path(path))


@command("export")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), required=True, help="The form.")
@click.option("--output", default="-", metavar="FILE", help="Write to this file (stdout).")
def export(result: Path, form: str, output: str) -> int:
    """Write the load run of result file RESULT in a form that other tools read.

    json and csv for programs, csv-seconds with a row per second, junit for CI, prometheus for a
    textfile collector, benchmark-action and benchmark-action-bigger for github-action-benchmark.

    Exit codes: 0 written, whatever the verdict; 2 the file cannot be read or written.
    """
    chosen = parse_export(f"{form}:{output}")
    if chosen.path is not None:
        writable_file("--output", chosen.path)
    try:
        document = read_result_as(result, LoadResult)
        write_exports([chosen], document)
    except BrokenPipeError:
        raise
    except OSError as error:
        refuse(f"{error.filename or result}: {error.strerror}")
    except UnreadableResult as error:
        refuse(str(error))
    return GOOD


def write_exports(exports: Iterable[Export], document: LoadResult) -> None:
    """Write the document in each form, files whole or not at all. Raises OSError."""
    for form, path in exports:
        text = FORMATS[form](document)
        if path is None:
            sys.stdout.write(text)
        else:
            write_whole(path, text.encode())
