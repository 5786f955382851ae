"""Orders about players in MySQL: each takes effect once. Not what they do: `players.effects`."""

from typing import Any

import msgspec

from adapters.ledger_queries import BOARD_ID, BOARD_QUERY, board_from
from adapters.mysql import Pool, query_all
from scoreboard.domain import Outcome, User
from scoreboard.players.effects import Effect, Entry, Refusal, effect_of
from scoreboard.players.orders import AddPlayer, MergePlayers, Order
from worker.database.statements import COMMIT_SYNCED, numbers
from worker.database.transactions import commit_time_us, in_transaction
from worker.failpoints import Failpoints


class PlayerChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What an order left behind: the last number it took, and who stands there now (None for one
    who is not on the board any more)."""

    seq: int
    user_id: int
    user: str | None
    score: int | None


class Players:
    """The players as the worker manages them."""

    def __init__(self, pool: Pool, failpoints: Failpoints) -> None:
        self._pool = pool
        self._failpoints = failpoints

    async def carry_out(self, order: Order) -> PlayerChanged | Refusal:
        """Carry out an order in one transaction; a repeat finds what the first one did.

        Raises MYSQL_ERRORS.
        """
        return await in_transaction(
            self._pool, lambda connection: self._carry_out(connection, order)
        )

    async def _carry_out(self, connection: Any, order: Order) -> PlayerChanged | Refusal:
        action = order.action
        wanted = [user for user in (action.user_id, getattr(action, "into", None)) if user]
        # The board first, then users in id order: all writers lock in this order.
        _, board_rows, user_rows, done_rows, removed_rows = await query_all(
            connection,
            f"START TRANSACTION; {BOARD_QUERY} FOR UPDATE;"
            f" SELECT id, name, score FROM users WHERE id IN ({numbers(wanted) or 'NULL'})"
            " ORDER BY id FOR UPDATE;"
            " SELECT digest, seq, COALESCE(into_id, user_id), name, score FROM player_changes"
            f" WHERE id = x'{order.id.hex()}';"
            f" SELECT 1 FROM player_changes WHERE user_id = {action.user_id or 0}"
            " AND action IN ('remove', 'merge') LIMIT 1",
        )
        if done_rows:
            digest, *found = done_rows[0]
            # The first attempt may not have heard yet that its commit lasts.
            await query_all(connection, COMMIT_SYNCED)
            if digest != order.digest:
                return Refusal.KEY_REUSED
            return PlayerChanged(seq=found[0], user_id=found[1], user=found[2], score=found[3])
        users = {row[0]: User(id=row[0], name=row[1], score=row[2]) for row in user_rows}
        effect = effect_of(order, users, taken=bool(removed_rows))
        if isinstance(effect, Refusal):
            await connection.rollback()
            return effect
        if isinstance(action, AddPlayer):
            effect = await self._with_new_user(connection, action, effect)
        board = board_from(board_rows[0])
        changed, statements = _written(order, effect, board.seq, commit_time_us(board))
        await query_all(connection, ";".join(statements))
        await self._failpoints.hit("players.before_commit")
        await connection.commit()
        await self._failpoints.hit("players.after_commit")
        return changed

    async def _with_new_user(self, connection: Any, action: AddPlayer, effect: Effect) -> Effect:
        """The effect with the id that the database gives; inserts the user."""
        _, [(user_id,)] = await query_all(
            connection,
            f"INSERT INTO users (id, name, score) VALUES ({action.user_id or 'NULL'},"
            f" {_text(action.name)}, {action.score}); SELECT LAST_INSERT_ID()",
        )
        given = action.user_id or user_id
        assert effect.kept is not None
        return msgspec.structs.replace(
            effect,
            kept=msgspec.structs.replace(effect.kept, id=given),
            entries=tuple(msgspec.structs.replace(e, user_id=given) for e in effect.entries),
        )


def _written(
    order: Order, effect: Effect, seq: int, now_us: int
) -> tuple[PlayerChanged, list[str]]:
    """What the order's answer is, and the statements that store its effect after `seq`."""
    action, kept, before = order.action, effect.kept, effect.before
    last = seq + len(effect.entries)
    target = effect.entries[0].user_id
    into = action.into if isinstance(action, MergePlayers) else None
    rows = ",".join(
        _ledger_values(order, entry, number, now_us)
        for number, entry in enumerate(effect.entries, start=seq + 1)
    )
    statements = [
        "INSERT INTO ledger (submission_id, principal, user_id, increment, outcome, seq,"
        f" score_after, received_at_us, committed_at_us) VALUES {rows}",
        "INSERT INTO player_changes (id, digest, action, user_id, into_id, name, name_before,"
        " score, score_before, seq, actor, reason, committed_at_us) VALUES"
        f" (x'{order.id.hex()}', x'{order.digest.hex()}', '{action.__struct_config__.tag}',"
        f" {target}, {into or 'NULL'}, {_text(kept.name if kept else None)},"
        f" {_text(before.name if before else None)}, {kept.score if kept else 'NULL'},"
        f" {before.score if before else 'NULL'}, {last}, x'{order.actor.encode().hex()}',"
        f" {_text(action.reason)}, {now_us})",
        f"UPDATE boards SET seq = {last} WHERE id = {BOARD_ID}",
    ]
    if kept is not None:
        statements.append(
            f"UPDATE users SET name = {_text(kept.name)}, score = {kept.score}, seq = {last}"
            f" WHERE id = {kept.id}"
        )
    if effect.removed is not None:
        statements += [
            f"DELETE FROM users WHERE id = {effect.removed}",
            "UPDATE player_changes SET name_before = NULL, name = IF(into_id IS NULL, NULL, name)"
            f" WHERE user_id = {effect.removed}",
            f"UPDATE player_changes SET name = NULL WHERE into_id = {effect.removed}",
        ]
    changed = PlayerChanged(
        seq=last,
        user_id=kept.id if kept else target,
        user=kept.name if kept else None,
        score=kept.score if kept else None,
    )
    return changed, statements


def _ledger_values(order: Order, entry: Entry, seq: int, now_us: int) -> str:
    return (
        f"(x'{entry.id.hex()}',x'{order.actor.encode().hex()}',{entry.user_id},{entry.increment},"
        f"'{Outcome.APPLIED.value}',{seq},{entry.score_after},{now_us},{now_us})"
    )


def _text(value: str | None) -> str:
    """Hexadecimal, so there is nothing to escape."""
    return "NULL" if value is None else f"_utf8mb4 x'{value.encode().hex()}'"
