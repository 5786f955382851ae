"""The board in Redis is judged by its content: whatever somebody else takes away or writes there is
noticed by the next publish or look, and healed; told to everybody if readers may have seen it."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from itertools import combinations
from typing import Any

import pytest
import pytest_asyncio

from adapters.ledger_queries import BoardRow
from scoreboard import contract
from scoreboard.domain import Change, User
from scoreboard.players.orders import Order, RemovePlayer
from server.settings import ServerSettings
from tests.support.api import running_api
from tests.support.boards import BoardBench, opened_board
from tests.support.ledgers import opened_ledger, submission
from tests.support.pipeline import NewWorker
from tests.support.pipeline import submission as one
from worker.board import lines
from worker.board.look import KEYS, best
from worker.database.players import PlayerChanged, Players
from worker.failpoints import Failpoints

META, RANKING, MEMBERS, STREAM = KEYS
GONE = {key.rpartition(":")[2]: (key,) for key in KEYS} | {
    " and ".join(key.rpartition(":")[2] for key in pair): pair for pair in combinations(KEYS, 2)
}
UNSEEN = {
    "a trimmed stream": ("XTRIM", STREAM, "MAXLEN", 1),
    "an emptied stream": ("XTRIM", STREAM, "MAXLEN", 0),
    "the last entry deleted": ("XDEL", STREAM, "6-0"),
    "a text for the ranking": ("SET", RANKING, "a"),
    "a text for the members": ("SET", MEMBERS, "a"),
    "a text for the stream": ("SET", STREAM, "a"),
    "a text for the marks": ("SET", META, "a"),
    "a member without a line": ("HSET", MEMBERS, "4711", "stranger"),
    "a line without a member": ("ZADD", RANKING, -99999, b"\0" * 16 + b"stranger"),
    "a member removed": ("HDEL", MEMBERS, "3"),
    "the best removed": ("ZREMRANGEBYRANK", RANKING, 0, 0),
    "a count changed": ("HSET", META, "users", 3),
    "an entry that nobody can read": ("XADD", STREAM, "*", "a", "b"),
}
SEEN = {
    "a higher score": ("ZADD", RANKING, -(10**9), contract.ranking_member(5, 0, "User00005")),
    "a lower score": ("ZADD", RANKING, 7, contract.ranking_member(5, 0, "User00005")),
    "a cursor that runs ahead": ("HSET", META, "seq", 99),
    "a cursor set back": ("HSET", META, "seq", 2),
    "another identity": ("HSET", META, "tip", "6:1:1:1"),
    "another member": ("HSET", MEMBERS, "5", contract.ranking_member(5, 0, "Somebody")),
    "a change that never was": (
        *("XADD", STREAM, "7-0", contract.STREAM_FIELD),
        contract.encode_changes([Change(seq=7, user_id=1, name="Alice", score=1, committed_us=1)]),
    ),
}


@pytest_asyncio.fixture
async def board(mysql_url: str, redis_url: str) -> AsyncIterator[BoardBench]:
    async with opened_ledger(mysql_url) as bench, opened_board(bench, redis_url) as opened:
        await opened.board.repair()
        for users in ((1, 2, 3), (1, 2, 4)):
            await _show(opened, *users)
        yield opened


async def _show(board: BoardBench, *users: int) -> None:
    recorded = await board.bench.record(*(submission(user, 1) for user in users))
    await board.board.publish(recorded.last_seq, recorded.run)


async def _healed(board: BoardBench, *, traffic: bool) -> bool:
    """Whether the history ended; asserts that all is well after a publish or two looks."""
    before = (await board.bench.ledger.board()).incarnation
    if traffic:
        await _show(board, 1, 6)
    # The second look finds what the first one has only marked.
    for _ in range(2):
        await board.board.repair()
    await board.agrees()
    copy, _ = await board.board._judged()
    assert copy.whole
    assert copy.stream_count >= copy.entries
    await _show(board, 2, 7)
    await board.agrees()
    return (await board.bench.ledger.board()).incarnation != before


@pytest.mark.parametrize("traffic", [False, True], ids=["idle", "traffic"])
@pytest.mark.parametrize("keys", GONE.values(), ids=GONE)
async def test_lost_keys_are_rebuilt(
    board: BoardBench, keys: tuple[str, ...], traffic: bool
) -> None:
    await board.redis.delete(*keys)

    assert not await _healed(board, traffic=traffic)


@pytest.mark.parametrize("traffic", [False, True], ids=["idle", "traffic"])
@pytest.mark.parametrize("write", UNSEEN.values(), ids=UNSEEN)
async def test_a_write_that_no_reader_is_shown_is_undone(
    board: BoardBench, write: tuple[Any, ...], traffic: bool
) -> None:
    await board.redis.execute_command(*write)

    await _healed(board, traffic=traffic)


@pytest.mark.parametrize("write", SEEN.values(), ids=SEEN)
async def test_a_write_that_readers_may_have_seen_ends_the_history(
    board: BoardBench, write: tuple[Any, ...]
) -> None:
    await board.redis.execute_command(*write)

    assert await _healed(board, traffic=False)


@pytest.mark.parametrize("write", SEEN.values(), ids=SEEN)
async def test_a_foreign_write_under_traffic_is_undone(
    board: BoardBench, write: tuple[Any, ...]
) -> None:
    await board.redis.execute_command(*write)

    await _healed(board, traffic=True)


async def test_scores_beyond_the_top_are_compared_by_turns(
    mysql_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.board.lines.TOP_PER_LOOK", 3)
    monkeypatch.setattr("worker.board.lines.USERS_PER_LOOK", 4)
    async with opened_ledger(mysql_url) as bench, opened_board(bench, redis_url) as board:
        await board.board.repair()
        before = await bench.ledger.board()
        ids = [user for user, _ in (await board.look()).ranking]
        member = await board.redis.hget(MEMBERS, str(ids[-1]))
        await board.redis.zadd(RANKING, {member: 7})

        for _ in range(1 + len(ids) // 4):
            await board.board.repair()

        assert (await bench.ledger.board()).incarnation != before.incarnation
        await board.agrees()


async def test_a_refresh_that_finds_a_wrong_copy_ends_the_history(board: BoardBench) -> None:
    before = await board.bench.ledger.board()
    await board.redis.execute_command(*SEEN["a higher score"])

    report = await board.board.refresh(lambda: None)

    after = await board.bench.ledger.board()
    assert report.wrong == 1
    assert after.incarnation != before.incarnation
    assert report.seq == after.seq == after.starts_after
    await board.agrees()


async def test_a_refresh_of_a_sound_copy_keeps_the_history(board: BoardBench) -> None:
    before = await board.bench.ledger.board()
    await board.bench.rows("INSERT INTO users (id, name, score) VALUES (77, 'New', 3)")

    report = await board.board.refresh(lambda: None)

    assert (report.wrong, report.missing, report.surplus) == (0, 1, 0)
    assert (await board.bench.ledger.board()) == before


async def _removes(board: BoardBench, user: int, *, shown: bool) -> None:
    """Take a user off the board by an operator's order, in MySQL alone or in Redis, too."""
    order = Order(
        id=secrets.token_bytes(16), actor="olga", action=RemovePlayer(reason="a test", user_id=user)
    )
    done = await Players(board.bench.pool, Failpoints("")).carry_out(order)
    assert isinstance(done, PlayerChanged)
    if shown:
        await board.board.publish(done.seq)


@pytest.mark.parametrize("shown", [False, True], ids=["not shown yet", "shown"])
@pytest.mark.parametrize("before", [True, False], ids=["before MySQL is read", "after"])
async def test_a_user_removed_while_lines_are_compared_is_no_difference(
    board: BoardBench, before: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = board.bench.ledger
    history = (await ledger.board()).incarnation
    real = ledger.users
    first = [True]

    async def users(ids: Iterable[int], after: int, limit: int) -> tuple[list[User], int]:
        if before and first.pop():
            await _removes(board, 3, shown=shown)
        found = await real(ids, after, limit)
        if not before and first.pop():
            await _removes(board, 3, shown=shown)
        return found

    monkeypatch.setattr(ledger, "users", users)
    await board.board.repair()
    monkeypatch.undo()

    await board.board.repair()
    assert (await ledger.board()).incarnation == history
    assert (await board.look()).ranking == await board.in_mysql()


@pytest.mark.parametrize("user", [3, 9], ids=["one with points", "one of the first hour"])
async def test_a_user_removed_during_a_refresh_is_no_drift(
    board: BoardBench, user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = board.bench.ledger
    history = (await ledger.board()).incarnation
    real = ledger.snapshot

    async def snapshot() -> AsyncGenerator[tuple[BoardRow, list[User]], None]:
        async for board_row, users in real():
            await _removes(board, user, shown=True)
            yield board_row, users

    monkeypatch.setattr(ledger, "snapshot", snapshot)
    report = await board.board.refresh(lambda: None)

    assert (report.wrong, report.missing, report.surplus) == (0, 0, 0)
    assert (await ledger.board()).incarnation == history
    assert (await board.look()).ranking == await board.in_mysql()


async def test_a_torn_board_is_never_read(settings: ServerSettings, worker: NewWorker) -> None:
    async with (
        worker() as pipeline,
        running_api(settings) as api,
    ):
        for number in range(1, 11):
            await pipeline.redis.delete(*KEYS[1 + number % 2 : 3])
            await pipeline.run(one(2, 1))
            for _ in range(5):
                scores = {line["user"]: line["score"] for line in await api.scores()}
                assert scores.keys() == {"Alice", "Bob"}
                _, place, _ = await api.get(f"{contract.USERS_PATH}/1")
                assert place["rank"] == 1


async def test_a_redis_that_fails_over_between_two_looks_is_behind_and_not_wrong(
    board: BoardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promoted replica lacks the last changes: the history goes on, and they are published."""
    history = (await board.bench.ledger.board()).incarnation
    replica = {key: await board.redis.dump(key) for key in KEYS}
    await _show(board, 1, 2, 3)

    async def promoted(client: Any, count: int) -> Any:
        for key, kept in replica.items():
            await client.restore(key, 0, kept, replace=True)
        return await best(client, count)

    monkeypatch.setattr(lines, "best", promoted)
    await board.board.repair()
    monkeypatch.undo()
    await board.board.repair()

    now = await board.bench.ledger.board()
    assert now.incarnation == history
    assert int(await board.redis.hget(META, "seq") or 0) == now.seq
