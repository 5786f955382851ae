"""What is remembered of users over their limit: until when, at which rates, and how many."""

from server.submit import known_limits
from server.submit.known_limits import KnownLimits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_repeats_pass_at_their_rate_while_a_user_is_over_its_limit() -> None:
    clock = Clock()
    limits = KnownLimits(repeats_per_s=4, clock=clock)
    limits.note(1, 8.0)

    # A second's worth and the one that is due, then the rate.
    assert sum(limits.wait_s(1, keyed=True) == 0 for _ in range(50)) == 5
    clock.now += 1.0
    assert sum(limits.wait_s(1, keyed=True) == 0 for _ in range(50)) == 4
    assert limits.wait_s(1, keyed=False) == 7.0
    assert limits.wait_s(2, keyed=False) == 0


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    limits = KnownLimits(repeats_per_s=5, clock=clock)

    for user in range(known_limits.KNOWN_MAX + 5):
        limits.note(user, 8.0)

    assert len(limits._until) == known_limits.KNOWN_MAX
    assert limits.wait_s(0, keyed=False) == 0
