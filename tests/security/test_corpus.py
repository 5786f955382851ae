"""Every attack of the corpus over a raw socket, on the whole pipeline: refused, no effect."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio

from server.settings import ServerSettings
from tests.security.attack import attack
from tests.support.api import Api, running_api
from tests.support.eventually import eventually
from tests.support.services import mysql_connection


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    settings = replace(settings, request_timeout_s=2.0)
    async with running_api(settings, embedded_worker=True) as api:
        yield api


async def test_no_attack_succeeds_fails_the_server_or_leaves_a_trace(
    api: Api, mysql_url: str
) -> None:
    tally = await attack(api.port)
    # A good one after all of them: what would have come before it has come.
    status, accepted = await api.submit(2, 5)

    async def applied() -> bool:
        scores = {line["user"]: line["score"] for line in await api.scores()}
        return bool(scores["Bob"] == 1405)

    await eventually(applied)
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT LOWER(HEX(submission_id)), increment FROM ledger")
        ledger = await cursor.fetchall()

    assert tally.unexpected == []
    assert tally.server_errors == 0
    assert tally.inputs >= 300
    assert status == 202
    assert ledger == ((accepted["submissionId"].replace("-", ""), 5),)


async def test_names_that_mean_something_elsewhere_stay_text(api: Api, mysql_url: str) -> None:
    """To the database, to an event stream, to a page: they are users' names and nothing else."""
    names = [
        "x'); DROP TABLE ledger; -- ",
        "a\r\n\r\nid: 999\r\nevent: reset\r\ndata: {}\r\n\r\n",
        "\x1b[31mred\x07",
        "</script><script>alert(1)</script>",
        "%s %d {0} ${x}",
        "\u202egnp.exe",
        "\\",
    ]
    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        for number, name in enumerate(names, start=10):
            await cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (number, name))

    async with api.listen() as stream:
        for number in range(10, 10 + len(names)):
            status, _ = await api.submit(number, 9000 + number)
            assert status == 202
        events = await stream.until(len(names))

    assert [event.event for event in events] == ["update"] * len(names)
    assert stream.seqs == list(range(1, len(names) + 1))
    board = {line["user"]: line["score"] for line in await api.scores()}
    assert board == {
        "Alice": 1500,
        "Bob": 1400,
        **{name: 9000 + number for number, name in enumerate(names, start=10)},
    }
