"""The rate limit as a pure rule: an exact sliding window per user.

In every window of `window_us` at most `count` submissions are admitted, and
none is refused while fewer were. The server runs the same rule inside Redis
(`server/submit/admission.lua`), where it must be atomic; one set of cases holds both
to the same answers. Cost: `count` timestamps of 8 bytes for each active user.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """At most `count` admissions in any window of `window_us` microseconds."""

    count: int
    window_us: int


@dataclass(frozen=True, kw_only=True)
class RateDecision:
    """Whether a submission is admitted now; if not, how long until one would be."""

    admitted: bool
    remaining: int
    retry_after_us: int


@dataclass
class SlidingWindow:
    """The admissions of one user that still count, oldest first."""

    limit: RateLimit
    admitted_us: list[int] = field(default_factory=list)

    def admit(self, now_us: int) -> RateDecision:
        """Decide one submission at `now_us` and remember it when admitted.

        An admission at t leaves the window at t + window_us exactly.
        """
        horizon = now_us - self.limit.window_us
        self.admitted_us = [at for at in self.admitted_us if at > horizon]
        if len(self.admitted_us) >= self.limit.count:
            wait_us = self.admitted_us[0] + self.limit.window_us - now_us
            return RateDecision(admitted=False, remaining=0, retry_after_us=wait_us)
        self.admitted_us.append(now_us)
        return RateDecision(
            admitted=True, remaining=self.limit.count - len(self.admitted_us), retry_after_us=0
        )
