"""The same load on two or more servers, in turn: A B, B A, A B … Not how their figures compare.

Each run is a `harness load` in a process of its own, with its verdict. The order changes every
round, so that a machine that warms up or slows down favours no side.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.document import LoadResult
from harness.report.result_files import read_result_as


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Names and target files of the sides, the options that all runs share, and where they go."""

    names: Sequence[str]
    targets: Sequence[str]
    options: Sequence[str]
    rounds: int
    folder: Path


def order(sides: int, rounds: int) -> list[int]:
    """The sides of all runs: each once a round, every second round backwards."""
    return [
        side
        for number in range(rounds)
        for side in (range(sides) if number % 2 == 0 else reversed(range(sides)))
    ]


def run_in_turn(
    pairing: Pairing, say: Callable[[str], None]
) -> tuple[list[list[LoadResult]], list[int]]:
    """The results of each side, and all exit codes. Raises OSError when a run left no result."""
    found: list[list[LoadResult]] = [[] for _ in pairing.targets]
    codes = []
    turns = order(len(pairing.targets), pairing.rounds)
    for number, side in enumerate(turns, 1):
        say(f"run {number} of {len(turns)}: {pairing.names[side]}")
        path = pairing.folder / f"run-{number:02}-{side}-{os.urandom(2).hex()}.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "harness", "load", "--target", pairing.targets[side]),
                *("--label", pairing.names[side], "--result-file", str(path)),
                *("--results", str(pairing.folder), *pairing.options),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if not path.exists():
            raise OSError(f"{pairing.names[side]}: {done.stderr.strip()[-2000:]}")
        codes.append(done.returncode)
        found[side].append(read_result_as(path, LoadResult))
    return found, codes
