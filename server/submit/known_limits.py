"""Users over their rate limit, as this process has learned it from Redis. Pure.

Not the limit itself, which is exact and in Redis (see `admission`), nor when a refusal is
answered (see `refusals`).
"""

import math
from collections.abc import Callable

KNOWN_MAX = 10_000
"""Users whose limit is remembered; beyond it the oldest is asked for again."""


class KnownLimits:
    """Users who are over their rate limit, and until when: they are refused without a place in the
    queue and without a call of Redis.

    Repeats of known keys are free of the limit and must reach Redis: `repeats_per_s` of a user do
    while it is over its limit.
    """

    def __init__(self, *, repeats_per_s: float, clock: Callable[[], float]) -> None:
        self._repeats_per_s = repeats_per_s
        self._clock = clock
        self._until: dict[int, float] = {}
        # By user: when a next repeat is due at the bounded rate.
        self._repeats: dict[int, float] = {}

    def note(self, user_id: int, wait_s: float) -> None:
        """Redis says that the user is admitted again in `wait_s`."""
        if len(self._until) >= KNOWN_MAX:
            gone = next(iter(self._until))
            del self._until[gone]
            self._repeats.pop(gone, None)
        self._until[user_id] = self._clock() + wait_s

    def wait_s(self, user_id: int, *, keyed: bool) -> float:
        """Seconds until the user is admitted again; 0: ask Redis."""
        until = self._until.get(user_id)
        if until is None:
            return 0.0
        now = self._clock()
        if now >= until:
            del self._until[user_id]
            self._repeats.pop(user_id, None)
            return 0.0
        if keyed:
            due = self._repeats.get(user_id, -math.inf)
            # A second's worth at once, then at the bounded rate.
            if due <= now + 1.0:
                self._repeats[user_id] = max(due, now) + 1 / self._repeats_per_s
                return 0.0
        return until - now
