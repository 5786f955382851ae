"""An operator's orders about players: on the board, in the ledger, for listeners, exactly once."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis import Redis

from adapters.mysql import Pool, query_all
from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard.players.orders import AddPlayer, Order
from scoreboard.tokens import SCOPE_PLAYERS, mint
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, running_api
from tests.support.eventually import eventually
from tests.support.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[2]


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    async with running_api(settings, embedded_worker=True) as running:
        yield running


def operator(subject: str = "olga") -> str:
    now_s = int(time.time())
    return mint(SECRET, subject=subject, now_s=now_s, ttl_s=600, scopes=(SCOPE_PLAYERS,))


async def ask(
    api: Api, method: str, path: str, bearer: str, key: str = "", **options: Any
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {bearer}"} | ({"Idempotency-Key": key} if key else {})
    async with api.http.request(method, api.url + path, headers=headers, **options) as response:
        return response.status, await response.json(content_type=None)


async def order(api: Api, key: str = "", bearer: str = "", **action: Any) -> tuple[int, Any]:
    body = {"reason": "a test", **action}
    return await ask(api, "POST", "/admin/players", bearer or operator(), key, json=body)


async def rows(mysql_url: str, sql: str) -> list[tuple[Any, ...]]:
    pool = Pool(mysql_address(mysql_url), size=1)
    try:
        async with pool.connection() as connection:
            [found] = await query_all(connection, f"{sql}")
            await connection.commit()
    finally:
        await pool.close()
    return found


def line(user: str, score: int, user_id: int) -> dict[str, Any]:
    return {"user": user, "score": score, "userId": user_id}


async def test_orders_reach_board_ledger_and_every_listener_in_order(
    api: Api, mysql_url: str
) -> None:
    async with api.listen() as stream:
        added = await order(api, action="add", name="Zed", score=1450)
        assert added[0] == 200
        zed = added[1]["userId"]
        assert await api.scores() == [
            line("Alice", 1500, 1),
            line("Zed", 1450, zed),
            line("Bob", 1400, 2),
        ]
        await order(api, action="rename", userId=zed, name="Žed")
        assert line("Žed", 1450, zed) in await api.scores()
        await order(api, action="set-score", userId=2, score=2000)
        assert (await api.scores())[0] == line("Bob", 2000, 2)
        removed = await order(api, action="remove", userId=zed)
        assert (removed[1]["user"], removed[1]["seq"]) == (None, 4)
        assert await api.scores() == [line("Bob", 2000, 2), line("Alice", 1500, 1)]
        events = [json.loads(e.data) for e in await stream.until(4)]

    assert events == [
        line("Zed", 1450, zed),
        line("Žed", 1450, zed),
        line("Bob", 2000, 2),
        {**line(f"removed-{zed}", 0, zed), "removed": True},
    ]
    ledger = "SELECT seq, user_id, increment, score_after, principal FROM ledger ORDER BY seq"
    assert await rows(mysql_url, ledger) == [
        (1, zed, 1450, 1450, b"olga"),
        (2, zed, 0, 1450, b"olga"),
        (3, 2, 600, 2000, b"olga"),
        (4, zed, -1450, 0, b"olga"),
    ]
    assert (await api.get(f"/scores/users/{zed}"))[0] == 404
    trail = (await ask(api, "GET", "/admin/players/changes", operator()))[1]
    assert [(each["action"], each["actor"], each["reason"]) for each in trail] == [
        (action, "olga", "a test") for action in ("remove", "set-score", "rename", "add")
    ]
    named = [each for each in trail if each["userId"] == zed]
    assert {each["name"] for each in named} | {each["nameBefore"] for each in named} == {None}


async def test_a_removed_player_is_unknown_like_one_who_never_was(api: Api) -> None:
    _, accepted = await api.submit(2, 10, key="before")
    await order(api, action="remove", userId=2)

    for user in (2, 77):
        status, problem = await api.submit(user, 10)
        assert (status, problem["code"]) == (404, "unknown_user")
    # What was accepted before keeps its answer.
    assert await api.submit(2, 10, key="before") == (202, accepted)
    assert (await order(api, action="add", name="Bob", userId=2))[0] == 409
    assert await api.scores() == [line("Alice", 1500, 1)]


async def test_a_merge_moves_the_points_in_two_ledger_rows_and_once(
    api: Api, mysql_url: str
) -> None:
    action: dict[str, Any] = {"action": "merge", "userId": 2, "into": 1}

    first, second = await asyncio.gather(*(order(api, "m1", **action) for _ in range(2)))
    late = await order(api, "m1", **action)

    assert first == second == late
    assert first[1] | {"id": ""} == {
        "id": "",
        "seq": 2,
        "userId": 1,
        "user": "Alice",
        "score": 2900,
    }
    assert await api.scores() == [line("Alice", 2900, 1)]
    ledger = "SELECT seq, user_id, increment, score_after FROM ledger ORDER BY seq"
    assert await rows(mysql_url, ledger) == [(1, 2, -1400, 0), (2, 1, 1400, 2900)]
    status, problem = await order(api, "m1", action="remove", userId=1)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        ({"action": "rename", "userId": 99, "name": "X"}, 404, "no such player"),
        ({"action": "merge", "userId": 1, "into": 99}, 404, "no such player"),
    ],
)
async def test_an_order_about_an_unknown_player_is_refused_and_stores_nothing(
    api: Api, mysql_url: str, action: dict[str, Any], status: int, words: str
) -> None:
    refused = await order(api, **action)

    assert refused[0] == status
    assert words in refused[1]["detail"]
    assert await rows(mysql_url, "SELECT 1 FROM ledger") == []


@pytest.mark.parametrize(
    "point", ["players.before_commit", "players.after_commit", "publish.before"]
)
async def test_an_order_whose_worker_fails_halfway_takes_effect_once(
    pipeline: Pipeline, failpoints: Path, point: str
) -> None:
    failpoints.write_text(f"{point} 1 raise\n")
    action = AddPlayer(name="Zed", score=1450, reason="a test")

    result = await pipeline.carry_out(Order(id=bytes(16), actor="olga", action=action))

    assert failpoints.with_name(failpoints.name + ".fired").exists()
    assert await pipeline.rows("SELECT user_id, seq FROM ledger") == [(result.user_id, 1)]
    assert await pipeline.ranking() == [(1, 1500), (result.user_id, 1450), (2, 1400)]
    assert [change.name for change in await pipeline.streamed()] == ["Zed"]


BY_HAND = {
    "UPDATE users SET score = 1600 WHERE id = 2": [line("Bob", 1600, 2), line("Alice", 1500, 1)],
    "UPDATE users SET name = 'Robert' WHERE id = 2": [
        line("Alice", 1500, 1),
        line("Robert", 1400, 2),
    ],
    "INSERT INTO users (id, name, score) VALUES (9, 'Zed', 1450)": [
        line("Alice", 1500, 1),
        line("Zed", 1450, 9),
        line("Bob", 1400, 2),
    ],
    "DELETE FROM users WHERE id = 2": [line("Alice", 1500, 1)],
}


@pytest.mark.parametrize("sql", BY_HAND, ids=lambda sql: sql.split()[0] + sql.split()[3])
async def test_a_change_by_hand_in_mysql_is_on_the_board_soon(
    api: Api, mysql_url: str, redis_url: str, sql: str
) -> None:
    # Before Redis has a board, pages come from MySQL, and no copy of it can be wrong.
    with closing(Redis.from_url(redis_url)) as redis:
        await eventually(lambda: redis.zcard(contract.RANKING_KEY) == 2)
    await eventually(lambda: shows(api, [line("Alice", 1500, 1), line("Bob", 1400, 2)]))
    async with api.listen() as stream:
        await rows(mysql_url, sql)
        await eventually(lambda: shows(api, BY_HAND[sql]))
        if not sql.startswith("INSERT"):
            [event] = await stream.until(1)
            assert (event.event, json.loads(event.data)["scores"]) == ("reset", BY_HAND[sql])


async def shows(api: Api, expected: list[dict[str, Any]]) -> bool:
    return await api.scores() == expected


async def test_a_look_now_compares_every_user_and_answers_what_it_found(
    api: Api, mysql_url: str
) -> None:
    await rows(mysql_url, "DELETE FROM users WHERE id = 2")

    status, found = await ask(api, "POST", "/admin/players/look", operator())

    assert status == 200
    assert found["users"] == 1
    assert await api.scores() == [line("Alice", 1500, 1)]


async def test_the_command_gives_orders_and_lists_players(api: Api, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)

    async def run(*words: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scoreboard_cli", "players", *words),
            *("--url", api.url, "--secret-file", str(secret)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    renamed = await run("rename", "--user", "2", "--name", "Robert", "--reason", "asked by mail")
    listed = await run("list")
    looked = await run("look-now")
    wrong = await run("merge", "--user", "1", "--into", "1", "--reason", "x")

    assert json.loads(renamed[1]) == {"userId": 2, "user": "Robert", "score": 1400, "seq": 1}
    assert [json.loads(each)["user"] for each in listed[1].splitlines()] == ["Alice", "Robert"]
    assert json.loads(looked[1]) | {"seq": 0} == {
        "seq": 0,
        "users": 2,
        "wrong": 0,
        "missing": 0,
        "surplus": 0,
    }
    assert (wrong[0], "merged with itself" in wrong[2]) == (2, True)
