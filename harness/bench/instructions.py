"""CPU instructions per benchmark case, counted by valgrind's callgrind, and their judgement.

A count hardly depends on load or neighbours, so one run of each tree shows what hundreds of
timed rounds may not. It is blind to what takes time but no instructions: waiting, cache misses,
system calls. Not for timing: under valgrind a case runs some fifty times slower.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.bench.compare_revisions import RUNNER, Judged

INSTRUCTION_SLACK = 0.03
"""Twice what equal code differs by (docs/decisions/benchmark-gate.md)."""
MARK = "getppid"
"""The C function whose call separates one part of the count from the next."""
TIMEOUT_S = 600

Count = Callable[[str, Sequence[str]], Mapping[str, int]]


def missing() -> str:
    """Why instructions cannot be counted here; empty when they can."""
    return "" if shutil.which("valgrind") else "valgrind is not installed (Debian package valgrind)"


def count_instructions(
    folder: Path, names: Sequence[str] = (), plant: Sequence[str] = ()
) -> dict[str, int]:
    """Instructions per call of each case of a tree, about 20 s for all. Raises OSError."""
    # Both trees are run by the same path: the hash and the length of a path decide collisions
    # and the layout of memory, by which equal code differed by 4 %.
    scratch = Path(tempfile.gettempdir()) / f"scoreboard-callgrind-{os.getpid()}"
    scratch.mkdir(mode=0o700)
    try:
        tree = scratch / "tree"
        tree.symlink_to(folder.resolve())
        done = subprocess.run(
            [
                *("valgrind", "-q", "--tool=callgrind", f"--dump-before={MARK}"),
                f"--callgrind-out-file={scratch}/part",
                *(sys.executable, str(RUNNER), str(tree), *names, "--mark", *plant),
            ],
            cwd=tree,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise OSError(f"valgrind on {folder.name} failed:\n{done.stderr.strip()[-2000:]}")
        calls: dict[str, int] = json.loads(done.stdout)
        return instructions_of(
            calls, lambda number: (scratch / f"part.{number}").read_text("utf-8")
        )
    finally:
        shutil.rmtree(scratch)


def instructions_of(calls: Mapping[str, int], part: Callable[[int], str]) -> dict[str, int]:
    """The least per case, which leaves out what happens once. `calls` tells the calls per case.

    Part 1 ends at the first mark; then a measured call and what lies between two take turns.
    """
    found: dict[str, int] = {}
    number = 2
    for name, repeats in calls.items():
        found[name] = min(_total(part(number + 2 * repeat)) for repeat in range(repeats))
        number += 2 * repeats
    return found


def _total(text: str) -> int:
    match = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    if match is None:
        raise OSError("callgrind wrote a part without a total")
    return int(match[1])


def count_both(count: Count, names: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """Base and head of every common case; a case that grew is counted again, the least kept."""
    found = _pairs(count, names)
    grown = [name for name, pair in found.items() if has_grown(pair)]
    if grown:
        for name, again in _pairs(count, grown).items():
            base, head = found[name]
            found[name] = (min(base, again[0]), min(head, again[1]))
    return found


def _pairs(count: Count, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    base, head = count("base", names), count("head", names)
    return {name: (base[name], head[name]) for name in head if name in base}


def has_grown(pair: tuple[int, int]) -> bool:
    """Whether head needs more instructions than repeated counts of equal code differ by."""
    return pair[1] > pair[0] * (1 + INSTRUCTION_SLACK)


def with_instructions(
    judged: Sequence[Judged], counted: Mapping[str, tuple[int, int]]
) -> list[Judged]:
    """The judgements with the instructions of each case: growth makes it `more`."""
    found = []
    for case in judged:
        pair = counted.get(case.name)
        case = replace(case, instructions=pair)
        if pair and has_grown(pair) and case.judgement != "more":
            why = f"{pair[1] / pair[0] - 1:+.1%} instructions"
            case = replace(case, judgement="more", why=why)
        found.append(case)
    return found
