"""What an order does to users and ledger. Pure: reads and writes nothing; see `worker.database`.

Every order leaves at least one ledger row, also one that changes no points: its number in the one
history is how the board in Redis and every listener hear of it.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from scoreboard import ids
from scoreboard.domain import MAX_SCORE, User
from scoreboard.players.orders import (
    AddPlayer,
    MergePlayers,
    Order,
    RemovePlayer,
    RenamePlayer,
    SetScore,
)


class Refusal(StrEnum):
    """Why an order has no effect; nothing is stored then."""

    UNKNOWN_USER = "unknown_user"
    USER_EXISTS = "user_exists"
    SCORE_OUT_OF_RANGE = "score_out_of_range"
    KEY_REUSED = "key_reused"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger row in the making; its seq is the place in the effect."""

    id: bytes
    user_id: int
    increment: int
    score_after: int


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Ledger rows in order, then the player as they stand afterwards: `kept` is stored, the user
    of `removed` deleted, and `before` what the audit trail keeps of the player ordered about."""

    entries: tuple[Entry, ...]
    kept: User | None
    removed: int | None = None
    before: User | None = None


def effect_of(order: Order, users: Mapping[int, User], *, taken: bool = False) -> Effect | Refusal:
    """The effect of an order on the users that it names, as they are.

    `taken`: the id of a new player belonged to one who was removed, and whose ledger rows it
    would take over. A new player without an id has 0 for it here.
    """
    action = order.action
    if isinstance(action, AddPlayer):
        if taken or action.user_id in users:
            return Refusal.USER_EXISTS
        added = User(id=action.user_id or 0, name=action.name, score=action.score)
        return Effect(entries=(_entry(order.id, added, action.score),), kept=added)
    user = users.get(action.user_id)
    if user is None:
        return Refusal.UNKNOWN_USER
    match action:
        case RenamePlayer():
            kept = msgspec.structs.replace(user, name=action.name)
            return Effect(entries=(_entry(order.id, kept, 0),), kept=kept, before=user)
        case SetScore():
            kept = msgspec.structs.replace(user, score=action.score)
            entry = _entry(order.id, kept, action.score - user.score)
            return Effect(entries=(entry,), kept=kept, before=user)
        case RemovePlayer():
            return Effect(
                entries=(_leaving(order.id, user),), kept=None, removed=user.id, before=user
            )
        case MergePlayers():
            other = users.get(action.into)
            if other is None:
                return Refusal.UNKNOWN_USER
            total = other.score + user.score
            if total > MAX_SCORE:
                return Refusal.SCORE_OUT_OF_RANGE
            kept = msgspec.structs.replace(other, score=total)
            second = ids.keyed_submission_id("players:merge", order.id.hex())
            return Effect(
                entries=(_leaving(order.id, user), _entry(second, kept, user.score)),
                kept=kept,
                removed=user.id,
                before=user,
            )


def _entry(entry_id: bytes, after: User, increment: int) -> Entry:
    return Entry(id=entry_id, user_id=after.id, increment=increment, score_after=after.score)


def _leaving(entry_id: bytes, user: User) -> Entry:
    return Entry(id=entry_id, user_id=user.id, increment=-user.score, score_after=0)
