"""How long to wait before something that failed is tried again, and how often: all policies.

Pure: callers sleep, and pass in their own random number. Not the client's retries, which
follow what the server answers: see `scoreboard_client.retry`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Delays that grow by `factor` from `first_s` to `max_s`; both bounds in seconds.

    `attempts_max` counts the first attempt too; 0 means that it is tried until it succeeds.
    """

    first_s: float
    factor: float = 1.0
    max_s: float = 60.0
    attempts_max: int = 0

    def delay_s(self, failures: int) -> float:
        """The delay after `failures` earlier failures in a row, 0 or more of them."""
        delay_s = self.first_s
        # Not a power: with enough failures that is too large for a float.
        for _ in range(failures):
            if delay_s >= self.max_s or self.factor == 1:
                break
            delay_s *= self.factor
        return min(delay_s, self.max_s)

    def jittered_s(self, failures: int, chance: float) -> float:
        """A delay anywhere up to `delay_s`, by a `chance` from 0 to 1 ("full jitter"), so that
        callers that failed together do not return together."""
        return chance * self.delay_s(failures)


FEED = Backoff(first_s=0.25, factor=2.0, max_s=1.0)
"""The server follows the Redis stream again. Short, since listeners wait for it."""

DONE_SUBSCRIPTION = Backoff(first_s=0.5)
"""The server subscribes again to finished batches; without it they are looked up in Temporal."""

REDIS_PAUSE = Backoff(first_s=1.0)
"""Reads and stream limits leave Redis alone after a failure, and do not all wait for it."""

RESET_SNAPSHOT = Backoff(first_s=1.0)
"""The server reads the snapshot again that listeners are to be reset with."""

JWKS = Backoff(first_s=10.0)
"""The server reads its public keys again; an unknown key cannot make it more often."""

TEMPORAL_CONNECT = Backoff(first_s=0.5, factor=1.5, max_s=2.0)
"""Server and worker connect to Temporal."""

MIGRATION = Backoff(first_s=0.5)
"""A worker that starts waits for MySQL, or for another worker's migration."""

REFRESH_SCHEDULE = Backoff(first_s=10.0)
"""A worker creates or checks the schedule of the refresh."""

TRANSACTION = Backoff(first_s=0.02, factor=2.0, max_s=1.28, attempts_max=8)
"""A transaction after a deadlock or a lock timeout, with jitter; the board's row is the lock."""

LOCAL_STEP = Backoff(first_s=0.05, factor=4.0, max_s=10.0, attempts_max=3)
"""A step of a workflow in its own worker, before any worker may run it."""

ONCE = Backoff(first_s=0.05, factor=1.0, max_s=0.05, attempts_max=1)
"""All steps of a batch in one call; each goes on by itself from where that failed."""

ANYWHERE_STEP = Backoff(first_s=0.2, factor=2.0, max_s=2.0)
"""The same step on any worker. It never gives up: the submission has been accepted."""

REFRESH_STEP = Backoff(first_s=1.0, factor=2.0, max_s=10.0, attempts_max=20)
"""The scheduled refresh; after that the next one does all its work."""
