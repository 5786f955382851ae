"""The outcome of a submission, for its user: from the ledger, else "pending"."""

import msgspec
import structlog

from adapters.redis import Redis
from scoreboard import contract, ids
from scoreboard.domain import Outcome
from scoreboard.errors import NOT_FOUND, Problem
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerEntry, LedgerReader
from server.board.readable import readable
from server.submit.admission import fresh_bucket

log = structlog.get_logger()

PENDING = "pending"
APPLIED = "applied"
HELD = "held"
REJECTED = "rejected"


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Answer of GET /scores/updates/{submissionId}.

    `status` is pending, applied (with `score` and `seq`), rejected (with
    `reason`) or held. Pending means admitted and not decided yet; without a 202 the
    submission may never have started, and repeating it is safe.
    """

    submission_id: str
    status: str
    user_id: int
    increment: int
    score: int | None = None
    seq: int | None = None
    reason: str | None = None


class Outcomes:
    """Looks submissions up."""

    def __init__(self, redis: Redis, ledger: LedgerReader) -> None:
        self._redis = redis
        self._ledger = ledger

    async def status(self, submission_id: bytes, principal: Principal) -> Status:
        """The submission's status.

        Raises Problem: not_found for an id that was never admitted (or forgotten before
        its decision) and for another user's, so that nobody learns which ids there are;
        unavailable.
        """
        name = ids.text(submission_id)
        with readable("outcome_unreadable", "Outcomes"):
            entry = await self._ledger.outcome(submission_id)
            waiting = None if entry else await self._waiting(submission_id)
            if entry is None and waiting is not None:
                # It may have been decided between the two reads.
                entry = await self._ledger.outcome(submission_id)
        if entry is not None:
            status = _decided(name, entry)
        elif waiting is not None:
            user_id, increment = map(int, waiting.split(b":"))
            status = Status(
                submission_id=name, status=PENDING, user_id=user_id, increment=increment
            )
        else:
            status = None
        if status is None or not principal.may_update(status.user_id):
            raise Problem(NOT_FOUND, "This token's user has no such submission.")
        return status

    async def _waiting(self, submission_id: bytes) -> bytes | None:
        """The payload that admission remembers for an id, chosen by client or server."""
        name = submission_id.hex()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(contract.SEEN_PREFIX + name)
        pipeline.hget(contract.FRESH_PREFIX + fresh_bucket(submission_id), name)
        # Bytes: this client decodes nothing, whatever redis-py's types say.
        seen, fresh = await pipeline.execute()
        found: bytes | None = seen or fresh
        return found


def _decided(name: str, entry: LedgerEntry) -> Status:
    if entry.outcome in (Outcome.APPLIED, Outcome.HELD):
        status, reason = (APPLIED if entry.outcome == Outcome.APPLIED else HELD), None
    else:
        status, reason = REJECTED, entry.outcome
    return Status(
        submission_id=name,
        status=status,
        user_id=entry.user_id,
        increment=entry.increment,
        score=entry.score_after,
        seq=entry.seq,
        reason=reason,
    )
