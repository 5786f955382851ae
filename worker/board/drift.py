"""How a ranking in Redis differs from the users it should show. Pure: reads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from scoreboard.domain import User


@dataclass
class Drift:
    """Users looked at, and how many of them Redis had wrong or not at all; `lost` are those of
    the missing ones that Redis must have had: half of the line is there, or their score changed.
    `added` are missing ones that somebody has put into MySQL without a change."""

    users: int = 0
    wrong: int = 0
    missing: int = 0
    lost: int = 0
    added: int = 0

    @property
    def misled(self) -> bool:
        """Whether readers may have seen a board that never was."""
        return self.wrong + self.lost > 0

    def inspect(
        self,
        users: Sequence[User],
        members: Sequence[bytes | None],
        scores: Sequence[float | None],
        *,
        cursor: int,
    ) -> None:
        """Compare users with what Redis holds for them, position by position.

        `cursor` is a sequence number that the ranking had reached before it was
        read. What happened after it may or may not be there and proves nothing.
        """
        self.users += len(users)
        for user, member, score in zip(users, members, scores, strict=True):
            if member is None or score is None:
                self.missing += 1
                lost = member is not None or 0 < user.seq <= cursor
                self.lost += lost
                self.added += not lost and not user.seq
                continue
            shown_seq = int.from_bytes(member[:8], "big")
            behind = shown_seq < user.seq <= cursor
            same = -score == user.score and member[16:] == user.name.encode()
            if behind or (shown_seq == user.seq and not same):
                self.wrong += 1
