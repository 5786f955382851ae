"""The steps of the workflows, each safe to repeat. Not their order: see
`workflow`, `review` and `refresh`.

- carry     the four of a batch in one call, until one fails
- validate  reads only
- record    repeats by submission id, the ledger's primary key
- publish   repeats by the board's cursor in Redis
- notify    only announces: the stream moves with the ranking
- resolve   repeats by submission id: only a held row changes
- players   repeats by the order's id, the key of the audit trail
- refresh   builds a copy and swaps it in; repeating it builds another
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from adapters.reasons import reason_of
from scoreboard import contract, ids
from scoreboard.domain import Decision, Outcome, Submission
from scoreboard.players.effects import Refusal
from scoreboard.players.orders import decode_order
from scoreboard.rules import screen
from worker.board.redis_board import RedisBoard
from worker.database.cases import Cases
from worker.database.ledger import Ledger
from worker.database.players import Players
from worker.failpoints import Failpoints
from worker.step_watch import StepWatch
from worker.workflows import steps
from worker.workflows.board_refresh import RefreshReport
from worker.workflows.fraud_review import TIME_LIMIT_S, CaseResolved
from worker.workflows.player_change import PlayerChangeResult
from worker.workflows.submission_batch import BatchRecorded, Carried

log = structlog.get_logger()

OUTCOMES = tuple(Outcome)
KNOWN_USERS_MAX = 1_000_000

PACE_S = 0.02
"""The least time from one call for a lane's batches to the next."""


class StepTraces(Protocol):
    """What traces want to know of the steps; see `worker.tracing`."""

    def carrying(self, traceparents: Sequence[str]) -> AbstractContextManager[None]:
        """Around the steps of batches that go on with these traces."""

    def begin(self, step: str) -> None:
        """A step of a batch begins."""

    async def before_publish(self, seq: int) -> None:
        """The changes up to `seq` are about to be shown."""


@dataclass
class _SoFar:
    """What the finished steps of a call returned; `ended` are the ids of announced batches."""

    verdicts: bytes | None = None
    recorded: BatchRecorded | None = None
    published: bool = False
    ended: list[str] | None = None


class Activities:
    """The steps, with the clients they need."""

    def __init__(
        self,
        ledger: Ledger,
        cases: Cases,
        board: RedisBoard,
        players: Players,
        failpoints: Failpoints,
        *,
        review_limit_s: float = TIME_LIMIT_S,
        traces: StepTraces | None = None,
        watch: StepWatch | None = None,
    ) -> None:
        self._watch = watch or StepWatch()
        self._traces = traces
        self._ledger = ledger
        self._cases = cases
        self._board = board
        self._players = players
        self._failpoints = failpoints
        self._review_limit_s = review_limit_s
        # Some may have been removed since: `record` finds out.
        self._known_users: set[int] = set()

    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register with a worker."""
        return [
            self.carry,
            self.carry_together,
            self.validate,
            self.record,
            self.publish,
            self.notify,
            self.resolve,
            self.change_player,
            self.refresh,
        ]

    @activity.defn(name=steps.CARRY)
    async def carry(self, batch: bytes, batch_id: str) -> Carried:
        """All steps of a batch, one after the other; ends early, without an error, at one that
        fails: it and those after it then run by themselves, with their own patience.

        One call costs Temporal's core and the event loop a quarter of what four cost.
        """
        so_far = _SoFar()
        try:
            await self._run_steps([contract.CarriedBatch(batch_id, batch)], so_far, held_end=True)
        except Exception as error:
            if isinstance(error, ApplicationError) and error.non_retryable:
                raise
            log.info("step_failed", batch_id=batch_id, reason=reason_of(error))
        verdicts, recorded = so_far.verdicts, so_far.recorded
        return Carried(
            # What follows in the history need not be there twice.
            verdicts=None if verdicts is None or recorded is not None else list(verdicts),
            recorded=recorded,
            published=so_far.published,
            notified=so_far.ended is not None,
        )

    @activity.defn(name=steps.CARRY_TOGETHER)
    async def carry_together(self, batches: bytes) -> list[str]:
        """All steps of several batches in one transaction; the ids of those that have ended.

        None after an error, and none of which a submission is held for review: they go on by
        themselves, at once. Else it takes PACE_S at least, since the batches that come meanwhile
        share the next call; nothing waits for that on an idle machine.
        """
        began_s = time.monotonic()
        together, so_far = contract.decode_batches(batches), _SoFar()
        try:
            with self._carrying(together):
                await self._run_steps(together, so_far, held_end=False)
        except Exception as error:
            log.info("step_failed", reason=reason_of(error))
        ended = so_far.ended or []
        if len(ended) == len(together):
            await asyncio.sleep(began_s + PACE_S - time.monotonic())
        return ended

    async def _run_steps(
        self, batches: Sequence[contract.CarriedBatch], so_far: _SoFar, *, held_end: bool
    ) -> None:
        """The four steps of these batches, each noted in `so_far` when it is done.

        Without `held_end`, a batch with a held submission has not ended.
        """
        with self._step(steps.VALIDATE):
            decoded = {batch.id: _decode(batch.payload) for batch in batches}
            submissions = list(chain.from_iterable(decoded.values()))
            so_far.verdicts = await self._validate(submissions)
        with self._step(steps.RECORD):
            so_far.recorded = await self._record(submissions, so_far.verdicts)
        with self._step(steps.PUBLISH):
            await self.publish(so_far.recorded.last_seq)
        so_far.published = True
        stay = set() if held_end else {ids.parse(item) for item in so_far.recorded.held}
        ended = [
            batch_id
            for batch_id, items in decoded.items()
            if stay.isdisjoint(item.id for item in items)
        ]
        with self._step(steps.NOTIFY):
            await self._notify(ended)
        so_far.ended = ended

    def _carrying(self, batches: Sequence[contract.CarriedBatch]) -> AbstractContextManager[None]:
        if self._traces is None:
            return nullcontext()
        return self._traces.carrying([batch.traceparent for batch in batches])

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        if self._traces is not None:
            self._traces.begin(name)
        with self._watch.attempt(name):
            yield

    @activity.defn(name=steps.VALIDATE)
    async def validate(self, batch: bytes) -> bytes:
        """Screen each submission: one byte each, the index of its Outcome."""
        return await self._validate(_decode(batch))

    async def _validate(self, submissions: Sequence[Submission]) -> bytes:
        wanted = {item.user_id for item in submissions}
        known = wanted & self._known_users
        if len(known) < len(wanted):
            known |= await self._ledger.known_users(wanted - known)
            if len(self._known_users) > KNOWN_USERS_MAX:
                self._known_users.clear()
            self._known_users |= known
        return bytes(OUTCOMES.index(screen(item, known)) for item in submissions)

    @activity.defn(name=steps.RECORD)
    async def record(self, batch: bytes, verdicts: bytes) -> BatchRecorded:
        """Store every outcome and the scores in one transaction."""
        return await self._record(_decode(batch), verdicts)

    async def _record(self, submissions: Sequence[Submission], verdicts: bytes) -> BatchRecorded:
        outcomes = [OUTCOMES[index] for index in verdicts]
        recorded = await self._ledger.record(list(zip(submissions, outcomes, strict=True)))
        self._board.remember(recorded.run)
        return BatchRecorded(
            last_seq=recorded.last_seq,
            held=[ids.text(item) for item in recorded.held],
            review_limit_s=self._review_limit_s,
        )

    @activity.defn(name=steps.PUBLISH)
    async def publish(self, last_seq: int) -> None:
        """Bring ranking and stream in Redis to at least `last_seq`."""
        await self._failpoints.hit("publish.before")
        if self._traces is not None:
            await self._traces.before_publish(last_seq)
        await self._board.publish(last_seq)

    @activity.defn(name=steps.NOTIFY)
    async def notify(self, last_seq: int, batch_id: str) -> None:
        """Announce that the batch is done: its changes up to `last_seq` are on the stream."""
        del last_seq
        await self._notify([batch_id] if batch_id else [])

    async def _notify(self, batch_ids: Sequence[str]) -> None:
        await self._failpoints.hit("notify.before")
        if batch_ids:
            await self._board.announce_done(batch_ids)
        await self._failpoints.hit("batch.before_completion")

    @activity.defn(name=steps.RESOLVE)
    async def resolve(self, submission_id: str, decision: str, decided_by: str) -> CaseResolved:
        """End the case of a held submission in one transaction; the first decision stands."""
        try:
            resolved = await self._cases.resolve(
                ids.parse(submission_id), Decision(decision), decided_by
            )
        except (KeyError, ValueError) as error:
            raise ApplicationError(
                "no such case", type=steps.UNKNOWN_CASE, non_retryable=True
            ) from error
        await self._failpoints.hit("resolve.after_commit")
        return CaseResolved(
            outcome=resolved.outcome.value,
            seq=resolved.seq,
            decision=resolved.decision,
            decided_by=resolved.decided_by,
        )

    @activity.defn(name=steps.CHANGE_PLAYER)
    async def change_player(self, payload: bytes) -> PlayerChangeResult:
        """Carry out an operator's order in one transaction; a refusal is a result."""
        try:
            order = decode_order(payload)
        except ValueError as error:
            raise ApplicationError(
                "not an order", type=steps.MALFORMED_BATCH, non_retryable=True
            ) from error
        changed = await self._players.carry_out(order)
        if isinstance(changed, Refusal):
            return PlayerChangeResult(refusal=changed.value)
        return PlayerChangeResult(
            seq=changed.seq,
            user_id=changed.user_id,
            user=changed.user,
            score=changed.score,
            digest=order.digest.hex(),
        )

    @activity.defn(name=steps.REFRESH)
    async def refresh(self) -> RefreshReport:
        """Rebuild the ranking from MySQL and report how far the old one was off."""
        return await self._board.refresh(activity.heartbeat)


def _decode(batch: bytes) -> list[Submission]:
    try:
        submissions = contract.decode_batch(batch)
    except ValueError as error:
        raise _malformed("not a batch") from error
    if not 0 < len(submissions) <= contract.MAX_BATCH:
        raise _malformed(f"a batch has 1 to {contract.MAX_BATCH} submissions")
    if any(len(item.id) != 16 or len(item.principal.encode()) > 64 for item in submissions):
        raise _malformed("a submission id has 16 bytes, a principal at most 64")
    return submissions


def _malformed(reason: str) -> ApplicationError:
    return ApplicationError(reason, type=steps.MALFORMED_BATCH, non_retryable=True)
