"""`python -m benchmarks.peers`: measure ours beside its peers, judge the targets.

Exit status: 0 when every target that was measured is met, 1 when one is missed
or a peer gave a wrong answer, 2 for bad arguments.
"""

import argparse
import asyncio
import datetime
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import report
from benchmarks.peers.backends import open_backends
from benchmarks.peers.measures.submissions import WrongAnswer
from benchmarks.peers.processes import GeneratorFailed
from benchmarks.peers.run import FULL, GROUPS, TINY, Recorder
from benchmarks.peers.targets import TARGETS, judge
from harness.machine import fingerprint
from harness.resultsfile import KEPT, replace_section
from harness.sockets import raise_descriptor_limit
from stack.errors import StackError

RESULTS = Path("results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(GROUPS), help="measure these groups"
    )
    parser.add_argument("--rounds", type=int, help="of each measure (default 5)")
    parser.add_argument("--tiny", action="store_true", help="show that it works; judges nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put the table into this file (RESULTS.md), keep the JSON beside it",
    )
    asked = parser.parse_args(arguments)
    load_before = os.getloadavg()[0]
    scale = TINY if asked.tiny else FULL
    rounds = asked.rounds or scale.rounds
    recorder = Recorder(lambda text: print(text, file=sys.stderr, flush=True))
    groups = [name for name in GROUPS if not asked.only or name in asked.only]
    raise_descriptor_limit()
    failure = ""
    try:
        asyncio.run(_measure(groups, rounds, recorder, tiny=asked.tiny))
    except (WrongAnswer, GeneratorFailed, StackError) as error:
        failure = f"{type(error).__name__}: {error}"
    results = [judge(target, recorder.samples) for target in TARGETS if target.group in groups]
    machine = fingerprint()
    settings = {"rounds": rounds, "groups": groups, "tiny": asked.tiny, "load_before": load_before}
    asked.results.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    file = asked.results / f"peers-{stamp}.json"
    document = report.to_json(results, recorder.samples, recorder.details, machine, settings) + "\n"
    file.write_text(document)
    if not asked.tiny:
        for result in results:
            print(report.line(result))
    if asked.write is not None and not failure:
        name = f"{KEPT}/{report.SECTION}.json"
        kept = asked.write.parent / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(document)
        section = report.markdown(results, recorder.samples, machine, settings, name)
        text = asked.write.read_text() if asked.write.exists() else "# Results\n"
        asked.write.write_text(replace_section(text, report.SECTION, section))
    if failure:
        print(failure, file=sys.stderr)
        return 1
    return 0 if asked.tiny or all(result.met for result in results) else 1


async def _measure(groups: Sequence[str], rounds: int, recorder: Recorder, *, tiny: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="scoreboard-peers-") as folder:
        async with open_backends(Path(folder)) as backends:
            for name in groups:
                await GROUPS[name](backends, TINY if tiny else FULL, rounds, recorder)


if __name__ == "__main__":
    sys.exit(main())
