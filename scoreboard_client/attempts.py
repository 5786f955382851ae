"""The attempts of one call, and the waits between them, with a line of the log for each.

Not how long to wait: see `retry`.
"""

import asyncio
import logging
import random
import time

from scoreboard_client.errors import ClientError
from scoreboard_client.retry import RetryPolicy

log = logging.getLogger(__name__)


class Attempts:
    """The attempts of one call: counts them, keeps time, sleeps between."""

    def __init__(self, base_url: str, policy: RetryPolicy, rng: random.Random) -> None:
        self.made = 0
        self._base_url = base_url
        self._policy = policy
        self._rng = rng
        self._began_s = time.monotonic()
        self._final = False

    def begin(self) -> None:
        self.made += 1

    def give_up(self) -> None:
        self._final = True

    async def again(self, failure: ClientError, retry_after_s: float | None) -> bool:
        """Wait for the next attempt; False when there is none."""
        if self._final:
            return False
        wait_s = self._policy.wait_s(
            self.made,
            elapsed_s=time.monotonic() - self._began_s,
            retry_after_s=retry_after_s,
            rng=self._rng,
        )
        if wait_s is None:
            return False
        await wait(wait_s, self._base_url, failure)
        return True


async def wait(wait_s: float, base_url: str, failure: ClientError) -> None:
    reason = getattr(failure, "reason", failure)
    log.info("waiting for %s (%s), retrying in %.1f s", base_url, reason, wait_s)
    await asyncio.sleep(wait_s)
