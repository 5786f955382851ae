"""How much memory the harness's own processes take per event of a long run.

    python -m benchmarks.soak --write RESULTS.md     two loads of some minutes on the null server

From two points of each run, since what is there at the start does not grow. Not a measurement of
a server: the null server only has to keep up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.peers.literal.start import serving
from harness.engines.standalone import null_server
from harness.measure.bottleneck import OWN_PREFIX
from harness.report.document import LoadResult
from harness.report.result_files import read_result_as
from harness.report.results_document import keep_section

RATE, LISTENERS, SECONDS, FROM_S = 1000, 20, 200, 60
"""FROM_S: connections are open, buffers have their size, and the first seconds are packed."""
PLAYERS = 1000
KINDS = {"ids": "event ids to follow", "content": "events by content"}
WHAT = {"coordinator": "coordinator", "submitters": "sender", "listeners": "listeners"}


class Slope(msgspec.Struct, kw_only=True):
    """One process of one run: memory at two points, in MiB, and the events in between."""

    kind: str
    process: str
    first_mib: float
    last_mib: float
    events: int
    seconds: int

    @property
    def bytes_per_event(self) -> float:
        """How fast it grew."""
        return (self.last_mib - self.first_mib) * 2**20 / self.events

    @property
    def mib_per_hour(self) -> float:
        """The same by time, at the rate of the run."""
        return (self.last_mib - self.first_mib) * 3600 / self.seconds


def slopes(kind: str, document: LoadResult) -> Iterator[Slope]:
    """What each process of the harness grew by between FROM_S and the end of the window."""
    measured = [s for s in document.resources.samples if FROM_S <= s.t < document.window.end]
    first, last = measured[0], measured[-1]
    events = sum(s.counters.get("ok", 0) for s in document.seconds if first.t <= s.t < last.t)
    for name in WHAT:
        process = f"{OWN_PREFIX}{name}"
        yield Slope(
            kind=kind,
            process=name,
            first_mib=first.processes[process]["rss_mib"],
            last_mib=last.processes[process]["rss_mib"],
            events=events,
            seconds=last.t - first.t,
        )


def load(url: str, secret: str, seconds: int, folder: Path) -> LoadResult:
    """One run. Raises OSError when it left no result."""
    path = folder / "result.json"
    path.unlink(missing_ok=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "scoreboard_cli", "load", "--host", url, "--no-ceiling"),
            *("--rate", str(RATE), "--listeners", str(LISTENERS), "--players", str(PLAYERS)),
            *("--duration", f"{seconds}s", "--warmup", "5s", "--late-limit", "2000"),
            *("--results", str(folder), "--result-file", str(path), "--no-seed"),
        ],
        env={"SCOREBOARD_JWT_SECRET": secret, "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return read_result_as(path, LoadResult)


def measure(seconds: int) -> Iterator[tuple[str, LoadResult]]:
    """A run against a server with event ids, and one against a server without."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-soak-") as folder:
        with null_server(players=PLAYERS) as (url, _):
            yield "ids", load(url, "0" * 64, seconds, Path(folder))
        with serving("node", users=PLAYERS) as server:
            yield "content", load(server.url, server.secret, seconds, Path(folder))


def markdown(rows: list[Slope], document: LoadResult, file: str) -> str:
    """The section of RESULTS.md."""
    machine = document.machine
    lines = [
        "## Soak: memory per event",
        "",
        f"`python -m benchmarks.soak` at commit {machine.revision}, {machine.cpus} CPUs"
        f" ({machine.cpu}): {RATE:,} submissions/s and {LISTENERS} listeners; resident memory at"
        f" second {FROM_S} and at the end of the run. What it is made of and where it is bounded:"
        f" [docs/traffic.md](docs/traffic.md#soak). Result file: [`{file}`]({file}).",
        "",
        "| server | process | MiB at first | MiB at the end | events between | bytes per event |"
        " MiB per hour at this rate |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {KINDS[row.kind]} | {WHAT[row.process]} | {row.first_mib:.1f} | {row.last_mib:.1f}"
            f" | {row.events:,} | {row.bytes_per_event:.0f} | {row.mib_per_hour:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of each run ({SECONDS})")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into RESULTS.md")
    asked = parser.parse_args()
    rows: list[Slope] = []
    for kind, document in measure(asked.seconds):
        rows += slopes(kind, document)
    for row in rows:
        told = {**msgspec.to_builtins(row), "bytes_per_event": round(row.bytes_per_event, 1)}
        print(json.dumps(told), flush=True)
    if asked.write is not None:
        keep_section(asked.write, "soak", rows, lambda file: markdown(rows, document, file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
