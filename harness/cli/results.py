"""`scoreboard results`: write RESULTS.md's sections from result files.

Takes the newest good result for each section from the results folder (or the files
named), keeps it in docs/results/ with its plots, and writes the sections
between their markers. Sections without a new result are written from the kept one.

Load runs have two sections: `load`, the headline, and `crowd`, from 5,000 listeners
on. Only a minute of measurement or more, or a file named, becomes the headline.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from harness.chaos import report as chaos
from harness.report import results_document
from harness.report.document import (
    CapacityResult,
    ChaosResult,
    LoadResult,
    Result,
    SideBySideResult,
)
from harness.report.result_files import (
    CEILING_FILE,
    UnreadableResult,
    read_result,
    schema,
    write_result_file,
)
from harness.wrong_use import writable, writable_file
from scoreboard_cli.group import COULD_NOT_TELL, GOOD, CommandError, command, given, refuse
from scoreboard_cli.types import FILE, FOLDER

Section = Callable[[Any, str], str]
Plots = Callable[[Any], dict[str, str]]
CROWD = "scoreboard-run crowd"
HEADLINE_S = 60
KINDS: dict[str, tuple[str, Section, Plots]] = {
    "scoreboard-run": ("load", results_document.load_section, results_document.load_plots),
    # A kind of its own here: the same document, told by its size.
    CROWD: ("crowd", results_document.load_section, results_document.load_plots),
    "scoreboard-capacity": (
        "capacity",
        results_document.capacity_section,
        results_document.capacity_plots,
    ),
    "scoreboard-selfproof": ("selfproof", results_document.selfproof_section, lambda _: {}),
    "scoreboard-trouble": ("trouble", results_document.trouble_section, lambda _: {}),
    "scoreboard-bench-proof": ("bench-gate", results_document.bench_gate_section, lambda _: {}),
    chaos.KIND: ("chaos", chaos.markdown, lambda _: {}),
}


@command("results")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--results",
    "searched",
    type=FOLDER,
    default=Path("results"),
    help="Folder with result files (results).",
)
@click.option(
    "--kept",
    type=FOLDER,
    default=Path(results_document.KEPT),
    help=f"Folder of the results that are kept ({results_document.KEPT}).",
)
@click.option("--output", type=FILE, default=Path("RESULTS.md"), help="The page (RESULTS.md).")
@click.option(
    "--schema", "only_schema", is_flag=True, help="Print the JSON Schema of result files and stop."
)
def results(
    files: tuple[Path, ...], searched: Path, kept: Path, output: Path, only_schema: bool
) -> int:
    """Write the sections of RESULTS.md from the newest good result of each kind, or from FILES.

    Each result taken is kept with its plots, so that a section can be written again without a run.
    A load run shorter than a minute becomes the headline only when its file is named.

    Exit codes: 0 written, 2 a file named is no result, 3 there is no good result at all.
    """
    if only_schema:
        print(json.dumps(schema(), indent=2))
        return GOOD
    if given("--results") and not os.path.isdir(searched):  # noqa: PTH112  # any name will do
        refuse(f"--results: {searched} is no folder")
    writable("--kept", kept)
    writable_file("--output", output)
    fresh = _named(files) if files else newest_good(searched.glob("*.json"))
    try:
        text = output.read_text("utf-8") if output.exists() else results_document.TITLE
    except UnicodeDecodeError:
        refuse(f"--output {output} is no UTF-8 text")
    written = []
    for kind, (name, section, plots) in KINDS.items():
        copy = kept / f"{name}.json"
        if kind in fresh:
            kept.mkdir(parents=True, exist_ok=True)
            write_result_file(results_document.slim(fresh[kind]), copy)
        if not copy.exists():
            continue
        document = _read(copy)
        for file, svg in plots(document).items():
            (kept / file).write_text(svg + "\n", "utf-8")
        text = results_document.replace_section(
            text, name, section(document, f"{results_document.KEPT}/{name}.json")
        )
        written.append(name)
    looked_at = len(files) or len(list(searched.glob("*.json")))
    if not written:
        raise CommandError(
            f"could not tell: {looked_at} files in {searched}, none of them a good and whole "
            f"result, and no earlier one in {kept}",
            COULD_NOT_TELL,
        )
    output.write_text(text, "utf-8")
    print(f"{output}: {', '.join(written)}; {len(fresh)} new, of {looked_at} files looked at")
    return GOOD


def _named(files: tuple[Path, ...]) -> dict[str, Result]:
    given = [_read(path) for path in files]
    fresh = {kind_of(document): document for document in given}
    if len(fresh) < len(given):
        refuse("two of the files are of the same kind, and a section shows one result")
    return fresh


def _read(path: Path) -> Result:
    try:
        return read_result(path)
    except OSError as error:
        refuse(f"{error.filename}: {error.strerror}")
    except UnreadableResult as error:
        refuse(str(error))


def kind_of(document: Result) -> str:
    """The key of KINDS for a document."""
    crowded = isinstance(document, LoadResult) and results_document.section_of(document) == "crowd"
    return CROWD if crowded else str(document.__struct_config__.tag)


def newest_good(paths: Iterable[Path]) -> dict[str, Result]:
    """The newest document of each kind that is good and whole; names those that are unreadable.

    A load run of less than HEADLINE_S is no headline, however new.
    """
    best: dict[str, Result] = {}
    for path in paths:
        try:
            document = read_result(path)
        except (OSError, UnreadableResult) as error:
            if path.name != CEILING_FILE:
                print(f"skipped: {error}", file=sys.stderr)
            continue
        if not _is_good(document):
            continue
        kind = kind_of(document)
        if (
            isinstance(document, LoadResult)
            and kind != CROWD
            and document.seconds_measured < HEADLINE_S
        ):
            continue
        known = best.get(kind)
        if known is None or known.started_unix_s < document.started_unix_s:
            best[kind] = document
    return best


def _is_good(document: Result) -> bool:
    """Whether its verdict is good; short forms of a run prove too little."""
    if isinstance(document, LoadResult):
        return document.verdict.good
    if isinstance(document, CapacityResult | SideBySideResult):
        return True
    return document.good and not (isinstance(document, ChaosResult) and document.short)
