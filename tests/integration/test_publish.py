"""The board in Redis only moves forward, in order, and comes back from the ledger when lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pymysql
import pytest
import pytest_asyncio
import redis.exceptions

from scoreboard import contract
from scoreboard.domain import Change
from scoreboard.settings import from_mapping
from tests.support.boards import BoardBench, Seen, opened_board
from tests.support.eventually import eventually
from tests.support.ledgers import opened_ledger, submission
from worker.__main__ import run_seed
from worker.board.script_arguments import CHANGES_PER_CALL
from worker.database.ledger import Recorded
from worker.database.seed import demo_user, seed
from worker.settings import WorkerSettings


@pytest_asyncio.fixture
async def board(mysql_url: str, redis_url: str) -> AsyncIterator[BoardBench]:
    async with (
        opened_ledger(mysql_url) as bench,
        opened_board(bench, redis_url) as opened,
    ):
        await opened.board.repair()
        yield opened


async def record(board: BoardBench, *pairs: tuple[int, int]) -> Recorded:
    return await board.bench.record(*[submission(user_id, points) for user_id, points in pairs])


async def show(board: BoardBench, recorded: Recorded) -> None:
    await board.board.publish(recorded.last_seq, recorded.run)


async def _stands_at(board: BoardBench, seq: int) -> bool:
    return await board.cursors() == (seq, seq)


# In order


async def test_a_new_board_shows_every_user(board: BoardBench) -> None:
    await board.agrees()

    assert (await board.look()).ranking[:2] == [(1, 1500), (2, 1400)]


async def test_published_changes_move_ranking_and_stream(board: BoardBench) -> None:
    recorded = await record(board, (1, 10), (2, 200), (1, 1))

    await show(board, recorded)

    await board.agrees()
    assert (await board.look()).ranking[:2] == [(2, 1600), (1, 1511)]
    assert await board.streamed() == recorded.changes


async def test_batches_published_out_of_order_end_in_order(board: BoardBench) -> None:
    recorded = [await record(board, (1, 1), (2, 2)) for _ in range(4)]

    for item in (recorded[2], recorded[0], recorded[3], recorded[1]):
        await show(board, item)

    await board.agrees()


async def test_a_late_retry_takes_nothing_back(board: BoardBench) -> None:
    first = await record(board, (1, 10))
    second = await record(board, (1, -500))
    await show(board, first)
    await show(board, second)
    before = await board.look()

    await show(board, first)

    assert await board.look() == before
    await board.agrees()


async def test_a_decrease_lowers_the_score_shown(board: BoardBench) -> None:
    await show(board, await record(board, (1, -500)))

    assert (await board.look()).ranking[:2] == [(2, 1400), (1, 1000)]


async def test_a_gap_is_filled_from_the_ledger(board: BoardBench) -> None:
    for _ in range(3):
        await record(board, (1, 1), (2, 1), (3, 1))
    last = await record(board, (4, 1))

    await show(board, last)

    await board.agrees()


async def test_a_gap_larger_than_one_call_is_filled(board: BoardBench) -> None:
    chance = random.Random(3)
    for _ in range(2 * CHANGES_PER_CALL // 500 + 1):
        last = await record(board, *[(chance.randint(1, 10), 1) for _ in range(500)])

    await show(board, last)

    await board.agrees()
    assert len(await board.streamed()) == 2500


async def test_publishing_without_the_changes_reads_them_from_the_ledger(board: BoardBench) -> None:
    """As on another worker than the one that recorded."""
    recorded = await record(board, (1, 10), (2, 5))

    await board.board.publish(recorded.last_seq)

    await board.agrees()


@pytest.mark.parametrize("behind", [1, 2], ids=["next", "after a gap"])
async def test_a_publisher_shows_nothing_past_the_commit_it_knows_of(
    board: BoardBench, behind: int
) -> None:
    """What follows may be a commit that can be seen already and is not synced yet."""
    for _ in range(behind + 1):
        await record(board, (1, 1))

    await board.board.publish(behind)

    assert await board.cursors() == (behind, behind)


@pytest.mark.parametrize("lost", [False, True], ids=["behind", "emptied"])
async def test_the_keeper_shows_nothing_before_the_log_is_synced(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """It reads commits of others, which can be seen before they last."""
    await show(board, await record(board, (1, 1)))
    await record(board, (1, 1))
    if lost:
        await board.redis.flushdb()
    monkeypatch.setattr("worker.database.statements.COMMIT_SYNCED", "SELECT no_sync")

    with pytest.raises(pymysql.err.OperationalError):
        await board.board.repair()

    assert await board.cursors() == ((-1, -1) if lost else (1, 1))
    monkeypatch.undo()
    await board.board.repair()
    await board.agrees()


async def test_a_keeper_with_nothing_to_show_asks_for_no_sync(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await show(board, await record(board, (1, 1)))
    monkeypatch.setattr("worker.database.statements.COMMIT_SYNCED", "SELECT no_sync")

    await board.board.repair()

    await board.agrees()


async def test_a_batch_without_changes_touches_nothing(board: BoardBench) -> None:
    before = await board.look()

    await show(board, await record(board, (999, 1)))

    assert await board.look() == before


async def test_the_stream_goes_with_the_ranking(board: BoardBench) -> None:
    first, second = await record(board, (1, 1)), await record(board, (2, 1))

    await board.board.publish(2, second.run)
    assert await board.cursors() == (2, 2)
    assert await board.streamed() == first.changes + second.changes
    await board.agrees()


async def test_publish_continues_after_the_stream_fell_behind(
    board: BoardBench,
) -> None:
    """Servers read what the stream lacks from the ledger (`test_stream`)."""
    first, second = await record(board, (1, 1)), await record(board, (2, 1))
    await board.board.publish(1, first.run)
    await board.redis.delete(contract.STREAM_KEY)
    await board.redis.hset(contract.META_KEY, "tail", 0)

    await board.board.publish(2, second.run)

    assert await board.streamed() == second.changes
    assert await board.redis.hmget(contract.META_KEY, "seq", "tail") == [b"2", b"2"]
    await board.agrees()


async def test_many_publishers_at_once_end_in_order(mysql_url: str, redis_url: str) -> None:
    chance = random.Random(1)
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(opened_ledger(mysql_url, pool_size=8))
        boards = [await stack.enter_async_context(opened_board(bench, redis_url)) for _ in range(3)]
        await boards[0].board.repair()
        recorded = [
            await record(boards[0], *[(chance.randint(1, 10), 1) for _ in range(5)])
            for _ in range(60)
        ]
        chance.shuffle(recorded)

        await asyncio.gather(*(show(boards[n % 3], item) for n, item in enumerate(recorded)))

        await boards[0].agrees()


async def test_equal_scores_rank_by_time_reached_then_by_id(board: BoardBench) -> None:
    await show(board, await record(board, (9, 5), (3, 5), (7, 5), (5, 4), (5, 1), (4, 0)))

    assert await board.bench.rows("SELECT COUNT(*) FROM ledger WHERE outcome = 'applied'") == [(6,)]
    ranking = [user_id for user_id, _ in (await board.look()).ranking]
    assert ranking == [1, 2, 9, 3, 7, 5, 6, 8, 10, 4]
    await board.agrees()


async def test_the_stream_keeps_a_bounded_number_of_entries(mysql_url: str, redis_url: str) -> None:
    async with (
        opened_ledger(mysql_url) as bench,
        opened_board(bench, redis_url, stream_entries=10) as board,
    ):
        await board.board.repair()
        for _ in range(250):
            await show(board, await record(board, (1, 1)))

        kept = await board.streamed()
        # Redis trims whole blocks of 100 entries.
        assert 10 <= len(kept) <= 110
        await board.agrees()


# Losses


@pytest.mark.parametrize(
    "lost",
    [
        "everything",
        contract.META_KEY,
        contract.RANKING_KEY,
        contract.MEMBERS_KEY,
    ],
)
async def test_lost_redis_state_is_rebuilt_without_traffic(board: BoardBench, lost: str) -> None:
    await show(board, await record(board, (1, 10), (2, 5), (3, 7)))
    if lost == "everything":
        await board.redis.flushdb()
    else:
        await board.redis.delete(lost)

    await board.board.repair()

    await board.agrees()
    assert len(await board.streamed()) == 3


async def test_an_emptied_redis_is_rebuilt_by_the_next_publish(board: BoardBench) -> None:
    await show(board, await record(board, (1, 10), (5, 3)))
    await board.redis.flushdb()
    recorded = await record(board, (2, 1))

    await board.board.publish(recorded.last_seq, recorded.run)
    await board.board.repair()

    await board.agrees()


async def test_a_batch_does_not_wait_for_a_rebuild_that_takes_long(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a million users; until it is done nothing is shown, and then all of it."""
    built, may_go_on = asyncio.Event(), asyncio.Event()
    build = board.board._build

    async def slow(*arguments: Any) -> None:
        await build(*arguments)
        built.set()
        await may_go_on.wait()

    monkeypatch.setattr(board.board, "_build", slow)
    monkeypatch.setattr(board.board, "rebuild_wait_s", 0.05)
    await board.redis.flushdb()

    async with asyncio.timeout(5):
        await show(board, await record(board, (1, 10)))
        await built.wait()
        await show(board, await record(board, (2, 300)))
        assert await board.cursors() == (-1, -1)
        may_go_on.set()
        await eventually(lambda: _stands_at(board, 2))

    await board.agrees()
    assert len(await board.streamed()) == 2


async def test_failed_rebuild_raises_in_the_waiting_step(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(board.board, "_build", broken)
    await board.redis.flushdb()

    with pytest.raises(ConnectionError):
        await show(board, await record(board, (1, 10)))


async def test_scripts_that_redis_forgot_are_loaded_again(board: BoardBench) -> None:
    await board.redis.script_flush()

    await show(board, await record(board, (1, 10)))

    await board.agrees()


async def test_a_board_of_the_layout_before_is_replaced(board: BoardBench) -> None:
    """As after an update: nothing of it is read, and it does not stay for ever."""
    await show(board, await record(board, (1, 10)))
    for key in await board.redis.keys("{scores}:2:*"):
        await board.redis.delete(key)
    meta, ranking, members, names, _ = contract.OUTDATED_KEYS
    [(incarnation,)] = await board.bench.rows("SELECT incarnation FROM boards")
    await board.redis.hset(meta, mapping={"seq": 1, "tail": 1, "incarnation": incarnation})
    await board.redis.zadd(ranking, {b"\0" * 15 + b"\1": -9999})
    await board.redis.hset(members, "1", b"\0" * 15 + b"\1")
    await board.redis.hset(names, "1", "Wrong")

    await board.board.repair()

    await board.agrees()
    assert await board.redis.exists(*contract.OUTDATED_KEYS) == 0


async def test_renamed_user_shows_the_new_name_after_the_next_change(
    board: BoardBench,
) -> None:
    await show(board, await record(board, (1, 10)))
    await board.bench.rows("UPDATE users SET name = 'Алиса' WHERE id = 1")

    await show(board, await record(board, (1, 10)))

    assert (await board.names())[1] == "Алиса"
    assert (await board.look()).ranking == await board.in_mysql()


async def test_an_older_copy_of_redis_catches_up(board: BoardBench) -> None:
    """As after a restart from a snapshot: the cursors are behind."""
    keys = [contract.META_KEY, contract.RANKING_KEY, contract.MEMBERS_KEY, contract.STREAM_KEY]
    await show(board, await record(board, (1, 10)))
    old = {key: await board.redis.dump(key) for key in keys}
    await show(board, await record(board, (1, 10), (2, 300)))
    for key, value in old.items():
        await board.redis.restore(key, 0, value, replace=True)
    assert await board.cursors() == (1, 1)

    await board.board.repair()

    await board.agrees()


async def test_new_mysql_epoch_replaces_the_board_and_the_stream(
    board: BoardBench,
) -> None:
    await show(board, await record(board, (1, 10), (2, 20)))
    before = await board.look()
    await board.bench.rows("DELETE FROM ledger")
    await board.bench.rows("UPDATE users SET score = 3, seq = 0")
    await board.bench.rows("UPDATE boards SET seq = 0, incarnation = UUID()")

    await board.board.repair()

    after = await board.look()
    assert after.epoch > before.epoch
    assert [score for _, score in after.ranking] == [3] * 10
    assert await board.streamed() == []
    await show(board, await record(board, (1, 1)))
    await board.agrees()


async def test_a_ledger_that_was_set_back_becomes_another_history(board: BoardBench) -> None:
    """As after restoring a backup: the numbers after it will mean other changes."""
    await show(board, await record(board, (1, 10)))
    [(incarnation,)] = await board.bench.rows("SELECT incarnation FROM boards")
    await show(board, await record(board, (2, 20), (2, 20)))
    await board.bench.rows("DELETE FROM ledger WHERE seq > 1")
    await board.bench.rows("UPDATE users SET score = 1400, seq = 0 WHERE id = 2")
    await board.bench.rows("UPDATE boards SET seq = 1")

    await board.board.repair()

    assert await board.bench.rows("SELECT incarnation FROM boards") != [(incarnation,)]
    await board.agrees()
    await show(board, await record(board, (3, 1)))
    await board.agrees()


async def test_two_workers_that_find_a_ledger_set_back_name_one_history(
    board: BoardBench, redis_url: str
) -> None:
    await show(board, await record(board, (1, 10), (1, 10)))
    await board.bench.rows("DELETE FROM ledger WHERE seq > 1")
    await board.bench.rows("UPDATE users SET score = 1510, seq = 1 WHERE id = 1")
    await board.bench.rows("UPDATE boards SET seq = 1")
    async with opened_board(board.bench, redis_url) as other:
        await asyncio.gather(board.board.repair(), other.board.repair())
        await asyncio.gather(board.board.repair(), other.board.repair())

        await show(board, await record(board, (2, 1)))
        await show(other, await record(board, (3, 1)))

        await board.agrees()


async def test_many_that_find_redis_empty_rebuild_once(board: BoardBench) -> None:
    before = (await board.look()).epoch
    recorded = [await record(board, (1, 1)) for _ in range(8)]
    await board.redis.flushdb()

    await asyncio.gather(*(show(board, item) for item in recorded))

    assert before == 1
    assert (await board.look()).epoch == 1
    await board.agrees()


async def test_new_users_show_after_a_rebuild(board: BoardBench) -> None:
    await seed(board.bench.pool, 2500)

    await board.board.rebuild()

    assert len((await board.look()).ranking) == 2500
    await board.agrees()


async def test_rebuild_does_not_hide_users_added_while_it_ran(
    board: BoardBench, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users who are added change no seq, so that alone cannot tell which copy is the later one."""
    build = board.board._build
    async with opened_board(board.bench, redis_url) as other:

        async def build_while_another_seeds(*built: Any) -> None:
            monkeypatch.setattr(board.board, "_build", build)
            await build(*built)
            await seed(board.bench.pool, 2500)
            await other.board.rebuild()

        monkeypatch.setattr(board.board, "_build", build_while_another_seeds)

        await board.board.rebuild()

    assert len((await board.look()).ranking) == 2500
    await board.agrees()
    assert await board.redis.keys("*build*") == []


async def test_seeding_again_publishes_users_of_an_aborted_seeding(
    board: BoardBench, redis_url: str
) -> None:
    await seed(board.bench.pool, 15)
    settings = from_mapping(
        WorkerSettings,
        {
            "SCOREBOARD_MYSQL_URL": board.bench.mysql_url,
            "SCOREBOARD_REDIS_URL": redis_url,
            "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:1",
        },
    )

    await run_seed(settings, 15)

    await board.agrees()
    epoch = (await board.look()).epoch
    await run_seed(settings, 15)
    assert (await board.look()).epoch == epoch


async def test_a_rebuild_leaves_nothing_behind_and_lasts(board: BoardBench) -> None:
    await board.board.rebuild()

    keys = {key.decode() for key in await board.redis.keys("*")}
    assert keys <= {
        contract.META_KEY,
        contract.RANKING_KEY,
        contract.MEMBERS_KEY,
        contract.STREAM_KEY,
    }
    assert [await board.redis.ttl(key) for key in keys] == [-1] * len(keys)


async def test_a_rebuild_cut_off_expires_and_the_old_board_stands(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await board.look()
    monkeypatch.setattr(board.board, "_swap_script", _cut_off)

    with pytest.raises(ConnectionAbortedError):
        await board.board.rebuild()

    assert await board.look() == before
    left = [key for key in await board.redis.keys("*") if b"build" in key]
    assert len(left) == 2
    assert all([0 < await board.redis.ttl(key) <= 900 for key in left])


async def test_slow_rebuild_raises_timeout_not_cancellation(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper goes on after a TimeoutError; a cancellation would end it in silence."""
    before = await board.look()
    monkeypatch.setattr("worker.board.redis_board.BUILD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(board.board, "_build", _never_done)

    with pytest.raises(TimeoutError):
        await board.board.rebuild()

    monkeypatch.undo()
    assert await board.look() == before
    await board.board.rebuild()
    await board.agrees()


@pytest.mark.parametrize("published", [True, False], ids=["published", "only recorded"])
async def test_rebuild_includes_commits_made_after_its_snapshot(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """More than one page of it, and a user who was not there yet."""
    build = board.board._build

    async def build_while_others_commit(built: Any, users: Any) -> None:
        await build(built, users)
        await board.bench.rows("INSERT INTO users (id, name) VALUES (77, 'Late')")
        chance = random.Random(2)
        for _ in range(2 * CHANGES_PER_CALL // 500 + 1):
            pairs = [(chance.choice([1, 2, 3, 77]), 1) for _ in range(500)]
            recorded = await record(board, *pairs)
            if published:
                await show(board, recorded)

    monkeypatch.setattr(board.board, "_build", build_while_others_commit)

    # Exactly what readers have seen, as the stream; the rest is the next publisher's.
    assert await board.board.rebuild() == (2500 if published else 0)
    assert await board.cursors() == ((2500, 2500) if published else (0, 0))

    monkeypatch.undo()
    await board.board.repair()
    await board.agrees()


async def test_rebuilds_race_updates_without_a_wrong_look(mysql_url: str, redis_url: str) -> None:
    """Every look at the board equals a prefix of the ledger, and none goes back."""
    chance = random.Random(9)
    users = 300
    looks: list[Seen] = []
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(opened_ledger(mysql_url, users=users, pool_size=12))
        one = await stack.enter_async_context(opened_board(bench, redis_url))
        two = await stack.enter_async_context(opened_board(bench, redis_url))
        await one.board.repair()
        busy = True

        async def write(board: BoardBench) -> None:
            for _ in range(60):
                pairs = [(chance.randint(1, users), chance.randint(-3, 9) or 1) for _ in range(20)]
                await show(board, await record(board, *pairs))

        async def rebuild(board: BoardBench) -> None:
            while busy:
                await board.board.rebuild()

        async def watch() -> None:
            while busy:
                looks.append(await one.look())

        others = [asyncio.create_task(rebuild(board)) for board in (one, two)]
        others.append(asyncio.create_task(watch()))
        await asyncio.gather(write(one), write(two))
        busy = False
        await asyncio.gather(*others)

        await one.agrees()
        assert looks[-1].epoch >= 4
        assert [look.seq for look in looks] == sorted(look.seq for look in looks)
        assert len({look.seq for look in looks}) > 10
        _assert_prefixes(looks, await bench.changes(), users)
        streamed = [change.seq for change in await one.streamed()]
        assert streamed == list(range(1, streamed[-1] + 1))


async def test_flushes_race_updates_and_all_comes_back(mysql_url: str, redis_url: str) -> None:
    async with (
        opened_ledger(mysql_url, pool_size=8) as bench,
        opened_board(bench, redis_url) as board,
        opened_board(bench, redis_url) as other,
    ):
        flushes = 0

        async def flush() -> None:
            nonlocal flushes
            while flushes < 15:
                await asyncio.sleep(0.01)
                await board.redis.flushdb()
                flushes += 1

        async def write(writer: BoardBench, user_id: int) -> None:
            for _ in range(40):
                await show(writer, await record(writer, (user_id, 1)))

        await asyncio.gather(write(board, 1), write(other, 2), write(board, 3), flush())
        await board.board.repair()

        await board.agrees()
        assert await bench.rows("SELECT seq FROM boards") == [(120,)]


async def test_a_redis_that_is_away_is_an_error_and_no_hang(
    board: BoardBench,
) -> None:
    async with opened_board(board.bench, "redis://127.0.0.1:1") as off:
        recorded = await record(board, (1, 1))

        with pytest.raises(redis.exceptions.ConnectionError):
            await asyncio.wait_for(off.board.publish(1, recorded.run), 5)

    await board.board.repair()
    await board.agrees()


async def test_finished_batches_are_announced(board: BoardBench) -> None:
    listener = board.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe(contract.DONE_CHANNEL)

    async def heard() -> bytes | None:
        # Announced again and again, since the subscription may be young.
        await board.board.announce_done(["batch-7", "batch-8"])
        message = await listener.get_message(timeout=0.1)
        data: bytes | None = message and message["data"]
        return data

    assert await eventually(heard) == b"batch-7 batch-8"
    await listener.aclose()


def _assert_prefixes(looks: list[Seen], changes: list[Change], users: int) -> None:
    """Each look's scores are the start scores plus the changes up to its seq."""
    scores = {n: demo_user(n).score for n in range(1, users + 1)}
    by_seq = {0: dict(scores)}
    wanted = {look.seq for look in looks}
    for change in changes:
        scores[change.user_id] = change.score
        if change.seq in wanted:
            by_seq[change.seq] = dict(scores)
    for look in looks:
        assert dict(look.ranking) == by_seq[look.seq]
        assert [score for _, score in look.ranking] == sorted(scores_of(look), reverse=True)


def scores_of(look: Seen) -> list[int]:
    return [score for _, score in look.ranking]


async def _cut_off(*_: object, **__: object) -> None:
    raise ConnectionAbortedError


async def _never_done(*_: object, **__: object) -> None:
    await asyncio.Event().wait()
