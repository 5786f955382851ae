"""The lines of the ranking beside the users in MySQL. What differs: `drift`; what then: see
`redis_board`."""

from collections.abc import Sequence

from adapters.files import script
from adapters.redis import Redis
from scoreboard import contract
from scoreboard.domain import User
from worker.board.drift import Drift
from worker.board.integrity import Copy
from worker.board.look import KEYS, best
from worker.database.ledger import Ledger

USERS_PER_LOOK = 500
"""Users whose scores each look compares, by turns, beside those at the top."""

TOP_PER_LOOK = 100


class Lines:
    """Compares, while both sides go on: MySQL is changed first, so it is asked again before
    anything counts as missing, and Redis before anything counts as surplus."""

    def __init__(self, client: Redis, ledger: Ledger) -> None:
        self._redis = client
        self._ledger = ledger
        self._upto = -1
        self._shown = client.register_script(script(__package__, "shown"))

    async def look(self, copy: Copy) -> tuple[Drift, bool]:
        """Compare the top of the ranking, and by turns all users; what was found, and whether
        readers may have been shown a board that never was."""
        _, shown = await best(self._redis, TOP_PER_LOOK)
        users, self._upto = await self._ledger.users(shown, self._upto, USERS_PER_LOOK)
        drift = Drift()
        await self.compare(users, drift)
        unknown = set(shown) - {user.id for user in users}
        differs = drift.misled or (bool(unknown) and await self._still_shown(unknown))
        if self._upto < 0 and not differs:
            seq, count = await self._ledger.users_count()
            differs = copy.seq == seq and copy.members_count > count
        return drift, differs

    async def compare(self, users: Sequence[User], drift: Drift) -> None:
        """Add to `drift`. The cursor is read with the lines: another Redis than a moment ago may
        answer, after a fail-over, one that lacks the last changes and is not wrong."""
        if not users:
            return
        ids = [user.id for user in users]
        # At one moment: a user who gains a point has another member from then on.
        cursor, members, scores = await self._shown(keys=KEYS[:3], args=ids)
        drift.inspect(
            users,
            members,
            [None if score is None else float(score) for score in scores],
            cursor=contract.position_of(cursor) or 0,
        )
        # Of these users alone: a refresh looks at a million in chunks.
        if missing := drift.lost.intersection(ids) | drift.added.intersection(ids):
            drift.still_there(missing, await self._ledger.existing(missing))

    async def _still_shown(self, unknown: set[int]) -> bool:
        """Whether the top has users whom MySQL does not, and not for being about to lose them: a
        removal is in MySQL before it is published."""
        seq = (await self._ledger.board()).seq
        cursor, shown = await best(self._redis, TOP_PER_LOOK)
        return cursor is not None and cursor >= seq and not unknown.isdisjoint(shown)
