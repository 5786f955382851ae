"""`python -m benchmarks.peers.literal`: the harness judges the literal servers, honest and lying.

Exit status: 0 when every run gave the deserved verdict, 1 when one did not, 2 for bad arguments,
3 when there was no run.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers.literal import front_doors
from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.start import LANGUAGES, Literal, missing, serving
from benchmarks.peers.literal.verdicts import (
    HONEST,
    SECTION,
    Trial,
    document,
    judged,
    markdown,
)
from benchmarks.peers.processes import said_by, words_of
from harness.measure.machine import commit_of, fingerprint
from harness.report.results_document import KEPT, keep_section

RATE, WARM_UP_S, SECONDS, PLAYERS, LISTENERS = 60, 1, 3, 12, 5
LIE_EVERY = 25
LOAD = (
    f"{RATE} submissions/s for {WARM_UP_S + SECONDS} s, {PLAYERS} players, {LISTENERS} listeners, "
    f"one submission in {LIE_EVERY} with a lie"
)
RUN_TIMEOUT_S = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.literal", description=__doc__)
    parser.add_argument(
        "--language", action="append", choices=front_doors.SERVERS, help="only these"
    )
    parser.add_argument("--lie", action="append", choices=LIES, help="only these lies")
    parser.add_argument("--seeds", type=_count, default=20, help="runs of each lie (20)")
    parser.add_argument(
        "--honest", type=_count, default=100, help="runs of each honest server (100)"
    )
    parser.add_argument("--jobs", type=_jobs, default=2, help="runs side by side (2)")
    parser.add_argument("--minutes", type=_minutes, help="begin no run after so many minutes")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into RESULTS.md")
    parser.add_argument(
        "--resume", action="store_true", help="run only what the file kept by --write lacks"
    )
    parser.add_argument(
        "--front-doors",
        action="store_true",
        help="instead of the count: every command on every honest server, fiber among them; with "
        "--write, the entries of servers that were left out stay",
    )
    asked = parser.parse_args(arguments)
    every = front_doors.SERVERS if asked.front_doors else LANGUAGES
    languages = asked.language or every
    if unknown := set(languages) - set(every):
        parser.error(f"--language {', '.join(unknown)} goes with --front-doors alone")
    if lacking := {missing(language) for language in languages} - {""}:
        print(f"missing: {', '.join(sorted(lacking))}", file=sys.stderr)
        return 2
    if asked.front_doors:
        return _enter(languages, asked.write)
    plan = [
        (language, lie, seed)
        for language in languages
        for lie, count in ((HONEST, asked.honest), *((lie, asked.seeds) for lie in LIES))
        for seed in range(1, count + 1)
        if lie == HONEST or not asked.lie or lie in asked.lie
    ]
    # What disturbs the machine for a while falls on all alike.
    random.Random(1).shuffle(plan)
    name = f"{KEPT}/{SECTION}.json"
    earlier: list[Trial] = []
    if asked.write is not None and asked.resume:
        kept = json.loads((asked.write.parent / name).read_text("utf-8"))
        earlier = [Trial(**trial) for trial in kept["trials"]]
    done = {(trial.language, trial.lie, trial.seed) for trial in earlier}
    machine = fingerprint()
    ends_s = time.monotonic() + 60 * (asked.minutes or math.inf)
    fresh = asyncio.run(run_trials([each for each in plan if each not in done], asked.jobs, ends_s))
    trials = earlier + [replace(trial, commit=commit_of(machine)) for trial in fresh]
    if not trials:
        print("could not tell: there was no run", file=sys.stderr)
        return 3
    found = document(trials, machine, {"load": LOAD, "jobs": asked.jobs})
    if asked.write is not None:
        keep_section(asked.write, SECTION, found, lambda file: markdown(found, file))
    held = sum(trial.held for trial in trials)
    left = len(plan) - len(trials)
    print(
        f"{held} of {len(trials)} runs gave the deserved verdict"
        + (f"; --minutes left {left} out" if left > 0 else "")
    )
    return 0 if held == len(trials) else 1


def _count(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not {text!r}")
    return int(text)


def _jobs(text: str) -> int:
    return _count(text, least=1)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return minutes


def _enter(servers: Sequence[str], write: Path | None) -> int:
    """The front doors of these servers; the exit status."""
    machine = fingerprint()
    entries = [
        replace(entry, commit=commit_of(machine))
        for entry in asyncio.run(front_doors.enter_all(servers))
    ]
    if write is not None:
        kept = write.parent / f"{KEPT}/{front_doors.SECTION}.json"
        earlier = json.loads(kept.read_text("utf-8"))["entries"] if kept.exists() else []
        others = [front_doors.Entry(**e) for e in earlier if e["server"] not in servers]
        found = front_doors.document([*others, *entries], machine)
        keep_section(
            write, front_doors.SECTION, found, lambda file: front_doors.markdown(found, file)
        )
    for entry in entries:
        print(f"{entry.server}: {entry.door}: exit {entry.exit_code}, {entry.verdict}", flush=True)
    return 0 if all(entry.held for entry in entries) else 1


async def run_trials(
    plan: Sequence[tuple[str, str, int]], jobs: int, ends_s: float = math.inf
) -> list[Trial]:
    """A run for each language, lie and seed, `jobs` side by side; none begins after `ends_s`."""
    free = asyncio.Semaphore(jobs)

    async def one(language: str, lie: str, seed: int) -> Trial | None:
        async with free:
            if time.monotonic() > ends_s:
                return None
            trial = await _run(language, lie, seed)
        if not trial.held:
            told = f"{language}, {lie or 'honest'}, seed {seed}: exit {trial.exit_code}"
            print(f"{told}, {trial.said}", file=sys.stderr, flush=True)
        return trial

    return [trial for trial in await asyncio.gather(*(one(*each) for each in plan)) if trial]


async def _run(language: str, lie: str, seed: int) -> Trial:
    """One run of `scoreboard load` against a server of its own."""
    lies = [lie] if lie else []
    with serving(language, lies=lies, lie_every=LIE_EVERY, users=PLAYERS) as server:
        exit_code, result = await _load(server, seed)
        return judged(language, lie, seed, exit_code, result, server.lies())


async def _load(server: Literal, seed: int) -> tuple[int, dict[str, Any]]:
    """Exit code and result document; an empty one when there is none."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-literal-") as folder:
        file = Path(folder) / "result.json"
        options = {
            "host": server.url,
            "rate": str(RATE),
            "warmup": f"{WARM_UP_S}s",
            "duration": f"{SECONDS}s",
            "players": str(PLAYERS),
            "listeners": str(LISTENERS),
            "seed": str(seed),
            "late-limit": "2000",
            "results": folder,
            "result-file": str(file),
        }
        words = (sys.executable, "-m", "scoreboard_cli", "load", "--no-ceiling", "--no-seed")
        code, said = await said_by(
            (*words, *words_of(options)),
            {"SCOREBOARD_JWT_SECRET": server.secret},
            timeout_s=RUN_TIMEOUT_S,
        )
        if not file.exists():
            return code, {"verdict": said[-500:]}
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return code, found


if __name__ == "__main__":
    sys.exit(main())
