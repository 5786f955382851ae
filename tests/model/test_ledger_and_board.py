"""Ledger and Redis board against a pure model, with a crash between any two steps.

Hypothesis invents batches (with repeats of earlier submissions in them), the order in which their
steps run, crashes before and after each commit and each Redis command, lost Redis data and
restarts of the worker. After every step MySQL must equal the model and Redis a prefix of it, of
only those changes that someone has seen last; in the end all of it. MariaDB and Redis are real.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass
from typing import Any

import pymysql
import pytest
import redis.asyncio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from adapters import files
from adapters.ledger_queries import Run
from adapters.mysql import Pool, query_all
from adapters.tasks import end
from scoreboard import contract
from scoreboard.addresses import mysql_address
from scoreboard.domain import MAX_SCORE, Outcome, Submission
from worker.board import redis_board as board_module
from worker.board.redis_board import RedisBoard
from worker.database.ledger import Ledger
from worker.database.migrate import migrate
from worker.failpoints import Failpoints, FailpointTripped

USERS = {1: ("Alice", 1500), 2: ("Bob", 1400), 3: ("Carol", 0)}
UNKNOWN_USER = 99


class Crashed(ConnectionError):
    """The worker died here, as far as the work at hand is concerned."""


class CrashPoints(Failpoints):
    """Failpoints armed in memory: the named one raises once."""

    def __init__(self) -> None:
        super().__init__("")
        self.armed = ""

    async def hit(self, name: str) -> None:
        if name == self.armed:
            self.armed = ""
            raise FailpointTripped(name)


class WitnessedLedger(Ledger):
    """Notes which changes are known to survive a crash of MySQL.

    Not those whose commit nobody has seen return: InnoDB shows them before it has synced them.
    """

    lasting = 0

    async def record(self, *args: Any, **options: Any) -> Any:
        recorded = await super().record(*args, **options)
        self.note(recorded.last_seq)
        return recorded

    async def board(self, *, durable: bool = False) -> Any:
        board = await super().board(durable=durable)
        self.note(board.seq if durable else 0)
        return board

    async def changes_after(self, seq: int, limit: int, *, durable: bool = False) -> Any:
        changes = await super().changes_after(seq, limit, durable=durable)
        self.note(changes[-1].seq if durable and changes else 0)
        return changes

    async def snapshot(self) -> AsyncGenerator[Any, None]:
        async for board, users in super().snapshot():
            yield board, users
        self.note(board.seq)

    def note(self, seq: int) -> None:
        self.lasting = max(self.lasting, seq)


STEP_MAX_S = 10.0


class CrashingRedis(redis.asyncio.Redis):  # type: ignore[misc, unused-ignore]
    """Breaks off at its nth command from now, before or after Redis has run it."""

    left = 0
    after = False

    def arm(self, nth: int, *, after: bool) -> None:
        self.left, self.after = nth, after

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Crashed("before")
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if self.left == 0:
            raise Crashed("after")
        return answer


class Model:
    """What the ledger must hold: each id decided once, in the order of the commits."""

    def __init__(self) -> None:
        self.scores = {user: score for user, (_, score) in USERS.items()}
        self.decided: dict[bytes, tuple[str, int | None, int | None]] = {}
        self.changes: list[tuple[int, int, int]] = []

    def commit(self, batch: list[Submission]) -> None:
        for item in batch:
            if item.id in self.decided:
                continue
            if item.user_id not in self.scores:
                self.decided[item.id] = ("unknown_user", None, None)
                continue
            score = self.scores[item.user_id] + item.increment
            if not 0 <= score <= MAX_SCORE:
                self.decided[item.id] = ("score_out_of_range", None, None)
                continue
            self.scores[item.user_id] = score
            self.changes.append((len(self.changes) + 1, item.user_id, score))
            self.decided[item.id] = ("applied", len(self.changes), score)

    def scores_at(self, seq: int) -> dict[int, int]:
        scores = {user: score for user, (_, score) in USERS.items()}
        return scores | {user: score for _, user, score in self.changes[:seq]}


@dataclass
class Batch:
    """A batch on its way, with what the worker remembers of it."""

    submissions: list[Submission]
    step: str = "record"
    last_seq: int = 0
    run: Run | None = None


CRASHES = st.one_of(
    st.none(),
    st.sampled_from(["record.before_commit", "record.after_commit"]),
    st.tuples(st.integers(1, 6), st.booleans()),
)

ITEMS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from([*USERS, UNKNOWN_USER]),
        st.sampled_from([1, 10, -5, -2000, 1_000_000]),
    ),
    min_size=1,
    max_size=5,
)


class LedgerAndBoard(RuleBasedStateMachine):
    """One worker at a time, many batches, any order."""

    mysql_url = ""
    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.lasting = 0
        self.batches: list[Batch] = []
        self.bodies: dict[int, tuple[int, int]] = {}
        self.do(self.begin())

    def do(self, work: Awaitable[Any]) -> Any:
        # Bounded: a planted bug may make a repair go on without end.
        return self.loop.run_until_complete(asyncio.wait_for(work, STEP_MAX_S))

    async def begin(self) -> None:
        self.failpoints = CrashPoints()
        self.pool = Pool(mysql_address(self.mysql_url), size=2)
        # Any, since the stubs mix the answers of all protocols.
        self.redis: Any = CrashingRedis.from_url(
            self.redis_url, retry=Retry(NoBackoff(), 0), protocol=2
        )
        await migrate(self.pool)
        users = ",".join(f"({user},'{name}',{score})" for user, (name, score) in USERS.items())
        async with self.pool.connection() as connection:
            await query_all(
                connection,
                "DELETE FROM ledger; DELETE FROM users;"
                f" INSERT INTO users (id, name, score) VALUES {users};"
                " UPDATE boards SET seq = 0, incarnation = UUID()",
            )
            await connection.commit()
        await self.redis.flushdb()
        self.new_worker()

    def new_worker(self) -> None:
        self.ledger = WitnessedLedger(self.pool, self.failpoints)
        self.ledger.lasting = self.lasting
        self.board = RedisBoard(self.redis, self.ledger, stream_entries=1000)
        self.board.rebuild_wait_s = 30.0

    def crashing(self, crash: Any) -> None:
        self.failpoints.armed = crash if isinstance(crash, str) else ""
        nth, after = crash if isinstance(crash, tuple) else (0, False)
        self.redis.arm(nth, after=after)

    @rule(items=ITEMS)
    def accept(self, items: list[tuple[int, int, int]]) -> None:
        """A new batch. A number seen before is a repeat: same id, same body."""
        batch = []
        for number, user, increment in items:
            user, increment = self.bodies.setdefault(number, (user, increment))
            batch.append(
                Submission(
                    id=number.to_bytes(16, "big"),
                    principal=str(user),
                    user_id=user,
                    increment=increment,
                    received_us=0,
                )
            )
        self.batches.append(Batch(batch))

    @precondition(lambda self: self.batches)
    @rule(pick=st.integers(0, 100), crash=CRASHES)
    def step(self, pick: int, crash: Any) -> None:
        """The next step of some batch; after a crash the same step is due again."""
        batch = self.batches[pick % len(self.batches)]
        self.crashing(crash)
        try:
            self.do(self.run_step(batch))
        except (FailpointTripped, RedisError, ConnectionError):
            # A worker that takes over remembers nothing of the changes.
            batch.run = None
        finally:
            self.crashing(None)

    async def run_step(self, batch: Batch) -> None:
        match batch.step:
            case "record":
                await self.record(batch)
            case "publish":
                await self.board.publish(batch.last_seq, batch.run)
                self.batches.remove(batch)

    async def record(self, batch: Batch) -> None:
        known = await self.ledger.known_users(item.user_id for item in batch.submissions)
        screened = [
            (item, Outcome.APPLIED if item.user_id in known else Outcome.UNKNOWN_USER)
            for item in batch.submissions
        ]
        try:
            recorded = await self.ledger.record(screened)
        except FailpointTripped as crash:
            if str(crash) == "record.after_commit":
                self.model.commit(batch.submissions)
            raise
        self.model.commit(batch.submissions)
        batch.last_seq, batch.run, batch.step = recorded.last_seq, recorded.run, "publish"

    @rule(crash=CRASHES)
    def repair(self, crash: Any) -> None:
        self.crashing(crash)
        try:
            self.do(self.board.repair())
        except (FailpointTripped, RedisError, ConnectionError):
            pass
        finally:
            self.crashing(None)

    @rule()
    def redis_loses_everything(self) -> None:
        self.do(self.redis.flushdb())

    @rule()
    def worker_restarts(self) -> None:
        self.lasting = self.ledger.lasting
        self.new_worker()

    @invariant()
    def mysql_equals_the_model(self) -> None:
        self.do(self.compare_mysql())

    async def compare_mysql(self) -> None:
        async with self.pool.connection() as connection:
            rows, users, board = await query_all(
                connection,
                "SELECT submission_id, outcome, seq, score_after FROM ledger;"
                " SELECT id, score FROM users; SELECT seq FROM boards",
            )
            await connection.rollback()
        assert {row[0]: tuple(row[1:]) for row in rows} == self.model.decided
        assert dict(users) == self.model.scores
        assert board == [(len(self.model.changes),)]

    @invariant()
    def redis_is_a_prefix(self) -> None:
        self.do(self.compare_redis())

    async def compare_redis(self) -> None:
        seq = await self.redis.hget(contract.META_KEY, "seq")
        if seq is None:
            assert not await self.redis.exists(contract.RANKING_KEY)
            return
        assert int(seq) <= self.ledger.lasting, "shown before it lasts"
        entries = await self.redis.zrange(contract.RANKING_KEY, 0, -1, withscores=True)
        shown = {contract.member_user_id(member): int(-score) for member, score in entries}
        assert shown == self.model.scores_at(int(seq))
        streamed = [
            change
            for _, entry in await self.redis.xrange(contract.STREAM_KEY)
            for change in contract.decode_changes(entry[contract.STREAM_FIELD])
        ]
        first = streamed[0].seq if streamed else int(seq) + 1
        assert [
            (change.seq, change.user_id, change.score) for change in streamed
        ] == self.model.changes[first - 1 : int(seq)]

    def teardown(self) -> None:
        try:
            self.do(self.finish())
        finally:
            # Rebuilds that a worker of before had begun.
            self.do(end(asyncio.all_tasks(self.loop)))
            self.do(self.pool.close())
            self.do(self.redis.aclose())
            self.loop.close()

    async def finish(self) -> None:
        """Without further crashes everything arrives."""
        self.crashing(None)
        while self.batches:
            await self.run_step(self.batches[0])
        await self.board.repair()
        assert int(await self.redis.hget(contract.META_KEY, "seq")) == len(self.model.changes)
        await self.compare_mysql()
        await self.compare_redis()


def run_machine(mysql_url: str, redis_url: str, **changed: Any) -> None:
    machine = type(
        "LedgerAndBoardHere", (LedgerAndBoard,), {"mysql_url": mysql_url, "redis_url": redis_url}
    )
    chosen: dict[str, Any] = {
        "max_examples": 60,
        "stateful_step_count": 40,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
        **changed,
    }
    run_state_machine_as_test(machine, settings=settings(**chosen))


def test_ledger_and_board_follow_the_model_through_any_crashes(
    mysql_url: str, redis_url: str
) -> None:
    run_machine(mysql_url, redis_url)


@pytest.mark.parametrize("emptied", [False, True], ids=["behind", "emptied"])
def test_the_keeper_waits_for_a_commit_that_nobody_saw_return(
    mysql_url: str, redis_url: str, emptied: bool
) -> None:
    """The walk that chance seldom takes: the witness must have seen the change last."""
    kind = type("Walk", (LedgerAndBoard,), {"mysql_url": mysql_url, "redis_url": redis_url})
    machine = kind()
    try:
        machine.do(machine.board.repair())
        machine.accept([(1, 1, 10)])
        machine.step(0, "record.after_commit")
        if emptied:
            machine.redis_loses_everything()

        machine.do(machine.board.repair())

        machine.redis_is_a_prefix()
        assert machine.ledger.lasting == 1
    finally:
        machine.teardown()


def test_model_catches_a_script_that_ignores_its_cursor(
    mysql_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = files.script

    def without_condition(package: str, name: str) -> str:
        text = original(package, name)
        if name == "advance":
            for condition in ("tonumber(ARGV[2]) ~= cursor + 1", "tip ~= ARGV[7]"):
                assert condition in text
                text = text.replace(condition, "false")
        return text

    monkeypatch.setattr(board_module, "script", without_condition)

    # Noticed once is enough: services of their own time may not do it again when asked to.
    with pytest.raises(
        (AssertionError, ResponseError, TimeoutError, Flaky, pymysql.err.ProgrammingError)
    ):
        run_machine(
            mysql_url,
            redis_url,
            max_examples=500,
            phases=[Phase.generate],
            database=None,
            report_multiple_bugs=False,
        )
