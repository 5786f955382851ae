"""How a ranking in Redis differs from the users it should show. Pure: reads nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from scoreboard.domain import User


@dataclass
class Drift:
    """Users looked at, and how many of them Redis had wrong; `lost` are the ids of those it did
    not have and must have had: half of the line is there, or their score changed; `added` those
    that somebody has put into MySQL without a change."""

    users: int = 0
    wrong: int = 0
    lost: set[int] = field(default_factory=set)
    added: set[int] = field(default_factory=set)

    @property
    def missing(self) -> set[int]:
        """The ids of those without a line in Redis who should have one."""
        return self.lost | self.added

    @property
    def misled(self) -> bool:
        """Whether readers may have seen a board that never was."""
        return self.wrong + len(self.lost) > 0

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
        read. What happened after it may or may not be there and proves nothing. Nor are those
        missing who were removed since `users` was read: see `still_there`.
        """
        self.users += len(users)
        for user, member, score in zip(users, members, scores, strict=True):
            if member is None or score is None:
                if member is not None or 0 < user.seq <= cursor:
                    self.lost.add(user.id)
                elif not user.seq:
                    self.added.add(user.id)
                continue
            shown_seq = int.from_bytes(member[:8], "big")
            behind = shown_seq < user.seq <= cursor
            same = -score == user.score and member[16:] == user.name.encode()
            if behind or (shown_seq == user.seq and not same):
                self.wrong += 1

    def still_there(self, looked_for: Collection[int], found: Collection[int]) -> None:
        """Of the missing ones that MySQL was asked for again, only those `found` are missing: a
        removal is in MySQL before any ranking lacks its user."""
        removed = set(looked_for) - set(found)
        self.lost -= removed
        self.added -= removed
