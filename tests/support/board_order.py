"""The order of the board, as the specification of what Redis and MySQL sort by."""

from collections.abc import Iterable, Sequence

from scoreboard.domain import User


def order_key(user: User) -> tuple[int, int, int]:
    """Sort key of the board, best first: score, then who reached it first, then id."""
    return (-user.score, user.seq, user.id)


def top(users: Iterable[User], limit: int) -> Sequence[User]:
    """The best `limit` users in board order."""
    return sorted(users, key=order_key)[:limit]
