"""When to try again, and how long to wait. Pure: the caller sleeps, sends and keeps time."""

import email.utils
import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Bounds of one call's attempts.

    Waits grow from `initial_s` by `factor` up to `max_s`, each drawn evenly from
    zero to that ("full jitter"), so that clients that failed together do not
    return together. The whole call, waits included, ends within `deadline_s`.
    """

    attempts: int = 8
    initial_s: float = 0.1
    factor: float = 2.0
    max_s: float = 5.0
    deadline_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.initial_s <= 0 or self.factor < 1 or self.deadline_s <= 0:
            raise ValueError("attempts >= 1, initial_s > 0, factor >= 1 and deadline_s > 0")

    def backoff_s(self, failures: int, rng: random.Random) -> float:
        """The wait after the `failures`-th failure in a row, counted from 1."""
        # The exponent is bounded: a stream may fail for days, and floats end at 2**1023.
        ceiling = min(self.max_s, self.initial_s * self.factor ** min(failures - 1, 60))
        return rng.uniform(0, ceiling)

    def wait_s(
        self,
        failures: int,
        *,
        elapsed_s: float,
        retry_after_s: float | None,
        rng: random.Random,
    ) -> float | None:
        """How long to wait before the next attempt, or None when the call should give up.

        A Retry-After is a floor: the jitter comes on top of it, since a server
        that is overloaded gives everyone the same one.
        """
        if failures >= self.attempts:
            return None
        wait = self.backoff_s(failures, rng) + (retry_after_s or 0.0)
        return wait if elapsed_s + wait < self.deadline_s else None


def parse_retry_after(value: str | None, *, now_s: float) -> float | None:
    """Seconds to wait by a Retry-After field: a number or an HTTP date; None when malformed.

    `now_s` is the wall clock (Unix seconds). RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # Bounded, so that an absurd number cannot overflow a float.
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now_s)
    except ValueError:
        return None
