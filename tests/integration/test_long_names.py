"""Names as long as the specification allows, through every way that a client reads them."""

import pytest
import pytest_asyncio

from adapters.mysql import Pool, query_all
from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard_client import ScoreboardClient
from server.settings import ServerSettings
from tests.support.api import Api, applied, running_api, token
from tests.support.eventually import eventually
from worker.database.migrate import migrate

NAME = "🏆ß" * 127 + "𝕏"


@pytest_asyncio.fixture
async def users(mysql_url: str) -> None:
    """As many as a batch may have, each with the longest name."""
    pool = Pool(mysql_address(mysql_url), size=1)
    try:
        await migrate(pool)
        async with pool.connection() as connection:
            values = ",".join(f"('{NAME[:250]}{number:05d}')" for number in range(500))
            await query_all(
                connection,
                f"INSERT INTO users (name, score) VALUES ('{NAME}', 9000);"
                f" INSERT INTO users (name) VALUES {values}; COMMIT",
            )
    finally:
        await pool.close()


@pytest.mark.usefixtures("users")
async def test_a_name_of_255_characters_is_shown_everywhere(settings: ServerSettings) -> None:
    assert len(NAME) == 255

    async with running_api(settings, embedded_worker=True, prepare=False) as api:
        async with api.listen() as stream:
            assert (await api.submit(1, 10))[0] == 202
            events = await stream.until(1)
        await eventually(lambda: _leads(api, 9010))
        _, around, _ = await api.get(f"{contract.USERS_PATH}/1")
        async with ScoreboardClient(api.url) as client:
            first = (await client.top()).scores[0]

    assert applied(events) == [{"user": NAME, "score": 9010, "userId": 1}]
    assert around["user"] == NAME
    assert (first.user, first.score) == (NAME, 9010)


@pytest.mark.usefixtures("users")
async def test_a_batch_of_the_longest_names_is_applied(settings: ServerSettings) -> None:
    items = [{"userId": number, "increment": 20_000} for number in range(2, 502)]

    async with running_api(settings, embedded_worker=True, prepare=False) as api:
        headers = {"Authorization": f"Bearer {token(any_user=True)}"}
        path = f"{api.url}{contract.OUTCOMES_PATH}"
        async with api.http.post(path, json=items, headers=headers) as response:
            results = await response.json()
        await eventually(lambda: _leads(api, 20_000))

    assert {result["status"] for result in results} == {202}


async def _leads(api: Api, score: int) -> bool:
    return bool((await api.scores())[0]["score"] == score)
