"""The same load with Temporal's development server and with Temporal as several processes.

    python -m benchmarks.temporal_servers            runs four loads and writes RESULTS.md
    python -m benchmarks.temporal_servers --folder F the same from the results in F

Not which of the two is faster in general: the development server keeps all in one process and one
SQLite file, and no deployment should.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.measure.terminal import duration
from harness.report.document import LoadResult
from harness.report.result_files import UnreadableResult, read_result
from harness.report.results_document import keep_section

RATES = (100, 1000)
KINDS = {"development": "development server", "cluster": "five processes and PostgreSQL"}
LISTENERS = 100
SECONDS = 20
FIGURES = ("response_p50", "response_p99", "submit_deliver_median_p50", "submit_deliver_median_p99")


class Line(msgspec.Struct, kw_only=True):
    """One run. Times in µs, `temporal_cores` over all of Temporal's processes and its database."""

    kind: str
    rate: int
    commit: str
    cpu: str
    cpus: int
    goodput: float
    good: bool
    temporal_cores: float
    figures: dict[str, int]


def run(kind: str, rate: int, folder: Path) -> None:
    """One load run over a new stack."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-temporal-") as data:
        subprocess.run(
            [
                *(sys.executable, "-m", "harness", "load", "--label", f"temporal-{kind}"),
                *("--rate", str(rate), "--listeners", str(LISTENERS)),
                *("--duration", f"{SECONDS}s", "--results", str(folder)),
            ],
            env={**os.environ, "SCOREBOARD_DATA_DIR": data, "SCOREBOARD_TEMPORAL_SERVER": kind},
            check=False,
        )


def lines(folder: Path) -> Iterator[Line]:
    """The runs that are in the folder, below it too."""
    for path in sorted(folder.rglob("*temporal-*.json")):
        try:
            found = read_result(path)
        except UnreadableResult:
            continue
        if not isinstance(found, LoadResult):
            continue
        cores = found.resources.cores
        yield Line(
            kind=str(found.settings["label"]).removeprefix("temporal-"),
            rate=round(found.figures["rate"] or 0),
            commit=found.machine.revision,
            cpu=found.machine.cpu,
            cpus=found.machine.cpus or 0,
            goodput=round(found.figures["goodput"] or 0, 1),
            good=found.verdict.good,
            temporal_cores=round(
                sum(used for n, used in cores.items() if n.startswith(("temporal", "postgres"))), 2
            ),
            figures={name: round(found.figures[name] or 0) for name in FIGURES},
        )


def section(found: list[Line], file: str) -> str:
    """The table."""
    first = found[0]
    rows = [
        "## Temporal as several processes",
        "",
        f"`python -m benchmarks.temporal_servers` at commit {first.commit}, "
        f"{first.cpus} CPUs ({first.cpu}), everything on one machine, {LISTENERS} listeners, "
        f"{SECONDS} s after the warm-up. Result file: [`{file}`]({file}). What differs: "
        "[decisions/real-temporal.md](docs/decisions/real-temporal.md).",
        "",
        "| Temporal | offered/s | accepted/s | response p50 | p99 | submit to delivery p50 | p99 "
        "| cores of Temporal | verdict |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for line in found:
        times = " | ".join(duration(line.figures[name]) for name in FIGURES)
        rows.append(
            f"| {KINDS[line.kind]} | {line.rate:,} | {line.goodput:,.0f} | {times} |"
            f" {line.temporal_cores:.2f} | {'good' if line.good else 'not good'} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Runs what is asked for, and writes the section. Exit status 1 when a run gave no result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="take the results from here, run nothing")
    folder = parser.parse_args().folder
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="scoreboard-temporal-results-"))
        for rate in RATES:
            for kind in KINDS:
                run(kind, rate, folder)
    found = sorted(lines(folder), key=lambda line: (line.rate, line.kind != "development"))
    if len(found) != len(RATES) * len(KINDS):
        print(f"{len(found)} of {len(RATES) * len(KINDS)} runs gave a result; all is in {folder}")
        return 1
    keep_section(Path("RESULTS.md"), "temporal", found, lambda file: section(found, file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
