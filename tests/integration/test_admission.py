"""Admission on a real Redis: the same window as the pure rule, exact under concurrency,
and keys that are remembered in Redis or, after it lost its memory, found in the ledger."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import redis.exceptions
from temporalio.service import RPCError, RPCStatusCode

from adapters.files import script
from adapters.mysql import MYSQL_ERRORS, READER, Pool, query_all
from adapters.redis import Redis, connect
from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard.domain import Outcome, Submission
from scoreboard.errors import Problem
from scoreboard.ids import time_ordered_id
from scoreboard.ratelimit import RateLimit
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.board.outcomes import Outcomes
from server.submit.admission import (
    ENDS_S,
    FRESH_RETENTION_S,
    RETENTION_S,
    Admission,
    AdmissionCode,
    Item,
)
from tests.model.sliding_window import SlidingWindow
from tests.support.eventually import eventually
from worker.database.ledger import Ledger
from worker.database.migrate import migrate
from worker.database.seed import seed
from worker.failpoints import Failpoints

LIMIT = RateLimit(count=3, window_us=10_000_000)
LONG = RateLimit(count=3, window_us=600_000_000)
MANY = RateLimit(count=1000, window_us=600_000_000)

Admit = Callable[[int], Awaitable[tuple[bool, int]]]


@pytest_asyncio.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["python", "lua"])
def admit(request: pytest.FixtureRequest, redis_url: str) -> Admit:
    """One user's window: takes a time, gives (admitted, microseconds to wait)."""
    if request.param == "python":
        window = SlidingWindow(LIMIT)

        async def in_python(now_us: int) -> tuple[bool, int]:
            verdict = window.admit(now_us)
            return verdict.admitted, verdict.retry_after_us

        return in_python

    source = script("server.submit", "admission")
    at_given_time = source.replace(
        "redis.call('TIME')",
        "{tostring(math.floor(ARGV[11] / 1000000)), tostring(ARGV[11] % 1000000)}",
    )
    assert at_given_time != source

    async def in_redis(now_us: int) -> tuple[bool, int]:
        item = (secrets.token_hex(16), "1", "1:10", 0, "1764000000")
        client: Any = connect(redis_url)
        async with client:
            answer, *_ = await client.eval(
                at_given_time,
                3,
                contract.MEMORY_KEY,
                contract.META_KEY,
                contract.MEMBERS_KEY,
                contract.LIMIT_PREFIX,
                contract.SEEN_PREFIX,
                contract.FRESH_PREFIX,
                LIMIT.count,
                LIMIT.window_us,
                MANY.count,
                MANY.window_us,
                RETENTION_S,
                FRESH_RETENTION_S,
                msgspec.msgpack.encode([item]),
                now_us,
            )
        if not answer:
            return True, 0
        index, code, wait_us = answer
        assert (index, code) == (1, AdmissionCode.LIMITED)
        return False, wait_us

    return in_redis


# Far enough from zero to be a time, with microseconds that need zeros in front.
T = 1_764_000_000_000_001
W = LIMIT.window_us


@pytest.mark.parametrize(
    "steps",
    [
        [(T, True, 0), (T, True, 0), (T, True, 0), (T, False, W), (T + W - 1, False, 1)],
        [(T, True, 0), (T, True, 0), (T, True, 0), (T + W, True, 0)],
        [(T, True, 0), (T + 5, True, 0), (T + 9, True, 0), (T + 9, False, W - 9),
         (T + W, True, 0), (T + W, False, 5), (T + W + 5, True, 0), (T + W + 8, False, 1)],
        # What is refused does not count.
        [(T, True, 0), (T, True, 0), (T, True, 0), *[(T + n, False, W - n) for n in (1, 2, 3)],
         (T + W, True, 0), (T + W, True, 0), (T + W, True, 0), (T + W, False, W)],
        [(T, True, 0), (T + 100 * W, True, 0), (T + 100 * W, True, 0), (T + 100 * W, True, 0),
         (T + 100 * W + 1, False, W - 1)],
    ],
)  # fmt: skip
async def test_redis_and_the_pure_rule_give_the_same_answers(
    admit: Admit, steps: list[tuple[int, bool, int]]
) -> None:
    for now_us, admitted, wait_us in steps:
        assert await admit(now_us) == (admitted, wait_us), now_us - T


@pytest.mark.parametrize("seed", range(3))
async def test_redis_and_the_pure_rule_agree_on_any_times(admit: Admit, seed: int) -> None:
    draw = random.Random(seed)
    window, now_us = SlidingWindow(LIMIT), T
    for _ in range(60):
        now_us += int(draw.choice((0, 1, W // 7, W // 3, W - 1, W)) * draw.random())
        verdict = window.admit(now_us)
        assert await admit(now_us) == (verdict.admitted, verdict.retry_after_us), now_us - T


def submission(increment: int = 10, *, user_id: int = 1, name: bytes | None = None) -> Submission:
    return Submission(
        id=name or secrets.token_bytes(16),
        principal=str(user_id),
        user_id=user_id,
        increment=increment,
        received_us=0,
    )


def keyed(increment: int = 10, **changes: Any) -> Item:
    return Item(submission(increment, **changes), keyed=True)


def keyless(increment: int = 10, **changes: Any) -> Item:
    return Item(submission(increment, **changes), keyed=False)


class Site:
    """Admission in front of a migrated ledger, and a way to put submissions into that."""

    def __init__(self, store: Redis, mysql_url: str, pool: Pool) -> None:
        self.store = store
        self.pool = pool
        self.reader = LedgerReader(mysql_address(mysql_url))
        self.ledger = Ledger(pool, Failpoints(""))
        self.batches: dict[str, asyncio.Event] = {}

    def admission(self, limit: RateLimit = MANY, replay_limit: RateLimit = MANY) -> Admission:
        return Admission(
            self.store, self.reader, self.running, limit=limit, replay_limit=replay_limit
        )

    async def running(self) -> set[str]:
        """The batches that Temporal lists."""
        return {batch for batch, ends in self.batches.items() if not ends.is_set()}

    async def codes(self, *items: Item, limit: RateLimit = MANY) -> list[AdmissionCode]:
        return [verdict.code for verdict in await self.admission(limit).admit(items)]

    async def record(self, item: Item) -> None:
        await self.ledger.record([(item.submission, Outcome.APPLIED)])


@pytest_asyncio.fixture
async def site(store: Redis, mysql_url: str) -> AsyncIterator[Site]:
    pool = Pool(mysql_address(mysql_url), size=2)
    await migrate(pool)
    await seed(pool, 3)
    site = Site(store, mysql_url, pool)
    yield site
    await site.reader.close()
    await pool.close()


async def test_a_user_whom_neither_redis_nor_mysql_has_is_unknown(site: Site) -> None:
    accepted = keyed(user_id=2)
    await site.codes(accepted)
    # The board of a moment: a player has been removed, and one was added that it does not show.
    await site.store.hset(contract.META_KEY, mapping={"users": "1"})
    await site.store.hset(contract.MEMBERS_KEY, mapping={"1": b"Alice"})
    async with site.pool.connection() as connection:
        await query_all(connection, "DELETE FROM users WHERE id = 2; COMMIT")
    batch = [keyless(user_id=1), keyed(user_id=2), keyless(user_id=2), accepted, keyed(user_id=3)]

    assert await site.codes(*batch, limit=RateLimit(count=1, window_us=7_000_000)) == [
        AdmissionCode.ADMITTED,
        AdmissionCode.UNKNOWN_USER,
        # The limit comes first, so that nobody asks for unknown users at full speed.
        AdmissionCode.LIMITED,
        AdmissionCode.REPLAY,
        AdmissionCode.ADMITTED,
    ]
    assert await site.codes(*batch) == [
        AdmissionCode.ADMITTED,
        *[AdmissionCode.UNKNOWN_USER] * 2,
        AdmissionCode.REPLAY,
        AdmissionCode.REPLAY,
    ]
    # Nothing of a refusal is remembered: once the player is there, the same key is admitted.
    await site.store.hset(contract.MEMBERS_KEY, mapping={"2": b"Bob"})
    assert await site.codes(batch[1]) == [AdmissionCode.ADMITTED]


async def test_without_mysql_a_user_whom_redis_lacks_may_exist(site: Site) -> None:
    await site.store.set(contract.MEMORY_KEY, 0)
    await site.store.hset(contract.META_KEY, mapping={"users": "1"})
    await lose_ledger(site)

    assert await site.codes(keyed(user_id=77), keyless(user_id=3)) == [AdmissionCode.ADMITTED] * 2


async def test_each_item_is_told_what_its_user_has_left(site: Site) -> None:
    limit = RateLimit(count=3, window_us=600_000_000)
    first, other = keyed(), keyless(user_id=2)
    batch = [first, keyless(), other, keyless(), keyless()]
    admission = site.admission(limit=limit)

    # Until Redis has remembered for a day, a known key is looked up in the ledger.
    await site.store.set(contract.MEMORY_KEY, 0)

    results = [*await admission.admit(batch), *await admission.admit([first, keyless()])]

    codes = [(result.code.name, result.quota) for result in results]
    assert codes == [
        *[("ADMITTED", 2), ("ADMITTED", 1), ("ADMITTED", 2), ("ADMITTED", 0), ("LIMITED", 0)],
        *[("REPLAY", 0), ("LIMITED", 0)],
    ]


async def test_a_batch_has_an_answer_for_each_item_in_order(site: Site) -> None:
    known = keyed(1)
    await site.codes(known)

    codes = await site.codes(
        keyless(user_id=2),
        known,
        keyed(2, name=known.submission.id),
        *[keyless(user_id=3) for _ in range(4)],
        limit=LONG,
    )

    assert codes == [
        AdmissionCode.ADMITTED,
        AdmissionCode.REPLAY,
        AdmissionCode.CONFLICT,
        *[AdmissionCode.ADMITTED] * 3,
        AdmissionCode.LIMITED,
    ]


async def test_users_do_not_share_a_limit(site: Site) -> None:
    codes = await site.codes(*[keyless(user_id=n) for n in (1, 2, 3) for _ in range(4)], limit=LONG)

    assert codes == [*[AdmissionCode.ADMITTED] * 3, AdmissionCode.LIMITED] * 3


async def test_the_limit_is_exact_under_concurrent_batches(site: Site) -> None:
    limit = RateLimit(count=50, window_us=600_000_000)
    admissions = [site.admission(limit) for _ in range(4)]

    answers = await asyncio.gather(
        *(admissions[n % 4].admit([keyless() for _ in range(5)]) for n in range(40))
    )

    codes = [verdict.code for answer in answers for verdict in answer]
    assert codes.count(AdmissionCode.ADMITTED) == 50
    assert codes.count(AdmissionCode.LIMITED) == 150


async def test_the_wait_ends_when_the_oldest_admission_leaves(site: Site) -> None:
    limit = RateLimit(count=1, window_us=300_000)
    await site.admission(limit).admit([keyless()])

    [refused] = await site.admission(limit).admit([keyless()])
    await asyncio.sleep(refused.retry_after_us / 1e6)
    [admitted] = await site.admission(limit).admit([keyless()])

    assert refused.code is AdmissionCode.LIMITED
    assert 0 < refused.retry_after_us <= 300_000
    assert admitted.code is AdmissionCode.ADMITTED


async def test_a_window_leaves_nothing_in_redis(site: Site) -> None:
    await site.admission(RateLimit(count=5, window_us=100_000)).admit([keyless()])

    async def nothing_left() -> bool:
        return await site.store.keys(contract.LIMIT_PREFIX + "*") == []

    await eventually(nothing_left)


async def test_fifty_repeats_at_once_are_one_admission_and_free_replays(site: Site) -> None:
    once = keyed()
    admission = site.admission(LONG)

    answers = await asyncio.gather(*(admission.admit([once]) for _ in range(50)))

    codes = [answer[0].code for answer in answers]
    assert codes.count(AdmissionCode.ADMITTED) == 1
    assert codes.count(AdmissionCode.REPLAY) == 49
    assert await site.codes(keyed(), keyed(), keyed(), limit=LONG) == [
        AdmissionCode.ADMITTED,
        AdmissionCode.ADMITTED,
        AdmissionCode.LIMITED,
    ]


async def test_replays_have_a_limit_of_their_own(site: Site) -> None:
    once = keyed()
    admission = site.admission(MANY, replay_limit=LONG)

    codes = [(await admission.admit([once]))[0].code for _ in range(5)]

    assert codes == [AdmissionCode.ADMITTED, *[AdmissionCode.REPLAY] * 3, AdmissionCode.LIMITED]
    assert await site.codes(keyed()) == [AdmissionCode.ADMITTED]


async def test_a_limited_key_is_not_remembered(site: Site) -> None:
    limit = RateLimit(count=1, window_us=200_000)
    late = keyed()
    await site.codes(keyed(), limit=limit)
    assert await site.codes(late, limit=limit) == [AdmissionCode.LIMITED]

    async def is_admitted() -> bool:
        return await site.codes(late, limit=limit) == [AdmissionCode.ADMITTED]

    await eventually(is_admitted)


async def test_a_key_is_remembered_for_a_day(site: Site) -> None:
    once = keyed()
    await site.codes(once)

    [key] = await site.store.keys(contract.SEEN_PREFIX + "*")

    assert RETENTION_S - 10 < await site.store.ttl(key) <= RETENTION_S


async def test_server_chosen_id_is_pending_until_decided(site: Site) -> None:
    once = keyless(7, name=time_ordered_id(1_764_000_000_123, secrets.token_bytes(10)))
    outcomes = Outcomes(site.store, site.reader)
    me = Principal(subject="1", scopes=frozenset(), expires_s=0)
    with pytest.raises(Problem, match="no such submission"):
        await outcomes.status(once.submission.id, me)

    await site.codes(once)

    found = await outcomes.status(once.submission.id, me)
    assert (found.status, found.user_id, found.increment) == ("pending", 1, 7)
    [key] = await site.store.keys(contract.FRESH_PREFIX + "*")
    assert FRESH_RETENTION_S - 10 < await site.store.ttl(key) <= FRESH_RETENTION_S
    await site.record(once)
    assert (await outcomes.status(once.submission.id, me)).status == "applied"


async def test_batch_may_exceed_the_users_of_one_script_call(site: Site) -> None:
    batch = [keyless(user_id=n) for n in range(2500)] * 2
    batch += [keyed(user_id=n) for n in range(2500)]

    codes = await site.codes(*batch, limit=RateLimit(count=2, window_us=600_000_000))

    assert codes == [*[AdmissionCode.ADMITTED] * 5000, *[AdmissionCode.LIMITED] * 2500]


async def lose_ledger(site: Site) -> None:
    await site.reader.close()
    nowhere = mysql_address("mysql://nobody:x@127.0.0.1:1/none")
    site.reader._pool = Pool(nowhere, size=1, session=READER)


async def test_a_fresh_system_does_not_ask_the_ledger_again(site: Site) -> None:
    await site.codes(keyed())
    assert await site.store.get(contract.MEMORY_KEY) == b"0"

    await lose_ledger(site)

    assert await site.codes(keyed(), keyed()) == [AdmissionCode.ADMITTED] * 2


async def test_when_redis_lost_its_memory_the_ledger_remembers(site: Site) -> None:
    before = keyed(10)
    await site.codes(before)
    await site.record(before)

    await site.store.flushdb()

    codes = await site.codes(
        before, keyed(11), keyless(12), limit=RateLimit(count=2, window_us=600_000_000)
    )
    # A replay stays free: both others had room in a limit of two.
    assert codes == [AdmissionCode.REPLAY, AdmissionCode.ADMITTED, AdmissionCode.ADMITTED]
    assert int(await site.store.get(contract.MEMORY_KEY) or 0) > 1_700_000_000


async def test_another_body_conflicts_even_after_redis_lost_its_keys(site: Site) -> None:
    before = keyed(10)
    await site.codes(before)
    await site.record(before)

    await site.store.flushdb()

    assert await site.codes(keyed(11, name=before.submission.id)) == [AdmissionCode.CONFLICT]
    assert await site.codes(before) == [AdmissionCode.REPLAY]


async def test_a_lost_key_whose_batch_still_runs_is_settled_when_that_ends(site: Site) -> None:
    first, other = keyed(10), keyed(20)
    reused = keyed(11, name=first.submission.id)
    await site.record(keyed(1))
    site.batches = {"of the first": asyncio.Event(), "of somebody": asyncio.Event()}
    admission = site.admission()

    # Nobody can tell whether a batch holds it, so it is not admitted: it would take its place.
    results = await admission.admit([reused, other, keyless()])
    assert [result.code.name for result in results] == ["UNSETTLED", "UNSETTLED", "ADMITTED"]

    waiting = asyncio.create_task(admission.admit([reused, other]))
    await site.record(first)
    for batch in site.batches.values():
        batch.set()
    assert [result.code.name for result in await waiting] == ["CONFLICT", "ADMITTED"]

    # From now on the ledger is asked and nobody waits, also while batches run.
    site.batches["later"] = asyncio.Event()
    results = await admission.admit([reused, first, other, keyed(30)])
    assert [result.code.name for result in results] == [
        *("CONFLICT", "REPLAY", "REPLAY", "ADMITTED")
    ]


async def test_while_temporal_does_not_say_what_runs_lost_keys_are_not_admitted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.record(keyed(1))

    async def unavailable() -> set[str]:
        raise RPCError("no list", RPCStatusCode.UNAVAILABLE, b"")

    monkeypatch.setattr(site, "running", unavailable)
    assert await site.codes(keyed(), keyless()) == [
        AdmissionCode.UNSETTLED,
        AdmissionCode.ADMITTED,
    ]


async def test_those_who_wait_together_are_answered_together(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.record(keyed(1))
    site.batches = {"for ever": asyncio.Event()}
    looks: list[float] = []
    running = site.running

    async def counted() -> set[str]:
        looks.append(asyncio.get_running_loop().time())
        return await running()

    monkeypatch.setattr(site, "running", counted)
    admission = site.admission()

    results = await asyncio.gather(*(admission.admit([keyed()]) for _ in range(8)))

    assert {result.code for [result] in results} == {AdmissionCode.UNSETTLED}
    # One after the other they would take eight times as long.
    assert looks[-1] - looks[0] < 2 * ENDS_S


async def test_the_ledger_counts_for_more_than_a_key_that_was_admitted_after_a_loss(
    site: Site,
) -> None:
    first = keyed(10)
    reused = keyed(11, name=first.submission.id)
    await site.record(first)
    await site.store.set(contract.SEEN_PREFIX + first.submission.id.hex(), "1:11")

    assert await site.codes(first) == [AdmissionCode.REPLAY]
    assert await site.codes(reused) == [AdmissionCode.CONFLICT]
    assert await site.codes(first) == [AdmissionCode.REPLAY]


async def test_an_old_enough_memory_is_trusted_again(site: Site) -> None:
    before = keyed(10)
    await site.record(before)
    seconds, _ = await site.store.time()
    await site.store.set(contract.MEMORY_KEY, int(seconds) - RETENTION_S - 5)
    await lose_ledger(site)

    assert await site.codes(keyed()) == [AdmissionCode.ADMITTED]


async def test_without_memory_and_without_ledger_keys_are_not_admitted(site: Site) -> None:
    await site.record(keyed(1))
    await lose_ledger(site)

    with pytest.raises(MYSQL_ERRORS):
        await site.codes(keyed())
    assert await site.codes(keyless()) == [AdmissionCode.ADMITTED]


async def test_without_redis_nothing_is_admitted(site: Site) -> None:
    client = connect("redis://127.0.0.1:1/0")
    admission = Admission(client, site.reader, site.running, limit=MANY, replay_limit=MANY)

    with pytest.raises(redis.exceptions.ConnectionError):
        await admission.admit([keyless()])
    await client.aclose()
