"""Reads of the board in Redis, to compare it with the ledger. Not what follows: see `redis_board`;
nor what is wrong with it: `integrity` and `drift`."""

from collections.abc import Iterable, Sequence
from typing import Any

import redis.exceptions

from adapters.redis import Redis
from scoreboard import contract
from scoreboard.domain import Change
from worker.board.integrity import Copy

KEYS = (
    contract.META_KEY,
    contract.RANKING_KEY,
    contract.MEMBERS_KEY,
    contract.STREAM_KEY,
)

_FIELDS = ("seq", "incarnation", "epoch", "tip", "users", "entries", "foreign")


def of_wrong_type(error: object) -> bool:
    """Whether Redis says that somebody has put another type of value under a key."""
    return isinstance(error, redis.exceptions.ResponseError) and "WRONGTYPE" in str(error)


async def look(client: Redis) -> Copy:
    """The board's marks and the sizes of its keys, at one moment.

    Takes away keys that are of another type, and then finds no board. Raises redis' errors.
    """
    pipeline = client.pipeline(transaction=True)
    pipeline.hmget(contract.META_KEY, _FIELDS)
    pipeline.zcard(contract.RANKING_KEY)
    pipeline.hlen(contract.MEMBERS_KEY)
    pipeline.xlen(contract.STREAM_KEY)
    pipeline.xrevrange(contract.STREAM_KEY, count=1)
    pipeline.hvals(contract.CLAIMS_KEY)
    answers: Any = await pipeline.execute(raise_on_error=False)
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    if any(map(of_wrong_type, errors)):
        await client.unlink(*KEYS, contract.CLAIMS_KEY)
        return Copy(seq=None)
    if errors:
        raise errors[0]
    marks, ranking_count, members_count, stream_count, entries, claims = answers
    found: dict[str, bytes] = {
        name: value for name, value in zip(_FIELDS, marks, strict=True) if value is not None
    }
    return Copy(
        seq=contract.position_of(found.get("seq")),
        incarnation=found.get("incarnation", b"").decode(errors="replace"),
        epoch=found.get("epoch", b""),
        tip=found.get("tip", b"").decode(errors="replace"),
        users=contract.position_of(found.get("users")),
        entries=contract.position_of(found.get("entries")) or 0,
        foreign="foreign" in found,
        ranking_count=ranking_count,
        members_count=members_count,
        stream_count=stream_count,
        streamed=_entry_id(entries[0][0]) if entries else (0, 0),
        last=_last(entries[0][1]) if entries else None,
        claims=tuple(map(_claim, claims)),
    )


async def best(client: Redis, count: int) -> tuple[int | None, Sequence[int]]:
    """The board's cursor and the ids of the users at the top, at one moment. Raises redis'
    errors."""
    pipeline = client.pipeline(transaction=True)
    pipeline.hget(contract.META_KEY, "seq")
    pipeline.zrange(contract.RANKING_KEY, 0, count - 1)
    seq, members = await pipeline.execute()
    return contract.position_of(seq), list(_ids(members))


def _ids(members: Iterable[bytes]) -> Iterable[int]:
    # A member that somebody else has put there may be any bytes.
    return (contract.member_user_id(member) for member in members)


def _entry_id(name: bytes) -> tuple[int, int]:
    first, _, second = name.partition(b"-")
    return int(first), int(second)


def _claim(text: bytes) -> Copy:
    incarnation, _, rest = text.partition(b" ")
    seq, _, tip = rest.partition(b" ")
    return Copy(
        seq=contract.position_of(seq),
        incarnation=incarnation.decode(errors="replace"),
        tip=tip.decode(errors="replace"),
    )


def _last(fields: dict[bytes, bytes]) -> Change | None:
    try:
        changes = contract.decode_changes(fields[contract.STREAM_FIELD])
    except (KeyError, ValueError):
        return None
    return changes[-1] if changes else None
