"""`python -m harness results`: write RESULTS.md's sections from result files.

Takes the newest good result for each section from the results folder (or the files
named), keeps it in docs/results/ with its plots, and writes the sections
between their markers. Sections without a new result are written from the kept one.

Load runs have two sections: `load`, the headline, and `crowd`, from 5,000 listeners
on. Only a minute of measurement or more, or a file named, becomes the headline.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.chaos import report as chaos
from harness.report import results_document
from harness.report.run_view import window_s

Section = Callable[[Mapping[str, Any], str], str]
Plots = Callable[[Mapping[str, Any]], dict[str, str]]
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
    "scoreboard-bench-proof": ("bench-gate", results_document.bench_gate_section, lambda _: {}),
    chaos.KIND: ("chaos", chaos.markdown, lambda _: {}),
}
TITLE = "# Results\n\nEvery figure names the file and the command it comes from.\n"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "results",
        help="write RESULTS.md from result files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, help="result files to take instead")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder searched")
    parser.add_argument(
        "--kept", type=Path, default=Path(results_document.KEPT), help="folder kept"
    )
    parser.add_argument("--output", type=Path, default=Path("RESULTS.md"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when at least one section was written, 2 when there is nothing to write."""
    try:
        given = [_read(path) for path in arguments.files]
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    fresh = {kind_of(document): document for document in given}
    if not arguments.files:
        fresh = newest_good(arguments.results.glob("*.json"))
    text = arguments.output.read_text() if arguments.output.exists() else TITLE
    arguments.kept.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, (name, section, plots) in KINDS.items():
        kept = arguments.kept / f"{name}.json"
        if kind in fresh:
            slim = results_document.slim(fresh[kind])
            kept.write_text(json.dumps(slim, separators=(",", ":")) + "\n")
        if not kept.exists():
            continue
        document = _read(kept)
        for file, svg in plots(document).items():
            (arguments.kept / file).write_text(svg + "\n")
        text = results_document.replace_section(
            text, name, section(document, f"{results_document.KEPT}/{name}.json")
        )
        written.append(name)
    if not written:
        print(f"error: no result in {arguments.results} or {arguments.kept}", file=sys.stderr)
        return 2
    arguments.output.write_text(text)
    print(f"{arguments.output}: {', '.join(written)}")
    return 0


def kind_of(document: Mapping[str, Any]) -> str:
    """The key of KINDS for a document."""
    kind = str(document["kind"])
    crowded = kind == "scoreboard-run" and results_document.section_of(document) == "crowd"
    return CROWD if crowded else kind


def newest_good(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The newest document of each kind that is good and whole; unreadable files are no results.

    A load run of less than HEADLINE_S is no headline, however new.
    """
    best: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            document = _read(path)
        except (OSError, ValueError):
            continue
        if not _is_good(document):
            continue
        kind = kind_of(document)
        if kind == "scoreboard-run" and window_s(document) < HEADLINE_S:
            continue
        known = best.get(kind)
        if known is None or known["started_unix_s"] < document["started_unix_s"]:
            best[kind] = document
    return best


def _is_good(document: Mapping[str, Any]) -> bool:
    """Whether its verdict is good; short forms of a run prove too little."""
    verdict = document.get("verdict")
    holder = verdict if isinstance(verdict, dict) else document
    return bool(holder.get("good", True)) and not document.get("short", False)


def _read(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    if not isinstance(document, dict) or document.get("kind") not in KINDS:
        raise ValueError(f"{path} is no result file")
    return document
