"""Fuzzes the parsers with atheris: `python -m tests.security.fuzz [--seconds 10] [--target NAME]`.

Coverage-guided, one process for each target, since libFuzzer ends its process.
Exit status 1 when anything was found; the input is printed and kept.
"""

import argparse
import logging
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

ROOT = Path(__file__).resolve().parents[2]
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What came of one target: inputs tried, and what libFuzzer said when it found something."""

    target: str
    inputs: int
    find: str


def fuzz(target: str, *, seconds: int, seed: int) -> Fuzzed:
    """Fuzz one target in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.security.fuzz", "--inside", target, folder),
                *(f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"),
                *("-max_len=4096", "-rss_limit_mb=1024", "-timeout=10"),
            ],
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds * 4 + 60,
        )
    executed = _EXECUTED.search(done.stderr)
    inputs = int(executed[1]) if executed else 0
    found = "" if done.returncode == 0 and inputs else done.stderr[-4000:] or "no output"
    return Fuzzed(target=target, inputs=inputs, find=found)


def quiet() -> None:
    """Log failures only: every refusal has a line, and most inputs are refused."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _inside(target: str, folder: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["scoreboard", "server"]):
        from tests.security.targets import SEEDS, TARGETS
    quiet()
    for number, seed in enumerate(SEEDS[target]):
        (Path(folder) / f"seed-{number}").write_bytes(seed)
    atheris.Setup(["fuzz", folder, f"-artifact_prefix={folder}/", *options], TARGETS[target])
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets one after the other."""
    if sys.argv[1:2] == ["--inside"]:
        _inside(sys.argv[2], sys.argv[3], sys.argv[4:])
        return 0
    from tests.security.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    options = parser.parse_args()
    finds = 0
    for target in options.target or TARGETS:
        fuzzed = fuzz(target, seconds=options.seconds, seed=options.seed)
        print(f"{target}: {fuzzed.inputs} inputs{', FOUND' if fuzzed.find else ''}", flush=True)
        if fuzzed.find:
            finds += 1
            print(fuzzed.find)
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
