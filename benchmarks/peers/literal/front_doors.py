"""Every front door of the harness on every honest literal server, and the table of what each said.

Not the count of verdicts (`verdicts`): one run for each server and door, through the command that a
person would type.
"""

import json
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.backends import fresh_surroundings, open_backends
from benchmarks.peers.literal.start import LANGUAGES, Literal, serving
from benchmarks.peers.processes import said_by, words_of
from harness.measure.machine import commit_of
from harness.measure.terminal import duration

SECTION = "front-doors"
"""The name of the section in RESULTS.md and of the file kept for it."""
SERVERS = ("fiber", *LANGUAGES)
SHOWN_AS = {"fiber": "Go: Fiber, Temporal, MySQL, Redis"} | {
    name: f"{told}, in memory"
    for name, told in (("python", "Python"), ("node", "Node"), ("go", "Go"))
}
PLAYERS = 100
RATES = {"fiber": 15} | dict.fromkeys(LANGUAGES, 40)
"""About half of what Fiber's stack sustains; the others sustain far more."""
SAMPLES, SEARCH_SAMPLES = 1200, 320
"""Enough for p99, and for p95."""
COMMON = {
    "players": str(PLAYERS),
    "listeners": "20",
    "warmup": "2s",
    "late-limit": "2000",
}
STAGES = ("first", "median", "last")
TIMEOUT_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one door said of one server under `rate` submissions/s (`capacity`: from there on).

    `times_us` are p50 and p99 from submission to the first, median and last listener.
    """

    server: str
    rate: int
    door: str
    exit_code: int
    verdict: str
    times_us: Mapping[str, float | None]
    commit: str = ""

    @property
    def held(self) -> bool:
        """An honest server was acquitted."""
        return self.exit_code == 0


def load_of(server: str) -> dict[str, str]:
    """The options of a load run of this server."""
    rate = RATES[server]
    return {**COMMON, "rate": str(rate), "duration": f"{SAMPLES // rate}s"}


def search_of(server: str) -> dict[str, str]:
    """The options of a search for its capacity, which ends at twice the rate of the load."""
    rate = RATES[server]
    return {
        **COMMON,
        "slo": "p95<1s,errors<1%",
        "duration": str(SEARCH_SAMPLES // rate),
        "warmup": "2",
        "start": str(rate),
        "most": str(2 * rate),
        "precision": "0.25",
        "repeats": "1",
    }


def times_of(document: Mapping[str, Any]) -> dict[str, float | None]:
    """The times from submission to listener of a load run's result."""
    figures = document.get("figures", {})
    return {
        f"{stage}_{point}": figures.get(f"submit_deliver_{stage}_{point}")
        for stage in STAGES
        for point in ("p50", "p99")
    }


def verdict_of(document: Mapping[str, Any]) -> str:
    """Its three questions in words."""
    verdict = document.get("verdict", {})
    return ", ".join(
        word if verdict.get(name) else f"not {word}"
        for name, word in (("valid", "valid"), ("correct", "correct"), ("within_slo", "within SLO"))
    )


async def enter(server: Literal) -> list[Entry]:
    """One entry for each door, in the order of the table."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-doors-") as name:
        folder = Path(name)
        made, found = folder / "make", folder / "found"
        entries = [
            await _load(server, "`make load`", made, _make),
            await _load(server, "`locust -f loadtests/`", folder / "locust", _locust),
        ]
        history = next((path for path in made.iterdir() if path.is_dir()), made)
        code, said = await _said(server, *_command("check"), str(history), "--json")
        checked = json.loads(said) if said.startswith("{") else {"verdict": said[-200:]}
        entries.append(
            Entry(
                server=server.language,
                rate=RATES[server.language],
                door="`scoreboard check` of the first run",
                exit_code=code,
                verdict="correct" if checked["verdict"] == "true" else str(checked["verdict"]),
                times_us={},
            )
        )
        code, said = await _said(
            server,
            *(*_command("capacity"), "--host", server.url, "--no-seed"),
            *words_of({**search_of(server.language), "results": str(found)}),
        )
        trials = [json.loads(path.read_text("utf-8")) for path in found.glob("*/trial-*.json")]
        good = [trial for trial in trials if trial["verdict"]["good"]]
        best: dict[str, Any] = max(
            good, key=lambda trial: trial["figures"]["rate"] or 0, default={}
        )
        told = (line for line in said.splitlines() if "submissions/s with" in line)
        entries.append(
            Entry(
                server=server.language,
                rate=RATES[server.language],
                door="`scoreboard capacity`",
                exit_code=code,
                verdict=next(told, said).strip().partition(", within")[0][-200:],
                times_us=times_of(best),
            )
        )
        return entries


async def _load(
    server: Literal, door: str, folder: Path, command: Callable[[Sequence[str]], Sequence[str]]
) -> Entry:
    words = words_of({"host": server.url, **load_of(server.language), "results": str(folder)})
    code, said = await _said(server, *command(words))
    document: dict[str, Any] = next(
        (json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")), {}
    )
    return Entry(
        server=server.language,
        rate=RATES[server.language],
        door=door,
        exit_code=code,
        verdict=verdict_of(document) if document else said[-200:],
        times_us=times_of(document),
    )


def _make(words: Sequence[str]) -> tuple[str, ...]:
    return "make", "load", f"ARGS={shlex.join([*words, '--no-seed', '--no-ceiling'])}"


def _locust(words: Sequence[str]) -> tuple[str, ...]:
    command = (sys.executable, "-m", "locust", "-f", "loadtests/", "--headless", "--only-summary")
    return *command, *words


def _command(name: str) -> tuple[str, ...]:
    return sys.executable, "-m", "scoreboard_cli", name


async def _said(server: Literal, *command: str) -> tuple[int, str]:
    """Exit code and output of a command on this server."""
    secret = {"SCOREBOARD_JWT_SECRET": server.secret}
    return await said_by(command, secret, timeout_s=TIMEOUT_S)


async def enter_all(servers: Sequence[str]) -> list[Entry]:
    """Every door of each of these servers, one after the other."""
    entries: list[Entry] = []
    for name in servers:
        async with _surroundings(name) as environ:
            with serving(name, users=PLAYERS, environ=environ) as server:
                entries += await enter(server)
    return entries


@asynccontextmanager
async def _surroundings(name: str) -> AsyncIterator[dict[str, str]]:
    """The services of the server on the specification's own stack; the others need none."""
    if name != "fiber":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="scoreboard-doors-") as folder:
        async with open_backends(Path(folder)) as backends, fresh_surroundings(backends) as ours:
            yield {
                name: ours[f"SCOREBOARD_{name}"]
                for name in ("MYSQL_URL", "REDIS_URL", "TEMPORAL_ADDRESS", "TASK_QUEUE")
            }


def document(entries: Iterable[Entry], machine: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered, in the order of the servers."""
    ordered = sorted(entries, key=lambda entry: SERVERS.index(entry.server))
    return {
        "version": 1,
        "machine": dict(machine),
        "load": COMMON,
        "entries": [asdict(entry) for entry in ordered],
    }


def markdown(document: Mapping[str, Any], file: str) -> str:
    """The section of RESULTS.md; `file` is where the entries are kept."""
    machine, load = document["machine"], document["load"]
    entries = [Entry(**entry) for entry in document["entries"]]
    commits = dict.fromkeys(entry.commit or commit_of(machine) for entry in entries)
    lines = [
        "## Every front door on honest servers of others",
        "",
        "`python -m benchmarks.peers.literal --front-doors --write RESULTS.md`: the commands of"
        " this harness on [honest servers that know the specification alone]"
        f"(benchmarks/peers/literal/README.md). {SAMPLES:,} submissions at the rate of the table,"
        f" {load['listeners']} listeners, {load['warmup']} of warm-up; `capacity` begins at this"
        " rate and tries up to twice as much. Times are p50 and p99 from submission to the first,"
        f" median and last listener, told by content alone. Commit {', '.join(commits)},"
        f" {machine['cpus']} × {machine['cpu']}. Result file: [`{file}`]({file}).",
        "",
        "| server | submissions/s | command | exit code | verdict | first listener | median"
        " | last |",
        "|---|--:|---|--:|---|--:|--:|--:|",
    ]
    for entry in entries:
        cells = (f"{_times(entry, stage)}" for stage in STAGES)
        verdict = entry.verdict.replace("|", "\\|").replace("\n", " ")
        lines.append(
            f"| {SHOWN_AS[entry.server]} | {entry.rate} | {entry.door} | {entry.exit_code} |"
            f" {verdict} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _times(entry: Entry, stage: str) -> str:
    told = [entry.times_us.get(f"{stage}_{point}") for point in ("p50", "p99")]
    return "–" if told[0] is None else " / ".join(duration(value) for value in told)
