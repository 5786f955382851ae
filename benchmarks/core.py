"""What is timed of the pure core: work of a given size, and the proof that its answer is right.

Not the timing: `test_cases.py` does that at full size, and the unit tests run
every case small, so that no benchmark rots and nobody speeds up a wrong answer.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scoreboard import contract, rules, sse, tokens
from scoreboard.domain import Change, Outcome, Submission, User
from scoreboard.keys import Keyring, shared_secret

SEED = 20251124
NOW_S = 1_764_000_000
SECRET = b"benchmark-secret-of-32-bytes-or-more"
CHUNK_BYTES = 1400
"""About what one TCP segment brings."""


Prepared = tuple[Callable[[], Any], Callable[[Any], None]]
"""The work to time, and a check that asserts on its result."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """`prepare(size)` gives the work of that size."""

    name: str
    size: int
    prepare: Callable[[int], Prepared]


def _submissions(size: int) -> list[Submission]:
    chance = random.Random(SEED)
    return [
        Submission(
            id=chance.randbytes(16),
            principal=str(user_id := chance.randint(1, 1000)),
            user_id=user_id,
            increment=chance.randint(1, 100),
            received_us=NOW_S * 1_000_000 + number,
        )
        for number in range(size)
    ]


def _changes(size: int) -> list[Change]:
    chance = random.Random(SEED)
    return [
        Change(
            seq=seq,
            user_id=(user_id := chance.randint(1, 1000)),
            name=f"User{user_id:05d}",
            score=chance.randint(0, 10**6),
            committed_us=NOW_S * 1_000_000 + seq // 10,
        )
        for seq in range(1, size + 1)
    ]


def _encode_updates(size: int) -> Prepared:
    changes = _changes(size)

    def check(encoded: bytes) -> None:
        events = sse.Decoder().feed(encoded)
        assert [event.id for event in events] == [str(change.seq) for change in changes]

    return lambda: sse.encode_updates(changes), check


def _decode_stream(size: int) -> Prepared:
    encoded = sse.encode_updates(_changes(size))
    chunks = [encoded[at : at + CHUNK_BYTES] for at in range(0, len(encoded), CHUNK_BYTES)]

    def work() -> int:
        decoder = sse.Decoder()
        return sum(len(decoder.feed(chunk)) for chunk in chunks)

    def check(events: int) -> None:
        assert events == size

    return work, check


def _encode_batch(size: int) -> Prepared:
    batch = _submissions(size)

    def check(payload: bytes) -> None:
        assert contract.decode_batch(payload) == batch

    return lambda: contract.encode_batch(batch), check


def _decode_batch(size: int) -> Prepared:
    batch = _submissions(size)
    payload = contract.encode_batch(batch)

    def check(decoded: list[Submission]) -> None:
        assert decoded == batch

    return lambda: contract.decode_batch(payload), check


def _settle(size: int) -> Prepared:
    batch = _submissions(size)
    users = {i: User(id=i, name=f"User{i:05d}", score=i) for i in range(1, 1001)}
    screened = [(item, Outcome.APPLIED) for item in batch]

    def work() -> rules.Settlement:
        return rules.settle(screened, users=users, decided=set(), seq=5000)

    def check(settled: rules.Settlement) -> None:
        assert [row.seq for row in settled.rows] == list(range(5001, 5001 + size))
        gained = sum(user.score - user.id for user in settled.users)
        assert gained == sum(item.increment for item in batch)

    return work, check


def _verify(size: int) -> Prepared:
    minted = [
        tokens.mint(SECRET, subject=str(number), now_s=NOW_S, ttl_s=60) for number in range(size)
    ]

    keys = Keyring(secret=shared_secret(SECRET))

    def work() -> list[tokens.Principal]:
        return [tokens.verify(token, keys, now_s=NOW_S) for token in minted]

    def check(principals: list[tokens.Principal]) -> None:
        assert [principal.subject for principal in principals] == [str(n) for n in range(size)]

    return work, check


CASES = [
    Case(name="sse_encode_updates_500", size=500, prepare=_encode_updates),
    Case(name="sse_decode_500", size=500, prepare=_decode_stream),
    Case(name="batch_encode_500", size=500, prepare=_encode_batch),
    Case(name="batch_decode_500", size=500, prepare=_decode_batch),
    Case(name="settle_500", size=500, prepare=_settle),
    Case(name="tokens_verify_20", size=20, prepare=_verify),
]
