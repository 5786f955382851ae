"""The sliding window is exact: never one too many in any window, never refused below the limit."""

from hypothesis import given
from hypothesis import strategies as st

from scoreboard.ratelimit import RateLimit
from tests.model.sliding_window import RateDecision, SlidingWindow

WINDOW_US = 10
LIMIT = RateLimit(count=3, window_us=WINDOW_US)


def admitted(times: list[int], limit: RateLimit = LIMIT) -> list[int]:
    window = SlidingWindow(limit)
    return [at for at in times if window.admit(at).admitted]


def test_the_limit_is_admitted_and_the_next_one_is_not() -> None:
    assert admitted([0, 0, 0, 0]) == [0, 0, 0]


def test_an_admission_leaves_exactly_one_window_later() -> None:
    assert admitted([0, 0, 0, 9]) == [0, 0, 0]
    assert admitted([0, 0, 0, 10]) == [0, 0, 0, 10]


def test_refusals_are_not_counted() -> None:
    assert admitted([0, 0, 0, *range(1, 10), 10]) == [0, 0, 0, 10]


def test_a_verdict_counts_down_and_names_the_wait() -> None:
    window = SlidingWindow(LIMIT)

    assert [window.admit(at).remaining for at in (0, 4, 4)] == [2, 1, 0]
    assert window.admit(7) == RateDecision(admitted=False, remaining=0, retry_after_us=3)


def test_memory_is_bounded_by_the_limit() -> None:
    window = SlidingWindow(LIMIT)
    for at in range(1000):
        window.admit(at)

    assert len(window.admitted_us) <= LIMIT.count


arrivals = st.lists(st.integers(0, 6), max_size=60).map(
    lambda gaps: [sum(gaps[: n + 1]) for n in range(len(gaps))]
)


@given(arrivals, st.integers(1, 5))
def test_the_window_equals_brute_force(times: list[int], count: int) -> None:
    window = SlidingWindow(RateLimit(count=count, window_us=WINDOW_US))
    kept: list[int] = []
    for now in times:
        inside = [at for at in kept if now - WINDOW_US < at <= now]
        verdict = window.admit(now)

        assert verdict.admitted == (len(inside) < count)
        if verdict.admitted:
            kept.append(now)
            assert verdict.remaining == count - len(inside) - 1
        else:
            assert verdict.retry_after_us == inside[-count] + WINDOW_US - now

    for start in times:
        assert sum(start <= at < start + WINDOW_US for at in kept) <= count


@given(arrivals)
def test_the_named_wait_is_enough_and_not_a_microsecond_too_long(times: list[int]) -> None:
    window = SlidingWindow(LIMIT)
    for now in times:
        verdict = window.admit(now)
        if not verdict.admitted:
            early = SlidingWindow(LIMIT, list(window.admitted_us))
            late = SlidingWindow(LIMIT, list(window.admitted_us))

            assert not early.admit(now + verdict.retry_after_us - 1).admitted
            assert late.admit(now + verdict.retry_after_us).admitted


def test_a_clock_that_steps_back_never_admits_beyond_the_limit() -> None:
    assert admitted([100, 100, 100, 95, 90, 99]) == [100, 100, 100]
