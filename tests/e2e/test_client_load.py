"""`loadtests/clients.py` runs when it is named, and only then."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engines.standalone import null_server
from tests.support.api import SECRET, Api
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SCOREBOARD_", "LOCUST_"))},
        "SCOREBOARD_JWT_SECRET": SECRET.decode(),
        # No stack that a developer may run.
        "SCOREBOARD_DATA_DIR": str(tmp_path),
    }


async def locust(
    tmp_path: Path, enough: Callable[[], Awaitable[bool]], *arguments: str
) -> tuple[int | None, list[dict[str, Any]], str]:
    """Exit status and statistics of a headless run that is ended at `enough`, and its log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--json", *arguments),
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output = asyncio.create_task(process.communicate())

    async def ended_or_enough() -> bool:
        return output.done() or await enough()

    try:
        await eventually(ended_or_enough, timeout_s=90)
    finally:
        if not output.done():
            process.terminate()
        out, err = await output
    return process.returncode, json.loads(out), err.decode()


@pytest.mark.parametrize("where", ["loadtests/clients.py", "loadtests/ ApplicationUser"])
async def test_applications_submit_through_the_client_and_see_it_applied(
    api: Api, tmp_path: Path, where: str
) -> None:
    file, *names = where.split()

    async def points() -> int:
        return sum(row["score"] for row in await api.scores())

    before = await points()

    async def some_applied() -> bool:
        return await points() >= before + 10

    code, stats, said = await locust(
        tmp_path,
        some_applied,
        *("-f", file, *names, "--host", api.url, "--players", "2"),
        *("--users", "4", "--spawn-rate", "4"),
    )

    assert code == 0, said
    assert {each["name"] for each in stats} == {"submit", "submit to applied"}, said
    assert {each["method"] for each in stats} == {"client"}
    assert {each["num_failures"] for each in stats} == {0}
    applied = next(each for each in stats if each["name"] == "submit to applied")
    assert 0 < applied["num_requests"] <= await points() - before
    submitted = next(each for each in stats if each["name"] == "submit")
    assert applied["max_response_time"] > submitted["min_response_time"] > 0


async def test_the_whole_folder_is_the_open_loop_scenario_alone(tmp_path: Path) -> None:
    async def judged() -> bool:
        return bool(list(tmp_path.glob("results/*.html")))

    with null_server(players=100) as (url, _):
        code, stats, said = await locust(
            tmp_path,
            judged,
            *("-f", "loadtests/", "--host", url, "--results", str(tmp_path / "results")),
            *("--rate", "100", "--listeners", "20", "--players", "100", "--warmup", "1"),
            *("--duration", "2", "--late-limit", "2000"),
        )

    assert code == 0, said
    assert {each["method"] for each in stats} == {"POST", "SSE"}
    [path] = (tmp_path / "results").glob("*.json")
    document = json.loads(path.read_text())
    assert document["verdict"]["good"]
    assert document["totals"]["ok"] == 300
    assert [member["kind"] for member in document["members"]] == ["submitters", "listeners"]


async def test_without_a_server_the_run_has_failed(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    code, stats, said = await locust(
        tmp_path, never, *("-f", "loadtests/clients.py", "--run-time", "2s")
    )

    assert code == 1
    assert [each["num_failures"] for each in stats] == [1]
    assert "no server: start one with `make up`" in said
