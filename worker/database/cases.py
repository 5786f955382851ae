"""Held submissions in MySQL: ends each case exactly once. Not who decides: `review`."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from adapters.ledger_queries import BOARD_ID, BOARD_QUERY, board_from
from adapters.mysql import Pool, query_all
from scoreboard.domain import MAX_SCORE, Change, Decision, Outcome, Submission
from scoreboard.fraud import FraudRules
from scoreboard.rules import credited
from worker.database.statements import COMMIT_SYNCED, USER_COLUMNS, user_from, users_statement
from worker.database.transactions import commit_time_us, in_transaction
from worker.failpoints import Failpoints

CASES_PER_READ = 1000


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a case: who decided what, the submission's outcome, and its change when it was
    applied now. Decision and name are those of the audit trail, so of the first who decided."""

    decision: str
    decided_by: str
    outcome: Outcome
    seq: int
    change: Change | None = None


class OpenCase(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A case that waits for a decision."""

    submission_id: bytes
    opened_at_us: int


class Cases:
    """The cases as the worker sees them."""

    def __init__(self, pool: Pool, failpoints: Failpoints, fraud: FraudRules | None) -> None:
        self._pool = pool
        self._failpoints = failpoints
        self._fraud = fraud

    async def open(self, *, opened_before_us: int | None = None) -> AsyncIterator[OpenCase]:
        """The cases that nobody has decided, oldest first."""
        after = "(0, '')"
        upto = "" if opened_before_us is None else f" AND opened_at_us < {opened_before_us}"
        while True:
            async with self._pool.connection() as connection:
                [rows] = await query_all(
                    connection,
                    "SELECT submission_id, opened_at_us FROM reviews WHERE decision IS NULL"
                    f"{upto} AND (opened_at_us, submission_id) > {after}"
                    f" ORDER BY opened_at_us, submission_id LIMIT {CASES_PER_READ}",
                )
                await connection.rollback()
            for submission_id, opened_at_us in rows:
                yield OpenCase(submission_id=submission_id, opened_at_us=opened_at_us)
            if len(rows) < CASES_PER_READ:
                return
            after = f"({rows[-1][1]}, x'{rows[-1][0].hex()}')"

    async def resolve(self, submission_id: bytes, decision: Decision, decided_by: str) -> Resolved:
        """End a case; the first decision stands and every later call returns it.

        Safe to repeat by submission id: only a row that is still held changes.
        Raises KeyError when the submission was never held or decided.
        """
        return await in_transaction(
            self._pool,
            lambda connection: self._resolve(connection, submission_id, decision, decided_by),
        )

    async def _resolve(
        self, connection: Any, submission_id: bytes, decision: Decision, decided_by: str
    ) -> Resolved:
        key = f"x'{submission_id.hex()}'"
        _, board_rows, ledger_rows, review_rows = await query_all(
            connection,
            f"START TRANSACTION; {BOARD_QUERY} FOR UPDATE;"
            " SELECT principal, user_id, increment, received_at_us, outcome, seq"
            f" FROM ledger WHERE submission_id = {key} FOR UPDATE;"
            f" SELECT decision, decided_by FROM reviews WHERE submission_id = {key}",
        )
        if not ledger_rows:
            raise KeyError(submission_id.hex())
        principal, user_id, increment, received_us, outcome, seq = ledger_rows[0]
        if outcome != Outcome.HELD:
            await query_all(connection, COMMIT_SYNCED)
            first, first_by = review_rows[0] if review_rows else ("", b"")
            return Resolved(
                decision=first,
                decided_by=first_by.decode(errors="replace"),
                outcome=Outcome(outcome),
                seq=seq or 0,
            )
        submission = Submission(
            id=submission_id,
            principal=principal.decode(),
            user_id=user_id,
            increment=increment,
            received_us=received_us,
        )
        board = board_from(board_rows[0])
        now_us = commit_time_us(board)
        statements = [
            f"UPDATE reviews SET decision = '{decision.value}',"
            f" decided_by = x'{decided_by.encode()[:64].hex()}', decided_at_us = {now_us}"
            f" WHERE submission_id = {key}"
        ]
        if decision is Decision.APPROVED:
            end, change = await self._applied(
                connection, submission, board.seq + 1, now_us, statements
            )
        else:
            end, change = Outcome.REJECTED_BY_REVIEW, None
        seq_and_score = f", seq = {change.seq}, score_after = {change.score}" if change else ""
        statements.append(
            f"UPDATE ledger SET outcome = '{end.value}', committed_at_us = {now_us}"
            f"{seq_and_score} WHERE submission_id = {key}"
        )
        await query_all(connection, ";".join(statements))
        await self._failpoints.hit("resolve.before_commit")
        await connection.commit()
        return Resolved(
            decision=decision.value,
            decided_by=decided_by,
            outcome=end,
            seq=change.seq if change else 0,
            change=change,
        )

    async def _applied(
        self,
        connection: Any,
        submission: Submission,
        seq: int,
        now_us: int,
        statements: list[str],
    ) -> tuple[Outcome, Change | None]:
        """The outcome of an approval and its change, if any; adds the statements that store it."""
        [rows] = await query_all(
            connection,
            f"SELECT {USER_COLUMNS} FROM users WHERE id = {submission.user_id} FOR UPDATE",
        )
        if not rows:
            return Outcome.UNKNOWN_USER, None
        user = user_from(rows[0])
        total = user.score + submission.increment
        if total > MAX_SCORE:
            return Outcome.SCORE_OUT_OF_RANGE, None
        statements += [
            users_statement([credited(user, total, seq, submission, self._fraud)]),
            f"UPDATE boards SET seq = {seq} WHERE id = {BOARD_ID}",
        ]
        change = Change(seq=seq, user_id=user.id, name=user.name, score=total, committed_us=now_us)
        return Outcome.APPLIED, change
