"""The Python client against the whole pipeline."""

import asyncio
from contextlib import aclosing

import pytest

from scoreboard.domain import Standing
from scoreboard_client import (
    BlockingScoreboardClient,
    Outcome,
    Refused,
    ScoreboardClient,
    Snapshot,
    StreamEvent,
    Update,
)
from tests.support.api import Api, token
from tests.support.eventually import eventually


def client(api: Api, user_id: int = 1) -> ScoreboardClient:
    return ScoreboardClient(api.url, token=token(user_id))


async def collect(
    one: ScoreboardClient, count: int, *, snapshot: bool = False, last_event_id: int | None = None
) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    async with (
        asyncio.timeout(20),
        aclosing(one.follow(snapshot=snapshot, last_event_id=last_event_id)) as events,
    ):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_submission_shows_up_on_the_board_and_in_the_stream(api: Api) -> None:
    async with client(api) as one:
        top = await one.top()
        assert top.scores == (
            Standing(user="Alice", score=1500, user_id=1),
            Standing(user="Bob", score=1400, user_id=2),
        )

        accepted = await one.submit(user_id=1, increment=10)
        events = await collect(one, 1, last_event_id=top.seq)

        assert accepted.attempts == 1
        assert isinstance(events[0], Update)
        assert (events[0].user, events[0].score, events[0].seq) == ("Alice", 1510, 1)
        assert events[0].committed_us is not None
        after = await one.top(limit=1)
        assert (after.seq, after.scores[0].score) == (1, 1510)


async def test_the_same_key_again_is_the_same_submission(api: Api) -> None:
    async with client(api) as one:
        first = await one.submit(user_id=1, increment=10, idempotency_key="k")
        second = await one.submit(user_id=1, increment=10, idempotency_key="k")
        await one.submit(user_id=1, increment=1)
        events = await collect(one, 2, last_event_id=0)

    assert first.submission_id == second.submission_id
    assert [event.score for event in events if isinstance(event, Update)] == [1510, 1511]


async def test_the_servers_refusals_arrive_typed(api: Api) -> None:
    async with client(api) as one:
        with pytest.raises(Refused) as caught:
            await one.submit(user_id=2, increment=10)
    assert (caught.value.problem.status, caught.value.problem.code) == (403, "forbidden")

    async with ScoreboardClient(api.url) as nobody:
        with pytest.raises(Refused) as caught:
            await nobody.submit(user_id=1, increment=10)
    assert caught.value.problem.code == "unauthorized"


async def test_a_follower_sees_every_change_of_many_submitters_in_order(api: Api) -> None:
    async with (
        client(api) as one,
        client(api, 2) as two,
        aclosing(one.follow(snapshot=True)) as events,
        asyncio.timeout(30),
    ):
        assert await anext(events) == Snapshot(
            seq=0,
            scores=(
                Standing(user="Alice", score=1500, user_id=1),
                Standing(user="Bob", score=1400, user_id=2),
            ),
        )
        await asyncio.gather(
            *(one.submit(user_id=1, increment=1) for _ in range(40)),
            *(two.submit(user_id=2, increment=1) for _ in range(40)),
        )
        seen = [await anext(events) for _ in range(80)]

    assert [event.seq for event in seen] == list(range(1, 81))
    last = {event.user: event.score for event in seen if isinstance(event, Update)}
    assert last == {"Alice": 1540, "Bob": 1440}


async def test_client_returns_a_submissions_outcome_to_its_user(api: Api) -> None:
    async with client(api) as one, client(api, 2) as other:
        accepted = await one.submit(user_id=1, increment=10)

        async def decided() -> Outcome:
            outcome = await one.outcome(accepted.submission_id)
            assert outcome.status != "pending"
            return outcome

        outcome = await eventually(decided)
        assert outcome == Outcome(
            submission_id=accepted.submission_id, status="applied", score=1510, seq=1, reason=None
        )
        with pytest.raises(Refused):
            await other.outcome(accepted.submission_id)


async def test_the_blocking_client_submits_and_follows_without_a_loop(api: Api) -> None:
    def visit() -> tuple[list[StreamEvent], str, int | None]:
        with BlockingScoreboardClient(api.url, token=token(1)) as one:
            accepted = one.submit(user_id=1, increment=10)
            one.submit(user_id=1, increment=5)
            found = []
            for event in one.follow(last_event_id=0):
                found.append(event)
                if len(found) == 2:
                    break
            with pytest.raises(Refused):
                one.submit(user_id=2, increment=1)
            return found, one.outcome(accepted.submission_id).status, one.top(limit=1).seq

    async with asyncio.timeout(20):
        events, status, seq = await asyncio.to_thread(visit)

    # Two batches may be under way, and their order is not promised.
    scores = [event.score for event in events if isinstance(event, Update)]
    assert scores in ([1510, 1515], [1505, 1515])
    assert (status, seq) == ("applied", 2)


async def test_the_blocking_client_says_where_it_does_not_belong() -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        BlockingScoreboardClient().top()
