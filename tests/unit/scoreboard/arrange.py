"""Small makers of domain values for these tests; every argument has a harmless default."""

from scoreboard.domain import Change, Submission, User


def submission_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def submission(
    number: int = 1, *, user_id: int = 1, increment: int = 10, principal: str = "1"
) -> Submission:
    return Submission(
        id=submission_id(number),
        principal=principal,
        user_id=user_id,
        increment=increment,
        received_us=1_764_000_000_000_000,
    )


def user(user_id: int = 1, *, score: int = 0, seq: int = 0, name: str | None = None) -> User:
    return User(id=user_id, name=name or f"User{user_id}", score=score, seq=seq)


def change(seq: int = 1, *, name: str = "Alice", score: int = 10, committed_us: int = 7) -> Change:
    return Change(seq=seq, user_id=1, name=name, score=score, committed_us=committed_us)
