"""Planted bugs: the traps that others fell into, each a few lines over the real code.

``MUTATIONS[name](patch)`` plants one for as long as the pytest monkeypatch lasts. ``EXPECTED``
says which promises it breaks and which faults bring it to light.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

import server.backends.temporal
import server.board.board
import server.stream.feed
import server.stream.hub
import server.stream.listener
import server.submit.admission
import server.submit.commit
import server.submit.submission
import worker.board.redis_board
import worker.database.ledger
import worker.database.migrate
from adapters.mysql import query_all as query_all_of_mysql
from scoreboard import contract, ids, rules, sse, tokens
from scoreboard.domain import Change, LedgerRow
from scoreboard.errors import MALFORMED
from scoreboard.tokens import Principal
from worker.failpoints import FailpointTripped
from worker.workflows.submission_lane import SubmissionLane

Patch = pytest.MonkeyPatch
LOSS = "mysql MySQL loses changes"
"""The fault that takes the last changes back, as a fail-over does, and replays them."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One planted bug. `breaks`: it must be convicted by at least one of these."""

    plant: Callable[[Patch], None]
    breaks: frozenset[str]
    faults: tuple[str, ...]


MUTATIONS: dict[str, Mutation] = {}


def planted(
    breaks: str, *faults: str
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a mutation under its function's name."""

    def register(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[plant.__name__] = Mutation(
            plant=plant, breaks=frozenset(breaks.split()), faults=faults
        )
        return plant

    return register


def replace_in(text: str, old: str, new: str) -> str:
    """`text` changed at `old`, which must be there: a bug that is not planted proves nothing."""
    assert old in text, old
    return text.replace(old, new)


def replace_in_script(patch: Patch, module: Any, name: str, old: str, new: str) -> None:
    """Change a Lua script as `module` loads it."""
    original = module.script

    def script(package: str, asked: str) -> str:
        text = original(package, asked)
        return replace_in(text, old, new) if asked == name else text

    patch.setattr(module, "script", script)


# The ledger


@planted("I1", "failpoint record.after_commit raise", "client reset-after-request")
def ledger_without_unique_key(patch: Patch) -> None:
    """A repeated batch is recorded again."""
    original_migrations = worker.database.migrate.migrations

    def migrations() -> list[tuple[int, str, str]]:
        first, *rest = original_migrations()
        weaker = replace_in(
            first[2],
            "CREATE TABLE ledger (\n    submission_id BINARY(16) NOT NULL PRIMARY KEY",
            "CREATE TABLE ledger (\n    submission_id BINARY(16) NOT NULL",
        )
        return [(first[0], first[1], weaker), *rest]

    def settle(screened: Any, **more: Any) -> Any:
        return rules.settle(screened, **{**more, "decided": ()})

    patch.setattr(worker.database.migrate, "migrations", migrations)
    patch.setattr(worker.database.ledger, "settle", settle)


@planted("I2", "failpoint record.after_commit raise")
def score_outside_the_transaction(patch: Patch) -> None:
    """Ledger and score are two transactions; a crash between them loses the score."""
    original_query = query_all_of_mysql
    original_record = worker.database.ledger.Ledger._record
    late: dict[Any, str] = {}

    async def query_all(connection: Any, statements: str) -> Any:
        kept = statements.split(";")
        users = [text for text in kept if text.startswith("INSERT INTO users")]
        if not users:
            return await original_query(connection, statements)
        late[connection] = users[0]
        return await original_query(
            connection, ";".join(text for text in kept if text not in users)
        )

    async def record(self: Any, connection: Any, screened: Any) -> Any:
        late.pop(connection, None)
        recorded = await original_record(self, connection, screened)
        if connection in late:
            await original_query(connection, late.pop(connection))
            await connection.commit()
        return recorded

    patch.setattr(worker.database.ledger, "query_all", query_all)
    patch.setattr(worker.database.ledger.Ledger, "_record", record)


@planted("I2")
def read_modify_write(patch: Patch) -> None:
    """Scores are read before the lock that orders the batches."""
    original = query_all_of_mysql

    async def query_all(connection: Any, statements: str) -> Any:
        unlocked = statements.partition("FOR UPDATE;")[2].partition(" FOR UPDATE")[0]
        if " FROM users " not in unlocked:
            return await original(connection, statements)
        [users] = await original(connection, unlocked)
        await connection.rollback()
        await asyncio.sleep(0.02)
        started, board, _, *rest = await original(connection, statements)
        return [started, board, users, *rest]

    patch.setattr(worker.database.ledger, "query_all", query_all)


@planted("I2", "failpoint record.before_commit raise")
def auto_increment_as_cursor(patch: Patch) -> None:
    """Numbers are handed out once and not taken back by a rollback."""
    given = itertools.count(1)

    def settle(screened: Any, **more: Any) -> Any:
        found = rules.settle(screened, **more)
        numbers = {row.seq: next(given) for row in found.rows if row.seq is not None}
        rows = [
            LedgerRow(
                submission=row.submission,
                outcome=row.outcome,
                seq=numbers.get(row.seq) if row.seq is not None else None,
                score_after=row.score_after,
                reasons=row.reasons,
            )
            for row in found.rows
        ]
        last = max(numbers.values(), default=found.last_seq)
        return type(found)(rows=rows, users=found.users, last_seq=last)

    patch.setattr(worker.database.ledger, "settle", settle)


@planted("I1", "failpoint record.before_commit raise")
def a_step_that_fails_counts_as_done(patch: Patch) -> None:
    """A batch that cannot be recorded is given up, and its end is announced all the same."""
    original = worker.database.ledger.Ledger.record

    async def record(self: Any, screened: Any) -> Any:
        try:
            return await original(self, screened)
        except FailpointTripped:
            return worker.database.ledger.Recorded(changes=[], last_seq=0, held=[])

    patch.setattr(worker.database.ledger.Ledger, "record", record)


# The lane


@planted("I1")
def forgets_a_signal(patch: Patch) -> None:
    """Of the batches that came while another one was carried, the lane carries the first."""
    original = SubmissionLane._next_together

    def next_together(self: Any) -> Any:
        return dict(itertools.islice(original(self).items(), 1))

    patch.setattr(SubmissionLane, "_next_together", next_together)


@planted("I1")
def ends_too_early(patch: Patch) -> None:
    """A lane ends as soon as it is told of its last batch, with those that wait in it."""
    original = SubmissionLane._carry

    async def carry(self: Any) -> None:
        if self._last:
            self._waiting.clear()
        else:
            await original(self)

    patch.setattr(SubmissionLane, "_carry", carry)


# Redis


@planted("I3 I4 I6", "failpoint publish.before sleep:400", "failpoint publish.before raise")
def publish_without_cursor(patch: Patch) -> None:
    """A late batch overwrites what a later one has published."""
    for condition in ("tonumber(ARGV[2]) ~= cursor + 1", "tip ~= ARGV[7]"):
        replace_in_script(
            patch, worker.board.redis_board, "advance", f"if {condition} then", "if false then"
        )


@planted("I3 I4", "failpoint publish.before sleep:400")
def zadd_greater_than(patch: Patch) -> None:
    """`ZADD GT` keeps late publishes from taking a score back, and every decrease with them."""
    replace_in_script(
        patch,
        worker.board.redis_board,
        "advance",
        "    else\n      members[#members + 1] = id\n",
        "    else\n"
        "      local kept = redis.call('HGET', KEYS[3], id)\n"
        "      local stood = kept and redis.call('ZSCORE', KEYS[2], kept)\n"
        "      if stood and tonumber(stood) < tonumber(ARGV[i + 2]) then\n"
        "        member, ARGV[i + 1], ARGV[i + 2] = kept, kept, stood\n"
        "      end\n"
        "      members[#members + 1] = id\n",
    )


@planted("I4 I5 I10", "flushall redis")
def nobody_rebuilds_an_emptied_redis(patch: Patch) -> None:
    """What Redis lost stays lost: publishing goes on from nothing."""

    async def repair(_board: Any) -> None:
        pass

    async def bring_forward(board: Any, last_seq: int, run: Any) -> None:
        run = run or board._recent.get(last_seq)
        if last_seq and run:
            if board._incarnation is None:
                board._incarnation = (await board._ledger.board()).incarnation
            await board._advance(run)

    patch.setattr(worker.board.redis_board.RedisBoard, "repair", repair)
    patch.setattr(worker.board.redis_board.RedisBoard, "_bring_forward", bring_forward)


@planted("I3")
def board_and_its_number_read_apart(patch: Patch) -> None:
    """GET /scores reads the seq, then the ranking."""
    original = server.board.board.Board._from_redis

    async def from_redis(self: Any, limit: int, offset: int) -> Any:
        seq = await self._redis.hget(contract.META_KEY, "seq")
        await asyncio.sleep(0.02)
        found = await original(self, limit, offset)
        return found if found is None or seq is None else (int(seq), found[1])

    patch.setattr(server.board.board.Board, "_from_redis", from_redis)


@planted("I3")
def later_pages_begin_too_far(patch: Patch) -> None:
    """A page that does not begin at the first place begins one place too far."""
    original = server.board.board.Board._from_redis

    async def from_redis(self: Any, limit: int, offset: int) -> Any:
        return await original(self, limit, offset + 1 if offset else 0)

    patch.setattr(server.board.board.Board, "_from_redis", from_redis)


@planted("I6")
def replica_that_lags(patch: Patch) -> None:
    """Every few reads come from a copy that is a moment old."""
    original = server.board.board.Board.page
    numbers = itertools.count()
    copies: dict[tuple[int, int], Any] = {}

    async def page(self: Any, limit: int, offset: int, *floor: int) -> Any:
        place = (limit, offset)
        if next(numbers) % 6 == 5 and place in copies:
            return copies.pop(place)
        found = await original(self, limit, offset, *floor)
        copies.setdefault(place, found)
        return found

    patch.setattr(server.board.board.Board, "page", page)


# Streams


@planted("I5", "listener reset-mid-reply")
def resume_goes_on_from_now(patch: Patch) -> None:
    """A listener that comes back is attached at the live end: the gap of snapshot and live."""
    original = server.stream.hub.Hub.opening

    async def opening(self: Any, last_event_id: int | None, *, snapshot: bool) -> Any:
        first, cursor = await original(self, last_event_id, snapshot=snapshot)
        return first, max(cursor, self.cursor)

    patch.setattr(server.stream.hub.Hub, "opening", opening)


@planted("I5")
def resume_is_always_a_reset(patch: Patch) -> None:
    """Whoever comes back is told that history is gone, whatever there is of it."""
    original = server.stream.hub.Hub.opening

    async def opening(self: Any, last_event_id: int | None, *, snapshot: bool) -> Any:
        if last_event_id is None:
            return await original(self, None, snapshot=snapshot)
        return await self._opening_with(sse.RESET)

    patch.setattr(server.stream.hub.Hub, "opening", opening)


@planted("I5", "redis refuse", "redis reset-after-request", "redis reset-mid-reply")
def pubsub_instead_of_a_stream(patch: Patch) -> None:
    """What happens while the API is not subscribed is never told."""

    async def follow_from_now(self: Any) -> None:
        found = await self._meta()
        if found is not None and found.seq > self._cursor:
            self._restart(found)
        await original(self)

    async def use_ledger(self: Any) -> None:
        if self._cursor < 0:
            await original_use_ledger(self)

    def restart(self: Any, cursor: int, *, replaced: bool) -> None:
        del replaced
        self._pending.clear()
        self._ring.clear(cursor)
        self._stand_at(cursor)
        for listener in self._listeners:
            listener.cursor = cursor

    original = server.stream.feed.Feed._follow
    original_use_ledger = server.stream.feed.Feed._use_ledger
    patch.setattr(server.stream.feed.Feed, "_follow", follow_from_now)
    patch.setattr(server.stream.feed.Feed, "_use_ledger", use_ledger)
    patch.setattr(server.stream.hub.Hub, "restart", restart)


@planted("I5")
def writes_that_get_lost(patch: Patch) -> None:
    """A full buffer drops what it is given, and nobody notices."""
    original = server.stream.listener.Listener._hand_over
    numbers = itertools.count()

    def write(self: Any, data: bytes) -> None:
        if next(numbers) % 200 != 199:
            original(self, data)

    patch.setattr(server.stream.listener.Listener, "_hand_over", write)


@planted("I5")
def writes_that_come_twice(patch: Patch) -> None:
    """At least once where exactly once was promised."""
    original = server.stream.listener.Listener._hand_over
    numbers = itertools.count()

    def write(self: Any, data: bytes) -> None:
        original(self, data)
        if next(numbers) % 200 == 199:
            original(self, data)

    patch.setattr(server.stream.listener.Listener, "_hand_over", write)


@planted("I5")
def events_show_the_score_before(patch: Patch) -> None:
    """An event has the score that its user had before the change."""
    original = sse.encode_updates
    newest: dict[str, int] = {}

    def encode_updates(changes: Iterable[Change]) -> bytes:
        shown = []
        for change in changes:
            before = newest.get(change.name, change.score)
            newest[change.name] = change.score
            shown.append(msgspec.structs.replace(change, score=before))
        return original(shown)

    patch.setattr(sse, "encode_updates", encode_updates)


@planted("I5 I10")
def stream_lags_one_batch(patch: Patch) -> None:
    """The last changes wait until others come after them."""
    original = server.stream.hub.Hub.take
    waiting: list[Change] = []

    def take(self: Any, changes: Sequence[Change]) -> None:
        ready = [change for change in waiting if change.seq > self.cursor]
        waiting[:] = changes
        if ready:
            original(self, ready)

    patch.setattr(server.stream.hub.Hub, "take", take)


# Another history


@planted("I3 I4 I5 I11", LOSS)
def positions_are_numbers(patch: Patch) -> None:
    """A position has no identity: another change under its number goes unnoticed."""

    def number_only(seq: int, *_: int) -> str:
        return f"{seq}:"

    async def compare_nothing(_board: Any, _copy: object) -> None:
        # This would notice the wrong scores a moment later.
        pass

    patch.setattr(worker.board.redis_board.RedisBoard, "_compare_some", compare_nothing)
    patch.setattr(contract, "identity", number_only)
    patch.setattr("adapters.ledger_queries.identity", number_only)


@planted("I5 I11", LOSS)
def listeners_are_not_reset(patch: Patch) -> None:
    """Another history begins, and listeners go on from the one before without a word."""
    original = server.stream.hub.Hub.restart

    def restart(self: Any, cursor: int, *, replaced: bool) -> None:
        listeners, self._listeners = self._listeners, {}
        original(self, cursor, replaced=replaced)
        self._listeners = listeners
        for listener in listeners:
            listener.cursor = cursor

    patch.setattr(server.stream.hub.Hub, "restart", restart)


@planted("I5 I11", LOSS)
def numbers_go_on(patch: Patch) -> None:
    """Another history begins with the numbers that the one before has used."""
    patch.setattr(worker.database.ledger, "next_start", lambda highest: highest)


@planted("I5", LOSS)
def reset_with_the_board_of_before(patch: Patch) -> None:
    """Who is reset is given a board that was kept from the history that ended."""
    original = sse.encode_snapshot
    kept: list[sse.Snapshot] = []

    def encode_snapshot(event: str, snapshot: sse.Snapshot) -> bytes:
        kept.append(snapshot)
        stale = sse.Snapshot(seq=snapshot.seq, scores=kept[0].scores)
        return original(event, stale if event == sse.RESET else snapshot)

    patch.setattr(sse, "encode_snapshot", encode_snapshot)


# The API


@planted("I1")
def hidden_client_retry(patch: Patch) -> None:
    """A client inside the server repeats a start that took long, as if it were a new one."""
    original = server.backends.temporal.Workflows.start
    numbers = itertools.count()

    async def start(self: Any, batch_id: str, payload: bytes, **more: Any) -> None:
        await original(self, batch_id, payload, **more)
        if next(numbers) % 20 == 19:
            again = [
                type(item)(
                    id=ids.time_ordered_id(time.time_ns() // 1_000_000, os.urandom(10)),
                    principal=item.principal,
                    user_id=item.user_id,
                    increment=item.increment,
                    received_us=item.received_us,
                )
                for item in contract.decode_batch(payload)
            ]
            await original(self, f"{batch_id}-again", contract.encode_batch(again), **more)

    patch.setattr(server.backends.temporal.Workflows, "start", start)


@planted("I1")
def acknowledged_before_it_is_durable(patch: Patch) -> None:
    """202 goes out while the start is under way; one that fails is only logged."""
    original = server.backends.temporal.Workflows.start
    numbers = itertools.count()

    async def start(self: Any, batch_id: str, payload: bytes, **more: Any) -> None:
        if next(numbers) % 20 == 19:
            # This one would have failed, had anybody waited for it.
            return
        await original(self, batch_id, payload, **more)

    patch.setattr(server.backends.temporal.Workflows, "start", start)


@planted("I1", "client reset-after-request")
def unknown_reported_as_refused(patch: Patch) -> None:
    """A start whose answer got lost is answered with 4xx, though it may have happened."""
    original = server.backends.temporal.Workflows.start
    numbers = itertools.count()

    async def start(self: Any, batch_id: str, payload: bytes, **more: Any) -> None:
        await original(self, batch_id, payload, **more)
        if next(numbers) % 20 == 19:
            raise TimeoutError("the answer got lost")

    patch.setattr(server.backends.temporal.Workflows, "start", start)
    patch.setattr(server.submit.commit, "UNAVAILABLE", MALFORMED)


@planted("I1 I8", "client reset-after-request")
def a_new_id_for_every_attempt(patch: Patch) -> None:
    """The key of the client names nothing."""

    def fresh(_principal: str, _key: str) -> bytes:
        return ids.time_ordered_id(time.time_ns() // 1_000_000, os.urandom(10))

    patch.setattr(
        server.submit.submission,
        "ids",
        SimpleNamespace(**{**vars(ids), "keyed_submission_id": fresh}),
    )


@planted("I1 I9", "client reset-after-request")
def rate_charged_on_retry(patch: Patch) -> None:
    """A repeat takes another place in the window."""
    replace_in_script(
        patch,
        server.submit.admission,
        "admission",
        "elseif known[id] or standing == 2 then",
        "elseif false then",
    )


@planted("I9")
def window_too_short(patch: Patch) -> None:
    """The limiter forgets admissions before they are a whole window old."""
    replace_in_script(
        patch,
        server.submit.admission,
        "admission",
        "limiter(limit_prefix, tonumber(ARGV[4]), tonumber(ARGV[5]))",
        "limiter(limit_prefix, tonumber(ARGV[4]), tonumber(ARGV[5]) * 0.7)",
    )


@planted("I9")
def window_too_long(patch: Patch) -> None:
    """The limiter remembers admissions for longer than a window."""
    replace_in_script(
        patch,
        server.submit.admission,
        "admission",
        "limiter(limit_prefix, tonumber(ARGV[4]), tonumber(ARGV[5]))",
        "limiter(limit_prefix, tonumber(ARGV[4]), tonumber(ARGV[5]) * 1.5)",
    )


@planted("I7")
def signatures_are_not_checked(patch: Patch) -> None:
    """Whatever a token claims is believed."""

    def proved(token: str, candidates: Sequence[Any]) -> tuple[Any, bytes]:
        return candidates[0], tokens._decoded(token.split(".")[1])

    patch.setattr(tokens, "_proved", proved)


@planted("I7")
def tokens_never_expire(patch: Patch) -> None:
    """When a token ends is read and not compared."""
    patch.setattr(tokens, "_end_s", lambda claims, _now_s: int(claims["exp"]))


@planted("I7")
def any_token_may_update_anyone(patch: Patch) -> None:
    """Authentication without authorisation."""
    patch.setattr(Principal, "may_update", lambda _self, _user_id: True)


@planted("I1 I7")
def key_without_its_body(patch: Patch) -> None:
    """A known key is a repeat, whatever comes with it."""
    replace_in_script(
        patch,
        server.submit.admission,
        "admission",
        "elseif known[id] and known[id] ~= payload and standing ~= 2 then",
        "elseif false then",
    )


def names() -> Sequence[str]:
    """All planted bugs, in the order of this file."""
    return list(MUTATIONS)
