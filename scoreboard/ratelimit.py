"""The rate limit as a value: an exact sliding window per user.

In every window of `window_us` at most `count` submissions are admitted, and
none is refused while fewer were. The rule itself runs inside Redis
(`server/submit/admission.lua`), where it must be atomic. Cost: `count` timestamps
of 8 bytes for each active user.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """At most `count` admissions in any window of `window_us` microseconds."""

    count: int
    window_us: int
