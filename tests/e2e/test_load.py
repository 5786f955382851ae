"""`python -m harness load` where nothing runs: it brings its own stack, judges it, and leaves none.

The ledger is the witness, so "good" means that every row, event and answer agree.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.eventually import eventually_sync
from tests.support.reserved_ports import reserved_port
from tests.support.stack_run import ROOT, clean_environment, still_running

SECONDS = 5
RATE = 100
WARMUP = 1


@dataclass(frozen=True, kw_only=True)
class Load:
    """A load command and the stack that it started."""

    popen: "subprocess.Popen[str]"
    folder: Path

    def kill(self, name: str) -> None:
        """Ends a process of the stack with SIGKILL; returns once another runs in its place."""
        state = self.folder / "data" / "state.json"

        def pid() -> int | None:
            found: int | None = json.loads(state.read_text())["processes"][name]["pid"]
            return found

        killed = pid()
        assert killed
        os.kill(killed, signal.SIGKILL)
        eventually_sync(lambda: pid() not in (killed, None), timeout_s=30)

    def until_submitting(self) -> list[int]:
        """Waits for the first submissions; every process that the command has started by then."""

        def submitting() -> bool:
            assert self.popen.poll() is None, self.log
            histories = (self.folder / "results").glob("*/history-submitters-0.jsonl")
            return any('"submit"' in path.read_text() for path in histories)

        eventually_sync(submitting, timeout_s=90)
        return [child.pid for child in psutil.Process(self.popen.pid).children(recursive=True)]

    def verdict(self) -> dict[str, Any]:
        """The result, once the command has ended well."""
        code = self.popen.wait(120)
        assert code == 0, self.log
        [path] = (self.folder / "results").glob("*.json")
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def load(folder: Path) -> Iterator[Load]:
    with (folder / "log").open("w") as log:
        popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "harness", "load", "--results", str(folder / "results")),
                *("--rate", str(RATE), "--listeners", "20", "--players", "50"),
                "--stream-gzip",
                *("--warmup", str(WARMUP), "--duration", str(SECONDS)),
                # Figures of a shared machine do not matter, nor refusals while a process restarts.
                *("--late-limit", "5000", "--no-ceiling", "--slo", "none"),
            ],
            cwd=ROOT,
            env={**clean_environment(folder / "data"), "SCOREBOARD_PORT": str(reserved_port())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Load(popen=popen, folder=folder)
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            popen.wait(60)


def test_load_brings_its_own_stack_and_takes_it_away(tmp_path: Path) -> None:
    with load(tmp_path) as run:
        started = run.until_submitting()
        document = run.verdict()

    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == RATE * (WARMUP + SECONDS)
    assert document["totals"]["deliveries"] == 20 * document["totals"]["ok"]
    findings = {finding["invariant"].split()[0]: finding for finding in document["findings"]}
    assert set(findings) >= {"I1", "I2", "I3", "I5", "I6", "I10"}
    assert all(finding["verdict"] == "true" for finding in findings.values())
    assert "ledger rows" in findings["I1"]["looked_at"]
    assert len(started) >= 8, "MySQL, Redis, Temporal, server, worker, supervisor, two of Locust"
    assert still_running(started) == []


def test_killed_worker_and_server_lose_nothing_acknowledged(tmp_path: Path) -> None:
    with load(tmp_path) as run:
        started = run.until_submitting()
        # The server has a worker too, so one after the other every worker dies.
        for name in ("worker", "server"):
            run.kill(name)
        document = run.verdict()

    assert document["verdict"]["good"]
    assert document["findings"][0]["invariant"] == "I1 exactly once"
    assert document["findings"][0]["counts"]["acknowledged"] > 0
    assert "ledger rows" in document["findings"][0]["looked_at"]
    for name in ("worker", "server"):
        assert f"{name} was ended by SIGKILL; starting it again" in run.log
    assert still_running(started) == []
