"""The harness and servers that know the specification alone: acquitted, or convicted by name.

Each lie is told by one language here; `python -m benchmarks.peers.literal` runs all of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.literal.__main__ import run_trials
from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.start import LANGUAGES, Literal, missing, serving
from benchmarks.peers.literal.verdicts import HONEST
from tests.support.programs import need

ROOT = Path(__file__).parents[2]
LOAD = (
    "--late-limit",
    "2000",
    "--rate",
    "60",
    "--players",
    "12",
    "--listeners",
    "5",
    "--warmup",
    "1",
    "--duration",
    "2",
)


def commanded(server: Literal, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command on this server."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "SCOREBOARD_JWT_SECRET": server.secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("language", LANGUAGES)
async def test_honest_server_is_acquitted_and_lying_ones_are_convicted_by_name(
    language: str,
) -> None:
    need(not missing(language), missing(language))
    lies = list(LIES)[LANGUAGES.index(language) :: len(LANGUAGES)]

    # Runs wait more than they compute, also those of the other tests.
    trials = await run_trials([(language, lie, 1) for lie in (HONEST, *lies)], jobs=2)

    assert len(trials) == 8
    assert [trial for trial in trials if not trial.held] == []


def test_locust_acquits_an_honest_server_and_check_agrees(tmp_path: Path) -> None:
    with serving("python", users=12) as server:
        code, said = commanded(
            *(server, "locust", "-f", "loadtests/", "--headless", "--only-summary"),
            *("--host", server.url, "--results", str(tmp_path), *LOAD),
        )
    assert code == 0, said
    [result] = tmp_path.glob("*.json")
    run_id = json.loads(result.read_text("utf-8"))["run_id"]

    code, said = commanded(server, "scoreboard_cli", "check", str(tmp_path / run_id), "--json")

    assert code == 0, said
    assert json.loads(said)["verdict"] == "true"


def test_capacity_of_an_honest_server_is_found(tmp_path: Path) -> None:
    with serving("node") as server:
        code, said = commanded(
            *(server, "scoreboard_cli", "capacity", "--host", server.url),
            *("--results", str(tmp_path), "--slo", "errors<1%", "--listeners", "5"),
            *("--duration", "2", "--warmup", "1"),
            *("--start", "60", "--most", "60", "--repeats", "1"),
        )

    assert code == 0, said
    assert "at least 60 submissions/s with 5 listeners" in said
