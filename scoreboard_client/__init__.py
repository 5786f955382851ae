"""A client of the scoreboard's HTTP contract: submit, outcome, top, follow. Not a load generator.

    async with ScoreboardClient("http://localhost:3000", token=token) as client:
        accepted = await client.submit(user_id=1, increment=10)
        async for event in client.follow(snapshot=True):
            ...

Every submission carries an Idempotency-Key, so repeating one is always safe.
"""

from scoreboard.signing import SigningKey
from scoreboard_client.answers import Accepted, Managed, Outcome, Top
from scoreboard_client.blocking import BlockingScoreboardClient
from scoreboard_client.client import ScoreboardClient
from scoreboard_client.errors import (
    BadAnswer,
    ClientError,
    EffectUnknown,
    Problem,
    Refused,
    Unreachable,
)
from scoreboard_client.follow import Reset, Snapshot, StreamEvent, Update
from scoreboard_client.retry import RetryPolicy
from scoreboard_client.reviews import CaseFilter, CaseHolder, CaseResult, HeldCase

__all__ = [
    "Accepted",
    "BadAnswer",
    "BlockingScoreboardClient",
    "CaseFilter",
    "CaseHolder",
    "CaseResult",
    "ClientError",
    "EffectUnknown",
    "HeldCase",
    "Managed",
    "Outcome",
    "Problem",
    "Refused",
    "Reset",
    "RetryPolicy",
    "ScoreboardClient",
    "SigningKey",
    "Snapshot",
    "StreamEvent",
    "Top",
    "Unreachable",
    "Update",
]
