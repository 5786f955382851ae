"""The specification of the rate limit: the rule of `server/submit/admission.lua` in plain Python.

One set of cases holds both to the same answers. It keeps one user's admissions; nothing serves it.
"""

from dataclasses import dataclass, field

from scoreboard.ratelimit import RateLimit


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
