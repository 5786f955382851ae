"""The specification's own examples and the promises around them, over real sockets."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace

import aiohttp
import pytest
from aiohttp_sse_client import client as independent

from scoreboard import contract
from scoreboard.tokens import mint
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, applied, running_api, token
from tests.support.eventually import eventually
from tests.support.services import mysql_connection


async def test_seeded_scores_match_the_specification(api: Api) -> None:
    status, scores, headers = await api.get("/scores")

    assert status == 200
    assert scores == [
        {"user": "Alice", "score": 1500, "userId": 1},
        {"user": "Bob", "score": 1400, "userId": 2},
    ]
    assert headers["Content-Type"] == "application/json"
    assert headers[contract.SEQ_HEADER] == "0"


async def test_submission_is_accepted_applied_and_broadcast(api: Api) -> None:
    async with api.listen() as stream:
        status, body = await api.submit(1, 10)
        [event] = await stream.until(1)

    assert status == 202
    assert body["message"] == "Score update request submitted"
    assert len(body["submissionId"]) == 36
    assert (event.event, event.id) == ("update", "1")
    assert json.loads(event.data) == {"user": "Alice", "score": 1510, "userId": 1}
    [comment] = [text for text in event.comments if text.startswith("committed ")]
    assert abs(int(comment.split()[1]) / 1e6 - time.time()) < 30
    assert (await api.scores())[0] == {"user": "Alice", "score": 1510, "userId": 1}


async def test_an_independent_client_sees_the_events(api: Api) -> None:
    async with independent.EventSource(api.url + contract.STREAM_PATH) as source:
        await api.submit(2, 200)
        event = await asyncio.wait_for(source.__anext__(), 10)

    assert event.type == "update"
    assert json.loads(event.data) == {"user": "Bob", "score": 1600, "userId": 2}
    assert event.last_event_id == "1"


async def test_an_independent_client_resumes_after_its_last_event(api: Api) -> None:
    for _ in range(5):
        await api.submit(1, 1)
    async with api.listen(0) as stream:
        await stream.until(5)

    seen: list[independent.MessageEvent] = []
    async with independent.EventSource(
        api.url + contract.STREAM_PATH, headers={"Last-Event-ID": "2"}
    ) as source:
        while len(seen) < 3:
            seen.append(await asyncio.wait_for(source.__anext__(), 10))

    assert [event.last_event_id for event in seen] == ["3", "4", "5"]


async def test_fifty_identical_posts_at_once_have_one_effect(api: Api) -> None:
    answers = await asyncio.gather(*(api.submit(1, 10, key="once") for _ in range(50)))
    # Another one that cannot be in the same batch.
    answers.append(await api.submit(1, 10, key="once"))
    async with api.listen(0) as stream:
        await stream.until(1)
        await api.submit(2, 1)
        events = await stream.until(2)

    assert {status for status, _ in answers} == {202}
    assert len({body["submissionId"] for _, body in answers}) == 1
    assert applied(events) == [
        {"user": "Alice", "score": 1510, "userId": 1},
        {"user": "Bob", "score": 1401, "userId": 2},
    ]


async def test_a_key_with_another_body_is_refused_and_has_no_effect(api: Api) -> None:
    await api.submit(1, 10, key="mine")

    status, body = await api.submit(1, 11, key="mine")

    assert (status, body["code"]) == (422, "idempotency_key_reused")
    await eventually(lambda: _score(api, "Alice", 1510))


async def test_two_principals_may_use_the_same_key(api: Api) -> None:
    first, second = await api.submit(1, 1, key="same"), await api.submit(2, 1, key="same")

    assert (first[0], second[0]) == (202, 202)
    assert first[1]["submissionId"] != second[1]["submissionId"]


async def test_without_a_key_each_post_counts(api: Api) -> None:
    await asyncio.gather(*(api.submit(1, 1) for _ in range(20)))

    await eventually(lambda: _score(api, "Alice", 1520))


async def test_the_rate_limit_is_exact_under_concurrency(settings: ServerSettings) -> None:
    settings = replace(settings, rate_limit_count=25, rate_limit_window_s=60.0)
    async with running_api(settings, embedded_worker=True) as api, api.http as http:
        statuses = Counter(
            status for status, _ in await asyncio.gather(*(api.submit(1, 1) for _ in range(90)))
        )
        others, _ = await api.submit(2, 1)
        async with http.post(
            api.url + contract.UPDATE_PATH,
            json={"userId": 1, "increment": 1},
            headers={"Authorization": f"Bearer {token(1)}"},
        ) as limited:
            body, headers = await limited.json(content_type=None), limited.headers
        await eventually(lambda: _score(api, "Alice", 1525))

    assert statuses == {202: 25, 429: 65}
    assert others == 202
    assert body["code"] == "rate_limited"
    assert 0 < int(headers["Retry-After"]) <= 60
    assert headers["RateLimit-Policy"] == '"per-user";q=25;w=60'
    assert headers["RateLimit"].startswith('"per-user";r=0;t=')


async def test_a_repeat_is_not_charged_to_the_rate_limit(settings: ServerSettings) -> None:
    settings = replace(
        settings, rate_limit_count=2, rate_limit_window_s=60.0, replay_limit_factor=5
    )
    async with running_api(settings, embedded_worker=True) as api:
        repeats = [(await api.submit(1, 1, key="k"))[0] for _ in range(11)]
        fresh = [(await api.submit(1, 1))[0] for _ in range(2)]
        one_repeat_too_many = (await api.submit(1, 1, key="k"))[0]

    assert repeats == [202] * 11
    assert fresh == [202, 429]
    assert one_repeat_too_many == 429


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"headers": {"Authorization": "Bearer nonsense"}}, 401, "unauthorized"),
        ({"headers": {"Authorization": ""}}, 401, "unauthorized"),
        (
            {
                "headers": {
                    "Authorization": "Bearer "
                    + mint(b"another-secret-of-32-bytes-or-so!", subject="1", now_s=1, ttl_s=9)
                }
            },
            401,
            "unauthorized",
        ),
        ({"headers": {"Authorization": f"Bearer {token(2)}"}}, 403, "forbidden"),
        ({"data": b'{"userId":1'}, 400, "malformed"),
        ({"data": b'{"userId":1,"increment":1.5}'}, 422, "invalid"),
        ({"data": b'{"userId":1,"increment":0}'}, 422, "invalid"),
        ({"data": b'{"userId":1,"increment":1,"admin":true}'}, 422, "invalid"),
        ({"data": b'{"userId":1,"increment":NaN}'}, 422, "invalid"),
        ({"data": b'{"userId":1,"userId":1,"increment":1}'}, 422, "invalid"),
        ({"headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"data": b" " * 16_385}, 413, "too_large"),
        ({"headers": {"X-Large": "x" * 9000}}, 431, "header_too_large"),
        ({"headers": {"Idempotency-Key": ""}}, 400, "malformed"),
        ({"headers": {"Idempotency-Key": "k" * 129}}, 400, "malformed"),
        ({"headers": {"Idempotency-Key": "a b"}}, 400, "malformed"),
    ],
)
async def test_refusals_say_why_without_repeating_input(
    api: Api, change: dict[str, object], status: int, code: str
) -> None:
    headers = {
        "Authorization": f"Bearer {token(1)}",
        "Content-Type": "application/json",
        **change.get("headers", {}),  # type: ignore[dict-item]
    }
    async with api.http.post(
        api.url + contract.UPDATE_PATH,
        data=change.get("data", b'{"userId":1,"increment":1}'),
        headers=headers,
    ) as response:
        body = await response.json(content_type=None)

    assert (response.status, body["code"], body["status"]) == (status, code, status)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert body["type"] == f"urn:scoreboard:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in str(body)
    assert (await api.scores())[0]["score"] == 1500


async def test_a_scope_allows_any_user(api: Api) -> None:
    status, _ = await api.submit(2, 5, bearer=token("game-server", any_user=True))

    assert status == 202
    await eventually(lambda: _score(api, "Bob", 1405))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/scores", 405, "method_not_allowed"),
        ("GET", "/scores/update", 405, "method_not_allowed"),
        ("GET", "/scores?limit=0", 400, "malformed"),
        ("GET", "/scores?offset=x", 400, "malformed"),
        ("GET", "/scores/stream?lastEventId=1&lastEventId=2", 400, "malformed"),
        ("GET", "/scores/stream?snapshot=yes", 400, "malformed"),
    ],
)
async def test_other_addresses_and_parameters_are_problems(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    async with api.http.request(method, api.url + path) as response:
        body = await response.json(content_type=None)

    assert (response.status, body["code"]) == (status, code)


async def test_a_last_event_id_of_another_server_gets_a_reset(api: Api) -> None:
    """A browser sends whatever the last server said, and never comes back after a refusal."""
    for value in ("-1", "abc", "1526919030474-0", "9" * 20):
        async with independent.EventSource(
            api.url + contract.STREAM_PATH, headers={"Last-Event-ID": value}
        ) as source:
            event = await asyncio.wait_for(source.__anext__(), 10)
        assert event.type == "reset"
        assert json.loads(event.data)["scores"][0]["user"] == "Alice"


async def test_an_empty_last_event_id_is_that_of_a_new_listener(api: Api) -> None:
    async with api.listen(snapshot=1, lastEventId="") as stream:
        assert [event.event for event in await stream.until(1)] == ["snapshot"]


async def test_pages_of_the_board_have_limit_offset_and_etag(api: Api) -> None:
    _, second, headers = await api.get("/scores?limit=1&offset=1")
    async with api.http.get(
        api.url + "/scores?limit=1&offset=1", headers={"If-None-Match": headers["ETag"]}
    ) as unchanged:
        pass
    await api.submit(2, 1)
    await eventually(lambda: _score(api, "Bob", 1401))
    _, third, after = await api.get("/scores?limit=1&offset=1")

    assert second == [{"user": "Bob", "score": 1400, "userId": 2}]
    assert unchanged.status == 304
    assert third == [{"user": "Bob", "score": 1401, "userId": 2}]
    assert after["ETag"] != headers["ETag"]


async def test_a_snapshot_comes_first_when_asked_for(api: Api) -> None:
    await api.submit(1, 10)
    await eventually(lambda: _score(api, "Alice", 1510))

    async with api.listen(snapshot=1) as stream:
        await api.submit(1, 10)
        events = await stream.until(2)

    assert [(event.event, event.id) for event in events] == [("snapshot", "1"), ("update", "2")]
    assert json.loads(events[0].data) == {
        "seq": 1,
        "scores": [
            {"user": "Alice", "score": 1510, "userId": 1},
            {"user": "Bob", "score": 1400, "userId": 2},
        ],
    }


async def test_many_listeners_see_every_change_in_order(api: Api) -> None:
    async with asyncio.TaskGroup() as group:
        streams = [api.listen() for _ in range(40)]
        opened = [await stream.__aenter__() for stream in streams]
        for _ in range(60):
            group.create_task(api.submit(1, 1))
        followed = [group.create_task(stream.until(60)) for stream in opened]

    expected = [{"user": "Alice", "score": 1500 + n, "userId": 1} for n in range(1, 61)]
    assert all(stream.seqs == list(range(1, 61)) for stream in opened)
    assert all(applied(task.result()) == expected for task in followed)
    for stream in streams:
        await stream.__aexit__(None, None, None)


async def test_accepted_submissions_are_rows_of_the_ledger(api: Api, mysql_url: str) -> None:
    answers = await asyncio.gather(*(api.submit(1, n) for n in range(1, 31)))
    names = {body["submissionId"].replace("-", "") for _, body in answers}
    await eventually(lambda: _score(api, "Alice", 1500 + sum(range(1, 31))))

    async with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT LOWER(HEX(submission_id)), seq FROM ledger ORDER BY seq")
        rows = await cursor.fetchall()

    assert {name for name, _ in rows} == names
    assert [seq for _, seq in rows] == list(range(1, 31))


async def test_shutdown_ends_streams_cleanly_and_loses_nothing_accepted(
    settings: ServerSettings,
) -> None:
    async with aiohttp.ClientSession() as outlives:
        async with running_api(settings, embedded_worker=True) as api:
            stream = await outlives.get(api.url + contract.STREAM_PATH)
            accepted = await asyncio.gather(*(api.submit(1, 1) for _ in range(20)))
        # A body without its last chunk would raise here.
        rest = await asyncio.wait_for(stream.content.read(), 5)

        async with running_api(settings, embedded_worker=True) as api:
            await eventually(lambda: _score(api, "Alice", 1520))
            last = max((int(n) for n in _ids(rest)), default=0)
            async with api.listen(last) as resumed:
                events = await resumed.until(20 - last)

    assert [status for status, _ in accepted] == [202] * 20
    assert [int(event.id) for event in events] == list(range(last + 1, 21))


async def test_tokens_end_with_their_expiry(api: Api) -> None:
    past = mint(SECRET, subject="1", now_s=int(time.time()) - 3600, ttl_s=60)

    status, body = await api.submit(1, 1, bearer=past)

    assert (status, body["code"]) == (401, "unauthorized")


def _ids(body: bytes) -> list[str]:
    blocks = [block for block in body.decode().split("\n\n") if "data:" in block]
    return [line[4:] for block in blocks for line in block.split("\n") if line.startswith("id: ")]


async def _score(api: Api, user: str, score: int) -> bool:
    scores = {line["user"]: line["score"] for line in await api.scores()}
    assert scores[user] == score
    return True
