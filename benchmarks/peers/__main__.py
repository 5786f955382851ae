"""`python -m benchmarks.peers`: measure ours beside its peers, judge the targets.

Exit status: 0 when every target is met, 1 when one is missed or a peer gave a
wrong answer, 2 for bad arguments, 3 when a target was not measured.
"""

import argparse
import asyncio
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers import picture, report
from benchmarks.peers.backends import open_backends
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.processes import GeneratorFailed
from benchmarks.peers.run import FULL, GROUPS, TINY, Recorder, Scale
from harness.measure.machine import fingerprint
from harness.net.sockets import raise_descriptor_limit
from harness.report.results_document import KEPT, replace_section
from harness.wrong_use import writable, writable_file
from scoreboard_cli.group import CommandError, refuse
from stack.errors import StackError

RESULTS = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(GROUPS), help="measure these groups"
    )
    parser.add_argument("--rounds", type=_rounds, help="of each measure (default 5)")
    parser.add_argument("--rates", type=_rates, help="of the everyday curve: 100,5000")
    parser.add_argument(
        "--peers", type=_peers, help="of the everyday curve and of capacity: ours,direct"
    )
    parser.add_argument("--tiny", action="store_true", help="show that it works; judges nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put the table into this file (RESULTS.md), keep the JSON beside it",
    )
    parser.add_argument(
        "--merge",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measure nothing: judge what these result files hold; of a figure that two of them "
        "have, the first one's counts",
    )
    asked = parser.parse_args(arguments)
    try:
        writable("--results", asked.results)
        if asked.write is not None:
            writable_file("--write", asked.write)
        if asked.merge:
            document = report.merged([_kept(path) for path in asked.merge])
            return _conclude(document, asked.write)
    except CommandError as error:
        parser.error(str(error))
    load_before = os.getloadavg()[0]
    scale = TINY if asked.tiny else FULL
    if asked.rates:
        scale = replace(scale, everyday_rates=asked.rates)
    if asked.peers:
        scale = replace(scale, everyday_peers=asked.peers, capacity_peers=asked.peers)
    rounds = asked.rounds or scale.rounds
    recorder = Recorder(lambda text: print(text, file=sys.stderr, flush=True))
    groups = [name for name in GROUPS if not asked.only or name in asked.only]
    raise_descriptor_limit()
    try:
        asyncio.run(_measure(groups, scale, rounds, recorder))
    except (WrongAnswer, GeneratorFailed, StackError) as error:
        recorder.failures.append(f"{type(error).__name__}: {error}")
    settings = {"rounds": rounds, "groups": groups, "tiny": asked.tiny, "load_before": load_before}
    document = report.document(
        recorder.samples, recorder.details, recorder.failures, fingerprint(), settings
    )
    asked.results.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    (asked.results / f"peers-{stamp}.json").write_text(report.to_json(document), "utf-8")
    if asked.tiny:
        return 1 if recorder.failures else 0
    return _conclude(document, asked.write)


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be N or N,N,…, not {text!r}") from None


def _peers(text: str) -> tuple[str, ...]:
    known = {*FULL.everyday_peers, *FULL.capacity_peers}
    if unknown := set(names := tuple(text.split(","))) - known:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: no peer of theirs")
    return names


def _kept(path: Path) -> dict[str, Any]:
    """A document of an earlier run."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        refuse(f"--merge {path}: {getattr(error, 'strerror', None) or 'is no JSON'}")
    if not isinstance(found, dict) or not {"samples", "details", "settings"} <= set(found):
        refuse(f"--merge {path} holds no result of these benchmarks")
    return found


def _conclude(document: dict[str, Any], write: Path | None) -> int:
    """Tell every target and write the section; the exit status."""
    results = report.results_of(document)
    for result in results:
        print(report.line(result))
    for failure in document["failures"]:
        print(failure, file=sys.stderr)
    if write is not None:
        _write(document, write)
    met = [result.met for result in results]
    if document["failures"] or False in met:
        return 1
    return 3 if None in met else 0


def _write(document: dict[str, Any], results: Path) -> None:
    """Put the picture and the table, whichever was measured, into RESULTS.md; keep the figures."""
    everyday, others = report.divided(document)
    text = results.read_text("utf-8") if results.exists() else "# Results\n"
    if others["settings"]["groups"]:
        name = _keep(others, report.SECTION, results)
        text = replace_section(text, report.SECTION, report.markdown(others, name))
    if image := picture.latency_over_load(everyday["samples"]):
        name, place = _keep(everyday, report.OPENING, results), f"{KEPT}/{report.OPENING}.svg"
        (results.parent / place).write_text(image, "utf-8")
        text = report.opened_with(text, report.opening(everyday, name, place))
    results.write_text(text, "utf-8")


def _keep(document: dict[str, Any], section: str, results: Path) -> str:
    """Write the section's figures beside RESULTS.md; returns their path from there."""
    name = f"{KEPT}/{section}.json"
    kept = results.parent / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(report.to_json(document), "utf-8")
    return name


async def _measure(groups: Sequence[str], scale: Scale, rounds: int, recorder: Recorder) -> None:
    with tempfile.TemporaryDirectory(prefix="scoreboard-peers-") as folder:
        async with open_backends(Path(folder)) as backends:
            for name in groups:
                await GROUPS[name](backends, scale, rounds, recorder)


if __name__ == "__main__":
    sys.exit(main())
