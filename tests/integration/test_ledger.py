"""The ledger on a real database: a submission counts once, whatever is repeated or cut off."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pymysql
import pytest
import pytest_asyncio

from adapters.mysql import query_all
from scoreboard.domain import MAX_SCORE, Outcome, Submission
from scoreboard.rules import screen
from tests.support.eventually import eventually
from tests.support.ledgers import USERS, LedgerBench, opened_ledger, submission
from tests.support.services import mysql_connection
from worker.failpoints import FailpointTripped

REPEATS = 10


@pytest_asyncio.fixture
async def bench(mysql_url: str) -> AsyncIterator[LedgerBench]:
    async with opened_ledger(mysql_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def syncing_bench(syncing_mysql_url: str) -> AsyncIterator[LedgerBench]:
    """The same where syncs can be counted."""
    async with opened_ledger(syncing_mysql_url) as opened:
        yield opened


def batch_of(size: int, chance: random.Random) -> list[Submission]:
    return [submission(chance.randint(1, USERS), chance.randint(1, 9)) for _ in range(size)]


# Exactly once


async def test_a_recorded_batch_gives_its_changes_in_order(bench: LedgerBench) -> None:
    recorded = await bench.record(submission(1, 10), submission(2, 5), submission(1, 1))

    assert [(c.seq, c.name, c.score) for c in recorded.changes] == [
        (1, "Alice", 1510),
        (2, "Bob", 1405),
        (3, "Alice", 1511),
    ]
    assert recorded.last_seq == 3
    assert await bench.changes() == recorded.changes


async def test_batch_recorded_again_returns_the_same_seq(
    bench: LedgerBench,
) -> None:
    batch = [submission(n % USERS + 1) for n in range(20)]
    first = await bench.record(*batch)

    again = await bench.record(*batch)

    assert again.changes == []
    assert again.last_seq == first.last_seq == 20
    assert await bench.reconcile(batch) == 20


async def test_overlapping_batch_adds_only_new_submissions(
    bench: LedgerBench,
) -> None:
    old, new = submission(1), submission(2)
    await bench.record(old)

    recorded = await bench.record(new, old)

    assert [change.user_id for change in recorded.changes] == [2]
    assert recorded.last_seq == 2
    assert await bench.reconcile([old, new]) == 2


async def test_one_id_twice_in_a_batch_counts_once(bench: LedgerBench) -> None:
    once = submission(1)
    other_body = submission(1, 500, name=once.id)

    await bench.record(once, once, other_body)

    assert await bench.reconcile([once]) == 1


async def test_the_same_batch_recorded_by_many_at_once_counts_once(mysql_url: str) -> None:
    batch = [submission(n % USERS + 1) for n in range(50)]
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(opened_ledger(mysql_url)) for _ in range(4)]

        recorded = await asyncio.gather(*(b.record(*batch) for b in benches for _ in range(3)))

        assert {item.last_seq for item in recorded} == {50}
        assert sum(len(item.changes) for item in recorded) == 50
        assert await benches[0].reconcile(batch) == 50


async def test_concurrent_batches_leave_no_gap_and_lose_no_point(mysql_url: str) -> None:
    chance = random.Random(7)
    batches = [batch_of(20, chance) for _ in range(40)]
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(opened_ledger(mysql_url)) for _ in range(3)]

        recorded = await asyncio.gather(
            *(benches[n % 3].record(*batch) for n, batch in enumerate(batches))
        )

        assert await benches[0].reconcile(*batches) == 800
        seqs = [change.seq for item in recorded for change in item.changes]
        assert sorted(seqs) == list(range(1, 801))
        assert all(
            [c.seq for c in item.changes] == list(range(item.last_seq - 19, item.last_seq + 1))
            for item in recorded
        )


# Rejections


async def test_rejected_submissions_are_outcomes_in_the_ledger(bench: LedgerBench) -> None:
    batch = [
        submission(999),
        submission(1, 0),
        submission(1, 10**9),
        submission(3, -1),
        submission(1, 1),
    ]
    known = await bench.ledger.known_users(item.user_id for item in batch)

    await bench.ledger.record([(item, screen(item, known)) for item in batch])

    assert known == {1, 3}
    assert await bench.outcomes(batch) == [
        "unknown_user",
        "increment_out_of_range",
        "increment_out_of_range",
        "score_out_of_range",
        "applied",
    ]
    assert await bench.reconcile(batch) == 1


async def test_a_batch_of_rejections_takes_no_number(bench: LedgerBench) -> None:
    recorded = await bench.record(submission(999), submission(1, -5000))

    assert (recorded.changes, recorded.last_seq) == ([], 0)
    assert (await bench.ledger.board()).seq == 0


async def test_the_first_outcome_stands_even_when_its_reason_is_gone(bench: LedgerBench) -> None:
    early = submission(50)
    await bench.record(early)
    await bench.rows("INSERT INTO users (id, name) VALUES (50, 'Late')")

    again = await bench.record(early)

    assert again.changes == []
    assert await bench.outcomes([early]) == ["unknown_user"]


@pytest.mark.parametrize(
    ("score", "increment", "outcome"),
    [
        (MAX_SCORE - 1, 1, "applied"),
        (MAX_SCORE, 1, "score_out_of_range"),
        (1, -1, "applied"),
        (0, -1, "score_out_of_range"),
    ],
)
async def test_totals_stop_at_their_bounds(
    bench: LedgerBench, score: int, increment: int, outcome: str
) -> None:
    await bench.rows(f"UPDATE users SET score = {score} WHERE id = 3")
    item = submission(3, increment)

    await bench.record(item)

    assert await bench.outcomes([item]) == [outcome]
    expected = score + increment if outcome == "applied" else score
    assert await bench.rows("SELECT score FROM users WHERE id = 3") == [(expected,)]


@pytest.mark.parametrize("score", [-1, MAX_SCORE + 1])
async def test_the_schema_itself_refuses_a_total_out_of_bounds(
    bench: LedgerBench, score: int
) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="users_score_range"):
        await bench.rows(f"UPDATE users SET score = {score} WHERE id = 3")


async def test_extreme_values_are_stored_as_they_came(bench: LedgerBench) -> None:
    """They were refused by the rules, but the evidence must not be bent by a column."""
    odd = submission(2**63 - 1, -(2**63), principal="x" * 64)

    await bench.ledger.record([(odd, Outcome.INCREMENT_OUT_OF_RANGE)])

    assert await bench.rows("SELECT user_id, increment, principal FROM ledger") == [
        (2**63 - 1, -(2**63), b"x" * 64)
    ]


async def test_names_of_any_kind_come_back_whole(bench: LedgerBench) -> None:
    name = "O'Neill \\ \"%s; -- 🎯 Ünïcode"
    hexed = name.encode().hex()
    await bench.rows(f"INSERT INTO users (id, name) VALUES (60, CONVERT(x'{hexed}' USING utf8mb4))")

    recorded = await bench.record(submission(60))

    assert recorded.changes[0].name == name
    assert (await bench.changes())[0].name == name
    assert await bench.rows("SELECT HEX(name) FROM users WHERE id = 60") == [(hexed.upper(),)]


async def test_names_that_differ_in_case_or_accent_are_different(bench: LedgerBench) -> None:
    await bench.rows("INSERT INTO users (id, name) VALUES (61, 'anna'), (62, 'ANNA')")

    assert await bench.ledger.known_users([61, 62, 63]) == {61, 62}


# Interruptions


async def test_a_deadlock_victim_repeats_the_whole_transaction(bench: LedgerBench) -> None:
    batch = [submission(1), submission(2)]
    async with mysql_connection(bench.mysql_url) as rival:
        await query_all(rival, "CREATE TABLE ballast (n INT PRIMARY KEY)")
        await rival.begin()
        # The heavier transaction survives a deadlock.
        await query_all(
            rival, "INSERT INTO ballast VALUES " + ",".join(f"({n})" for n in range(500))
        )
        await query_all(rival, "SELECT id FROM users WHERE id = 2 FOR UPDATE")
        deadlocks = await _deadlocks(bench)
        recording = asyncio.create_task(bench.record(*batch))
        await eventually(lambda: _waits_for_a_lock(bench), interval_s=0.2)

        await query_all(rival, "SELECT seq FROM boards WHERE id = 1 FOR UPDATE")
        assert await _deadlocks(bench) == deadlocks + 1
        await rival.rollback()

        assert (await recording).last_seq == 2
    assert await bench.reconcile(batch) == 2


async def test_a_lock_timeout_repeats_the_whole_transaction(bench: LedgerBench) -> None:
    batch = [submission(1), submission(2)]
    async with mysql_connection(bench.mysql_url) as rival:
        await rival.begin()
        await query_all(rival, "SELECT id FROM users WHERE id = 2 FOR UPDATE")
        recording = asyncio.create_task(bench.record(*batch))
        timeouts = await _row_lock_waits(bench)

        # The first wait ends with error 1205, then a second one begins.
        async def waited_twice() -> bool:
            return await _row_lock_waits(bench) >= timeouts + 2

        await eventually(waited_twice, timeout_s=20, interval_s=0.2)
        assert not recording.done()
        await rival.rollback()

        assert (await recording).last_seq == 2
    assert await bench.reconcile(batch) == 2


@pytest.mark.parametrize("point", ["record.before_commit", "record.after_commit"])
async def test_a_fault_around_the_commit_neither_loses_nor_doubles(
    mysql_url: str, tmp_path: Path, point: str
) -> None:
    armed = tmp_path / "failpoints"
    armed.write_text(f"{point} 1 raise\n")
    batch = [submission(n % USERS + 1) for n in range(10)]
    async with opened_ledger(mysql_url, failpoints=str(armed)) as bench:
        with pytest.raises(FailpointTripped):
            await bench.record(*batch)
        assert (await bench.ledger.board()).seq == (0 if "before" in point else 10)

        again = await bench.record(*batch)

        assert again.last_seq == 10
        assert len(again.changes) == (10 if "before" in point else 0)
        assert await bench.reconcile(batch) == 10


async def test_a_connection_killed_before_its_commit_leaves_nothing(
    mysql_url: str, tmp_path: Path
) -> None:
    armed = tmp_path / "failpoints"
    armed.write_text("record.before_commit 1 sleep:30000\n")
    batch = [submission(1)]
    async with opened_ledger(mysql_url, failpoints=str(armed), pool_size=2) as bench:
        recording = asyncio.create_task(bench.record(*batch))
        await eventually(lambda: armed.with_name("failpoints.fired").exists())
        [(holder,)] = await bench.rows(
            "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
            " JOIN information_schema.processlist ON id = trx_mysql_thread_id"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        await bench.rows(f"KILL {holder}")
        recording.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recording

        assert await bench.rows("SELECT COUNT(*) FROM ledger") == [(0,)]
        assert (await bench.record(*batch)).last_seq == 1
        assert await bench.reconcile(batch) == 1


async def test_cancelled_recordings_never_leave_half_a_batch(mysql_url: str) -> None:
    chance = random.Random(11)
    batches = [batch_of(10, chance) for _ in range(30)]
    async with opened_ledger(mysql_url, pool_size=3) as bench:
        # Cancelled anywhere between its start and its end, on a machine of whatever speed.
        began = time.monotonic()
        await bench.record(*batches[0])
        took_s = time.monotonic() - began
        cancelled = 0
        for batch in batches[1:]:
            recording = asyncio.create_task(bench.record(*batch))
            await asyncio.wait({recording}, timeout=chance.uniform(0, 2 * took_s))
            recording.cancel()
            cancelled += not await asyncio.wait_for(_finished(recording), 5)
            stored = {row[0] for row in await bench.rows("SELECT submission_id FROM ledger")}
            mine = {item.id for item in batch}
            assert not stored & mine or mine <= stored

        # Every batch is then repeated, as Temporal would.
        for batch in batches:
            await bench.record(*batch)
        assert await bench.reconcile(*batches) == 300
    assert 0 < cancelled < len(batches) - 1


# Reading back


async def test_repeated_batch_waits_until_the_first_is_durable(
    syncing_bench: LedgerBench,
) -> None:
    """A commit can be seen before its sync, and the attempt that made it may not have heard."""
    batch = [submission(1)]
    await syncing_bench.record(*batch)
    before = await syncing_bench.log_syncs()

    for _ in range(REPEATS):
        assert (await syncing_bench.record(*batch)).last_seq == 1

    assert await syncing_bench.log_syncs() - before >= REPEATS


@pytest.mark.parametrize("read", ["board", "changes_after", "snapshot"])
async def test_durable_read_waits_until_visible_commits_are_durable(
    syncing_bench: LedgerBench, read: str
) -> None:
    await syncing_bench.record(submission(1))
    before = await syncing_bench.log_syncs()

    for _ in range(REPEATS):
        match read:
            case "board":
                assert (await syncing_bench.ledger.board(durable=True)).seq == 1
            case "changes_after":
                assert len(await syncing_bench.ledger.changes_after(0, 10, durable=True)) == 1
            case _:
                assert [board.seq async for board, _ in syncing_bench.ledger.snapshot()] == [1]

    assert await syncing_bench.log_syncs() - before >= REPEATS


async def test_durable_reads_do_not_wait_for_a_batch_under_way(bench: LedgerBench) -> None:
    async with bench.pool.connection() as writer:
        await query_all(writer, "START TRANSACTION; SELECT seq FROM boards FOR UPDATE")

        board = await asyncio.wait_for(bench.ledger.board(durable=True), 2)
        await writer.rollback()

    assert board.seq == 0


async def test_changes_are_read_in_order_from_any_point(bench: LedgerBench) -> None:
    await bench.record(*[submission(n % USERS + 1) for n in range(20)])

    assert [c.seq for c in await bench.ledger.changes_after(0, 5)] == [1, 2, 3, 4, 5]
    assert [c.seq for c in await bench.ledger.changes_after(17, 100)] == [18, 19, 20]
    assert await bench.ledger.changes_after(20, 100) == []


async def test_a_user_removed_by_hand_leaves_no_gap(bench: LedgerBench) -> None:
    await bench.record(submission(3), submission(4), submission(3))
    await bench.rows("DELETE FROM users WHERE id = 4")

    assert [(c.seq, c.name, c.removed) for c in await bench.changes()] == [
        (1, "User00003", False),
        (2, "removed-4", True),
        (3, "User00003", False),
    ]


async def test_a_snapshot_is_one_moment_while_writes_go_on(mysql_url: str) -> None:
    users = 4500
    chance = random.Random(5)
    async with opened_ledger(mysql_url, users=users) as bench:
        writing = True

        async def write() -> None:
            while writing:
                await bench.record(*[submission(chance.randint(1, users), 1) for _ in range(50)])

        writer = asyncio.create_task(write())
        await eventually(lambda: _board_moved(bench, 0))
        boards, found = [], []
        async for board, chunk in bench.ledger.snapshot():
            boards.append(board)
            found += chunk
            await eventually(partial(_board_moved, bench, board.seq))
        writing = False
        await writer

        assert len(boards) == 3
        assert len(set(map(str, boards))) == 1
        assert [user.id for user in found] == list(range(1, users + 1))
        seq = boards[0].seq
        assert sum(user.score for user in found) == 1500 + 1400 + seq
        last = {c.user_id: c for c in await bench.changes() if c.seq <= seq}
        assert {u.id: u.seq for u in found if u.seq} == {i: c.seq for i, c in last.items()}


# Connections


async def test_sessions_read_committed_and_give_up_locks_early(bench: LedgerBench) -> None:
    variables = dict(await bench.rows("SHOW SESSION VARIABLES"))

    # MariaDB and MySQL name the first one differently.
    isolation = variables.get("transaction_isolation") or variables["tx_isolation"]
    assert isolation == "READ-COMMITTED"
    assert variables["innodb_lock_wait_timeout"] == "5"
    assert variables["wait_timeout"] == "20"


async def test_a_transaction_left_open_is_never_handed_on(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, pool_size=1) as bench:
        with suppress(ZeroDivisionError):
            async with bench.pool.connection() as connection:
                await query_all(connection, "START TRANSACTION; UPDATE users SET score = 7")
                raise ZeroDivisionError
        await bench.rows("SELECT 1")

        assert await bench.rows("SELECT COUNT(*) FROM users WHERE score = 7") == [(0,)]


async def test_a_unit_of_work_cannot_hold_a_connection_for_ever(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, pool_size=1) as bench:
        with pytest.raises(TimeoutError):
            async with bench.pool.connection(timeout_s=0.2) as connection:
                await query_all(connection, "SELECT SLEEP(30)")

        assert await asyncio.wait_for(bench.rows("SELECT 1"), 5) == [(1,)]


async def test_connections_that_the_server_closed_are_replaced(mysql_url: str) -> None:
    async with opened_ledger(mysql_url, pool_size=2) as bench, mysql_connection(mysql_url) as rival:
        await asyncio.gather(*(bench.rows("SELECT SLEEP(0.05)") for _ in range(2)))
        [mine] = await query_all(
            rival,
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        )
        assert mine
        for (number,) in mine:
            await query_all(rival, f"KILL {number}")

        async def works() -> bool:
            try:
                return await bench.rows("SELECT 1") == [(1,)]
            except pymysql.err.Error:
                # What the server closed may show only at the first use.
                return False

        await eventually(works, timeout_s=5)


async def _finished(task: "asyncio.Task[object]") -> bool:
    try:
        await task
    except asyncio.CancelledError:
        return False
    return True


async def _board_moved(bench: LedgerBench, past: int) -> bool:
    return (await bench.ledger.board()).seq > past


async def _waits_for_a_lock(bench: LedgerBench) -> bool:
    # InnoDB shows a copy of this table that is refreshed only after 0.1 s without a read.
    waiting = await bench.rows(
        "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    )
    return bool(waiting)


async def _row_lock_waits(bench: LedgerBench) -> int:
    [(_, value)] = await bench.rows("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")
    return int(value)


async def _deadlocks(bench: LedgerBench) -> int:
    """Deadlocks that the server has seen; MariaDB counts them, MySQL shows the last one."""
    counted = await bench.rows("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    if counted:
        return int(counted[0][1])
    [(count,)] = await bench.rows(
        "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
    )
    return int(count)
