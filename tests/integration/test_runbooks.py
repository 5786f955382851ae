"""The runbooks' commands, word for word, in order, against real services."""

import asyncio
import os
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis as sync_redis

from scoreboard.addresses import mysql_address
from server.settings import ServerSettings
from stack.services import programs
from tests.support.api import Api, running_api

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNBOOKS = sorted(path.name for path in FOLDER.glob("*.md"))


def blocks(name: str) -> list[str]:
    return BLOCK.findall((FOLDER / name).read_text("utf-8"))


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    async with running_api(settings, embedded_worker=True) as running:
        assert (await running.submit(1, 10, key="known"))[0] == 202
        yield running


@pytest.fixture
def environment(
    api: Api, settings: ServerSettings, mysql_url: str, redis_url: str
) -> Iterator[dict[str, str]]:
    """As on the machine of the person on call, and Redis' settings as they were afterwards."""
    place = mysql_address(mysql_url)
    client = ["mariadb", "-h", place.host, "-P", str(place.port), "-u", place.user]
    scripts = Path(programs.temporal()).parent
    with sync_redis.Redis.from_url(redis_url) as admin:
        before = {name: admin.config_get(name)[name] for name in CHANGED}
        yield {
            **os.environ,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "API": api.url,
            "MYSQL": shlex.join([*client, f"-p{place.password}", place.database]),
            "REDIS": f"redis-cli -u {redis_url}",
            "TEMPORAL": f"temporal --address {settings.temporal_address} --namespace default",
            "SCOREBOARD_MYSQL_URL": mysql_url,
            "SCOREBOARD_REDIS_URL": redis_url,
            "SCOREBOARD_TEMPORAL_ADDRESS": settings.temporal_address,
            "SCOREBOARD_TASK_QUEUE": settings.task_queue,
        }
        for name, value in before.items():
            admin.config_set(name, value)


CHANGED = ("maxmemory", "stop-writes-on-bgsave-error")


@pytest.mark.parametrize("name", RUNBOOKS)
async def test_every_command_works(name: str, api: Api, environment: dict[str, str]) -> None:
    assert blocks(name)
    for block in blocks(name):
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", block),
            env=environment,
            cwd=FOLDER.parents[1],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)

        assert process.returncode == 0, f"{block}\n{out.decode()}"
    assert (await api.submit(1, 1))[0] == 202


def test_each_page_shows_does_and_ends() -> None:
    for name in set(RUNBOOKS) - {"README.md"}:
        text = (FOLDER / name).read_text("utf-8")
        assert "**Shows as**" in text, name
        assert "## Do\n" in text, name
        assert "## Over when\n" in text, name
        assert f"({name})" in (FOLDER / "README.md").read_text("utf-8")
