"""The four steps of the workflow, each safe to repeat. Not their order: see `workflow`.

- validate  reads only
- record    repeats by submission id, the ledger's primary key
- publish   repeats by the ranking's cursor in Redis
- notify    repeats by the stream's cursor in Redis
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from temporalio import activity
from temporalio.exceptions import ApplicationError

from scoreboard import contract
from scoreboard.domain import Change, Outcome, Submission
from scoreboard.rules import screen
from worker import workflow
from worker.board import RedisBoard
from worker.failpoints import Failpoints
from worker.ledger import Ledger

OUTCOMES = tuple(Outcome)
RECENT_BATCHES = 64
KNOWN_USERS_MAX = 1_000_000


class Activities:
    """The steps, with the clients they need."""

    def __init__(self, ledger: Ledger, board: RedisBoard, failpoints: Failpoints) -> None:
        self._ledger = ledger
        self._board = board
        self._failpoints = failpoints
        # Saves publish and notify a look at the ledger; any loss only costs that look.
        self._recent: dict[int, list[Change]] = {}
        # Users are never removed by this program; should one be, `record` finds out.
        self._known_users: set[int] = set()

    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register with a worker."""
        return [self.validate, self.record, self.publish, self.notify]

    @activity.defn(name=workflow.VALIDATE)
    async def validate(self, batch: bytes) -> bytes:
        """Screen each submission: one byte each, the index of its Outcome."""
        submissions = _decode(batch)
        wanted = {item.user_id for item in submissions}
        known = wanted & self._known_users
        if len(known) < len(wanted):
            known |= await self._ledger.known_users(wanted - known)
            if len(self._known_users) > KNOWN_USERS_MAX:
                self._known_users.clear()
            self._known_users |= known
        return bytes(OUTCOMES.index(screen(item, known)) for item in submissions)

    @activity.defn(name=workflow.RECORD)
    async def record(self, batch: bytes, verdicts: bytes) -> int:
        """Store every outcome and the scores in one transaction; the batch's last seq, or 0."""
        submissions = _decode(batch)
        outcomes = [OUTCOMES[index] for index in verdicts]
        recorded = await self._ledger.record(list(zip(submissions, outcomes, strict=True)))
        if recorded.changes:
            self._recent[recorded.last_seq] = recorded.changes
            if len(self._recent) > RECENT_BATCHES:
                del self._recent[next(iter(self._recent))]
        return recorded.last_seq

    @activity.defn(name=workflow.PUBLISH)
    async def publish(self, last_seq: int) -> None:
        """Bring the ranking in Redis to at least `last_seq`."""
        await self._failpoints.hit("publish.before")
        await self._board.publish(self._recent.get(last_seq, ()), last_seq)

    @activity.defn(name=workflow.NOTIFY)
    async def notify(self, last_seq: int, batch_id: str) -> None:
        """Bring the listeners' stream to at least `last_seq`, and say that the batch is done."""
        await self._failpoints.hit("notify.before")
        await self._board.notify(self._recent.pop(last_seq, ()), last_seq)
        await self._board.announce_done(batch_id)
        await self._failpoints.hit("batch.before_completion")


def _decode(batch: bytes) -> list[Submission]:
    try:
        submissions = contract.decode_batch(batch)
    except msgspec.MsgspecError as error:
        raise _malformed("not a batch") from error
    if not 0 < len(submissions) <= contract.MAX_BATCH:
        raise _malformed("a batch has 1 to 500 submissions")
    if any(len(item.id) != 16 or len(item.principal.encode()) > 64 for item in submissions):
        raise _malformed("a submission id has 16 bytes, a principal at most 64")
    return submissions


def _malformed(reason: str) -> ApplicationError:
    return ApplicationError(reason, type=workflow.MALFORMED_BATCH, non_retryable=True)
