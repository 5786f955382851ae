"""The client against a server over real sockets whose faults are scripted."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio
from aiohttp import web

from scoreboard import sse
from scoreboard_client import (
    BadAnswer,
    ClientError,
    EffectUnknown,
    Refused,
    Reset,
    RetryPolicy,
    ScoreboardClient,
    Snapshot,
    StreamEvent,
    Unreachable,
)
from scoreboard_client.client import STREAM_BREACHES_MAX
from tests.support.scripted_api import (
    ScriptedApi,
    hang_up,
    hello,
    refuse,
    scripted_api,
    snapshot,
    standing,
    stream,
    updates,
)

QUICK = RetryPolicy(attempts=4, initial_s=0.01, max_s=0.02, deadline_s=5)


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with scripted_api() as running:
        yield running


@pytest_asyncio.fixture
async def client(api: ScriptedApi) -> AsyncIterator[ScoreboardClient]:
    async with ScoreboardClient(
        api.url, token="t", retry=QUICK, attempt_timeout_s=0.5, rng=random.Random(3)
    ) as opened:
        yield opened


async def reset(request: web.Request) -> web.Response:
    return hang_up(request)


async def hang(request: web.Request) -> web.Response:
    del request
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def take(
    client: ScoreboardClient, count: int, last_event_id: int | None = None, snapshot: bool = False
) -> list[StreamEvent]:
    found = []
    async with (
        asyncio.timeout(10),
        aclosing(client.follow(last_event_id=last_event_id, snapshot=snapshot)) as events,
    ):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_submission_is_sent_with_token_key_and_body(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    accepted = await client.submit(user_id=1, increment=10, idempotency_key="k1")

    assert accepted.submission_id == "id-of-k1"
    assert accepted.attempts == 1
    assert api.effects == {"k1": {"userId": 1, "increment": 10}}
    assert api.tokens == ["Bearer t"]


async def test_two_submissions_without_a_key_are_two(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    await client.submit(user_id=1, increment=1)
    await client.submit(user_id=1, increment=1)

    assert len(api.effects) == 2


async def test_lost_answers_are_repeated_with_the_same_key_and_count_once(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.answers = [
        api.accept_and_hang_up,
        refuse(503, "unavailable"),
        hang,
    ]

    accepted = await client.submit(user_id=1, increment=5)

    assert accepted.attempts == 4
    assert api.keys == [accepted.idempotency_key] * 4
    assert len(api.effects) == 1


async def test_token_is_asked_anew_for_each_attempt(api: ScriptedApi) -> None:
    api.answers = [refuse(503, "unavailable")]
    numbers = itertools.count(1)
    async with ScoreboardClient(api.url, token=lambda: f"t{next(numbers)}", retry=QUICK) as client:
        await client.submit(user_id=1, increment=1)

    assert api.tokens == ["Bearer t1", "Bearer t2"]


async def test_retry_after_is_honoured(api: ScriptedApi, client: ScoreboardClient) -> None:
    api.answers = [refuse(429, "rate_limited", Retry_After="1")]
    began = time.monotonic()

    accepted = await client.submit(user_id=1, increment=1)

    assert time.monotonic() - began >= 1.0
    assert accepted.attempts == 2


async def test_retry_after_beyond_the_deadline_fails_at_once(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.answers = [refuse(429, "rate_limited", Retry_After="60")]
    began = time.monotonic()

    with pytest.raises(Refused) as caught:
        await client.submit(user_id=1, increment=1)

    assert time.monotonic() - began < 1
    assert caught.value.problem.code == "rate_limited"
    assert caught.value.problem.retry_after_s == 60


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "malformed"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (413, "too_large"),
        (422, "invalid"),
        (422, "idempotency_key_reused"),
    ],
)
async def test_refusals_are_not_repeated(
    api: ScriptedApi, client: ScoreboardClient, status: int, code: str
) -> None:
    api.answers = [refuse(status, code)]

    with pytest.raises(Refused) as caught:
        await client.submit(user_id=1, increment=1)

    assert (caught.value.problem.status, caught.value.problem.code) == (status, code)
    assert "because" in str(caught.value)
    assert len(api.keys) == 1


async def test_refusal_after_a_lost_answer_leaves_the_effect_unknown(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.answers = [api.accept_and_hang_up, refuse(401, "unauthorized")]

    with pytest.raises(EffectUnknown) as caught:
        await client.submit(user_id=1, increment=1)

    assert caught.value.idempotency_key in str(caught.value)
    settled = await client.submit(
        user_id=1, increment=1, idempotency_key=caught.value.idempotency_key
    )
    assert list(api.effects) == [settled.idempotency_key]


@pytest.mark.parametrize("fault", [reset, hang, refuse(500, "internal"), refuse(502, "proxy")])
async def test_faults_without_end_leave_the_effect_unknown(
    api: ScriptedApi, client: ScoreboardClient, fault: object
) -> None:
    api.answers = [fault] * 4  # type: ignore[list-item]

    with pytest.raises(EffectUnknown):
        await client.submit(user_id=1, increment=1)

    assert len(api.keys) == 4


async def test_refusals_to_wait_out_change_nothing(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.answers = [refuse(429, "rate_limited")] * 4

    with pytest.raises(Refused):
        await client.submit(user_id=1, increment=1)


async def test_server_that_refuses_connections_is_unreachable_without_effect() -> None:
    async with ScoreboardClient("http://127.0.0.1:9", retry=QUICK) as client:
        with pytest.raises(Unreachable):
            await client.submit(user_id=1, increment=1)


async def test_malformed_acceptance_leaves_the_effect_unknown(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        del request
        return web.Response(status=202, text="<html>")

    api.answers = [nonsense]

    with pytest.raises(EffectUnknown, match="malformed"):
        await client.submit(user_id=1, increment=1)


@pytest.mark.parametrize("key", ["", "with space", "x" * 129, "näh", "a\r\nb"])
async def test_malformed_keys_are_refused_before_anything_is_sent(
    api: ScriptedApi, client: ScoreboardClient, key: str
) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        await client.submit(user_id=1, increment=1, idempotency_key=key)

    assert api.keys == []


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://host", "http://", "http://h/?q=1"])
def test_malformed_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        ScoreboardClient(url)


async def test_token_never_follows_a_redirect(api: ScriptedApi, client: ScoreboardClient) -> None:
    async with scripted_api() as elsewhere:
        api.answers = [refuse(307, "moved", Location=elsewhere.url + "/scores/update")]

        with pytest.raises(ClientError):
            await client.submit(user_id=1, increment=1)

        assert elsewhere.tokens == []


async def test_top_reads_a_page_and_its_seq(api: ScriptedApi, client: ScoreboardClient) -> None:
    api.scores, api.seq = [standing("Alice", 1500), standing("Bob", 1400)], 12
    api.answers = [refuse(503, "unavailable", Retry_After="0"), reset]

    top = await client.top(limit=1, offset=1)

    assert top.seq == 12
    assert top.scores == (standing("Bob", 1400),)


async def test_top_asks_for_all_that_a_read_an_outcome_or_a_stream_has_shown(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    async def of_outcome(request: web.Request) -> web.Response:
        del request
        return web.json_response({"submissionId": "s", "status": "applied", "seq": 14})

    reset_to_3 = b'id: 3\nevent: reset\ndata: {"seq":3,"scores":[]}\n\n'
    api.streams = [stream(hello(14), updates(15), then="stay"), stream(reset_to_3, then="stay")]
    api.seq = 12

    await client.top()
    await client.top()
    api.answers = [of_outcome]
    await client.outcome("s")
    await client.top()
    for last_event_id in (14, 15):
        async with aclosing(client.follow(last_event_id=last_event_id)) as events:
            await anext(events)
        await client.top()

    assert api.floors == [None, "12", "14", "15", "3"]


async def test_top_reports_a_board_it_cannot_read(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        del request
        return web.json_response({"scores": []})

    api.answers = [nonsense]

    with pytest.raises(BadAnswer, match="malformed"):
        await client.top()


async def test_follow_resumes_after_ends_and_resets_without_gap_or_repeat(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [
        stream(hello(4), updates(5, 6)),
        stream(hello(6), updates(7), then="reset"),
        refuse(503, "unavailable"),
        reset,
        # Cut inside a block: change 9 has not arrived.
        stream(hello(7), updates(8) + updates(9)[:-9]),
        stream(hello(8), updates(7, 8, 9, 10), then="stay"),
    ]

    events = await take(client, 6)

    assert [event.seq for event in events] == [5, 6, 7, 8, 9, 10]
    assert api.last_event_ids == [None, "6", "7", "7", "7", "8"]


async def test_follow_before_the_first_event_resumes_from_the_first_block(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [stream(hello(41)), stream(hello(41), updates(42), then="stay")]

    await take(client, 1)

    assert api.last_event_ids == [None, "41"]


async def test_follow_asks_for_the_snapshot_only_while_it_has_nothing(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [
        refuse(503, "unavailable"),
        stream(hello(4), snapshot(sse.SNAPSHOT, 4, standing("Alice", 9))),
        stream(hello(4), updates(5), then="stay"),
    ]

    events = await take(client, 2, snapshot=True)

    assert events[0] == Snapshot(seq=4, scores=(standing("Alice", 9),))
    assert api.stream_queries == ["snapshot=1", "snapshot=1", ""]


async def test_follow_yields_resets_and_goes_on_from_them(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [stream(hello(90), snapshot(sse.RESET, 90), updates(91), then="stay")]

    events = await take(client, 2, last_event_id=3)

    assert events[0] == Reset(seq=90, scores=())
    assert events[1].seq == 91
    assert api.last_event_ids == ["3"]


async def test_follow_leaves_a_silent_stream(api: ScriptedApi) -> None:
    api.streams = [
        stream(hello(1), then="stay"),
        stream(hello(1), updates(2), then="stay"),
    ]
    async with ScoreboardClient(api.url, retry=QUICK, idle_timeout_s=0.2) as client:
        events = await take(client, 1)

    assert events[0].seq == 2


async def test_follow_reconnects_over_a_gap_and_gives_up_when_it_stays(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [stream(hello(1), updates(2, 4))] + [
        stream(hello(2), updates(4)) for _ in range(STREAM_BREACHES_MAX)
    ]

    with pytest.raises(BadAnswer, match="change 4 came after 2"):
        await take(client, 2)

    assert api.last_event_ids == [None, *["2"] * (STREAM_BREACHES_MAX - 1)]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_follow_stops_at_a_refusal(
    api: ScriptedApi, client: ScoreboardClient, status: int
) -> None:
    api.streams = [refuse(status, "no")]

    with pytest.raises(Refused):
        await take(client, 1)

    assert len(api.last_event_ids) == 1


async def test_follow_ends_when_told_not_to_come_back(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    api.streams = [stream(hello(1), updates(2))]

    assert [event.seq for event in await take(client, 99)] == [2]


async def test_follow_refuses_responses_that_are_not_event_streams(
    api: ScriptedApi, client: ScoreboardClient
) -> None:
    async def page(request: web.Request) -> web.Response:
        del request
        return web.Response(text="hello", content_type="text/html")

    api.streams = [page] * STREAM_BREACHES_MAX

    with pytest.raises(BadAnswer, match="text/html"):
        await take(client, 1)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"submissionId":"a","status":1}', b"nonsense"])
async def test_an_outcome_that_cannot_be_read_is_a_broken_contract(
    api: ScriptedApi, client: ScoreboardClient, body: bytes
) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.match_info["id"] == "a b"
        return web.Response(body=body)

    api.answers = [refuse(503, "unavailable"), answer]

    with pytest.raises(BadAnswer):
        await client.outcome("a b")
