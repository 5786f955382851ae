"""Puts the demonstration's users into MySQL. Repeating it changes nothing."""

from adapters.mysql import Pool, query_all
from scoreboard.domain import User

ALICE = User(id=1, name="Alice", score=1500)
BOB = User(id=2, name="Bob", score=1400)
USERS_PER_INSERT = 5000


def demo_user(user_id: int) -> User:
    """The user with this id: Alice, Bob, then User00003 and so on with no points."""
    known = {ALICE.id: ALICE, BOB.id: BOB}
    return known.get(user_id) or User(id=user_id, name=f"User{user_id:05d}", score=0)


async def seed(pool: Pool, count: int) -> int:
    """Make sure that users 1 to max(2, `count`) exist; how many were added."""
    added = 0
    last = max(2, count)
    for first in range(1, last + 1, USERS_PER_INSERT):
        users = [demo_user(i) for i in range(first, min(first + USERS_PER_INSERT, last + 1))]
        values = ",".join(f"({user.id},'{user.name}',{user.score})" for user in users)
        async with pool.connection(timeout_s=60) as connection:
            _, [(before,)], *_, [(after,)] = await query_all(
                connection,
                "START TRANSACTION; SELECT COUNT(*) FROM users;"
                f" INSERT INTO users (id, name, score) VALUES {values}"
                " ON DUPLICATE KEY UPDATE id = VALUES(id);"
                " SELECT COUNT(*) FROM users",
            )
            await connection.commit()
        added += after - before
    return added
