"""Fraud rules: what is held and why, what is never held, and that judging leaves no trace."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard.domain import MAX_INCREMENT, Outcome
from scoreboard.fraud import (
    HISTORY,
    Activity,
    FraudRules,
    Reason,
    decode_recent,
    encode_recent,
    judge,
    remember,
    robust_z,
    unlikeness,
)
from scoreboard.rules import settle
from tests.unit.scoreboard.arrange import submission, user

OFF = FraudRules(large_increment=0, window_points=0, unlike_history_z=0)
LARGE = FraudRules(large_increment=100, window_points=0, unlike_history_z=0)
WINDOW = FraudRules(large_increment=0, window_s=60, window_points=100, unlike_history_z=0)
UNLIKE = FraudRules(
    large_increment=0, window_points=0, unlike_history_z=50.0, unlike_history_floor=10
)
STEADY = Activity(recent=(10,) * HISTORY)

increments = st.integers(-MAX_INCREMENT, MAX_INCREMENT)


def reasons(
    increment: int, rules: FraudRules, activity: Activity | None = None, now_s: int = 1000
) -> list[Reason]:
    return list(judge(increment, activity=activity or Activity(), now_s=now_s, rules=rules))


def after(*gains: tuple[int, int], rules: FraudRules = WINDOW) -> Activity:
    """The activity after gains of (points, second)."""
    activity = Activity()
    for points, now_s in gains:
        activity = remember(points, activity=activity, now_s=now_s, rules=rules)
    return activity


def test_rules_are_active_when_any_threshold_is_set() -> None:
    assert not OFF.active
    assert LARGE.active
    assert WINDOW.active
    assert UNLIKE.active


@given(increments, st.integers(0, 2**40))
def test_rules_that_are_off_hold_nothing(increment: int, now_s: int) -> None:
    assert reasons(increment, OFF, STEADY, now_s) == []


@given(st.integers(-MAX_INCREMENT, 0), st.integers(0, 2**40))
def test_losses_are_never_suspicious(increment: int, now_s: int) -> None:
    strict = FraudRules(
        large_increment=1, window_points=1, unlike_history_z=0.001, unlike_history_floor=0
    )

    assert reasons(increment, strict, STEADY, now_s) == []


def test_a_gain_above_the_threshold_is_held_and_at_it_is_not() -> None:
    assert reasons(100, LARGE) == []
    assert reasons(101, LARGE) == [Reason.LARGE_INCREMENT]


def test_points_add_up_within_a_window() -> None:
    activity = after((60, 1000), (30, 1030))

    assert reasons(10, WINDOW, activity, now_s=1059) == []
    assert reasons(11, WINDOW, activity, now_s=1059) == [Reason.POINTS_IN_WINDOW]


def test_a_window_ends_and_the_next_gain_begins_another() -> None:
    activity = after((60, 1000), (30, 1030))

    assert reasons(100, WINDOW, activity, now_s=1060) == []
    assert after((60, 1000), (5, 1060)).window_start_s == 1060


def test_losses_give_no_room_for_more_gains() -> None:
    activity = after((100, 1000), (-100, 1001))

    assert reasons(1, WINDOW, activity, now_s=1002) == [Reason.POINTS_IN_WINDOW]


def test_a_clock_that_steps_back_stays_in_its_window() -> None:
    activity = after((100, 1000))

    assert reasons(1, WINDOW, activity, now_s=940) == [Reason.POINTS_IN_WINDOW]


def test_a_gain_unlike_the_history_is_held() -> None:
    assert reasons(10_000, UNLIKE, STEADY) == [Reason.UNLIKE_HISTORY]
    assert reasons(20, UNLIKE, STEADY) == []


def test_a_gain_below_the_floor_is_not_compared() -> None:
    tiny = Activity(recent=(0,) * HISTORY)
    rules = FraudRules(
        large_increment=0, window_points=0, unlike_history_z=1.0, unlike_history_floor=500
    )

    assert reasons(499, rules, tiny) == []
    assert reasons(500, rules, tiny) == [Reason.UNLIKE_HISTORY]


def test_a_short_history_proves_nothing() -> None:
    assert reasons(MAX_INCREMENT, UNLIKE, Activity(recent=(10,) * (HISTORY - 1))) == []


@pytest.mark.parametrize(
    "history",
    [
        pytest.param((9_999, -9_999) * 8, id="gains and losses"),
        pytest.param((1, -1) * 8, id="small gains and losses"),
        pytest.param((1, 9_999) * 8, id="small and large gains"),
        pytest.param((1, 1_000, 9_999, -5_000) * 4, id="three sizes and a loss"),
        pytest.param((9_999, *(-9_999,) * 15), id="losses alone but for one gain"),
        pytest.param((-9_999, *(9_999,) * 15), id="gains but for one loss"),
        pytest.param((-1,) * 16, id="losses alone"),
    ],
)
def test_alternation_does_not_hide_a_gain_unlike_the_history(history: tuple[int, ...]) -> None:
    rules = FraudRules(large_increment=0, window_points=0)

    assert reasons(100_000, rules, Activity(recent=history)) == [Reason.UNLIKE_HISTORY]


@pytest.mark.parametrize(
    ("gain", "history"),
    [(20_000, (20_000, -50) * 8), (40_000, (10_000, 20_000, 30_000, -5_000) * 4)],
)
def test_a_gain_among_its_like_is_applied_whatever_the_losses_between(
    gain: int, history: tuple[int, ...]
) -> None:
    rules = FraudRules(large_increment=0, window_points=0)

    assert reasons(gain, rules, Activity(recent=history)) == []


@given(st.lists(increments.filter(bool), min_size=1, max_size=HISTORY), increments, increments)
def test_a_larger_gain_is_never_less_suspicious(history: list[int], one: int, other: int) -> None:
    small, large = sorted((one, other))

    assert unlikeness(small, history) <= unlikeness(large, history)


def test_all_reasons_are_given_at_once() -> None:
    strict = FraudRules(
        large_increment=1, window_points=1, unlike_history_z=1.0, unlike_history_floor=0
    )

    assert reasons(1000, strict, STEADY) == list(Reason)


@given(st.lists(increments, min_size=1, max_size=HISTORY), increments, increments)
def test_a_larger_gain_never_looks_less_unlike_the_history(
    history: list[int], one: int, other: int
) -> None:
    small, large = sorted((one, other))

    assert robust_z(small, history) <= robust_z(large, history)


@pytest.mark.parametrize(
    ("value", "history", "expected"),
    [
        (10, [10, 10, 10], 0.0),
        (11, [10, 10, 10], 0.6745),
        (300, [200, 200, 200], 6.745),
        (9, [1, 2, 3, 4, 5], 0.6745 * 6),
        (-20, [0, 0, 0], -13.49),
    ],
)
def test_the_score_is_that_of_iglewicz_and_hoaglin(
    value: int, history: list[int], expected: float
) -> None:
    assert robust_z(value, history) == pytest.approx(expected)


@given(st.lists(increments.filter(bool), max_size=3 * HISTORY))
def test_memory_is_bounded_and_survives_its_column(gains: list[int]) -> None:
    activity = after(*((points, 1000) for points in gains))
    stored = encode_recent(activity.recent)

    assert activity.recent == tuple(gains[-HISTORY:])
    assert len(stored) <= 64
    assert decode_recent(stored) == activity.recent


@given(st.lists(increments.filter(bool), max_size=HISTORY))
def test_unpadded_stored_history_is_still_read(recent: list[int]) -> None:
    assert decode_recent(struct.pack(f">{len(recent)}i", *recent)) == tuple(recent)


def test_a_row_grows_with_every_fourth_increment_only() -> None:
    lengths = [len(encode_recent((1,) * count)) for count in range(HISTORY + 1)]

    assert lengths == [16] * 5 + [32] * 4 + [48] * 4 + [64] * 4


def test_stored_reasons_keep_their_spelling() -> None:
    assert {item.value for item in Reason} >= {
        "large_increment",
        "points_in_window",
        "unlike_history",
    }


# Within a batch


def test_a_held_submission_takes_no_number_and_moves_no_total() -> None:
    settled = settle(
        [(submission(n, increment=i), Outcome.APPLIED) for n, i in enumerate([10, 101, 20])],
        users={1: user(score=5)},
        decided=set(),
        seq=7,
        fraud=LARGE,
    )

    assert [(row.outcome, row.seq) for row in settled.rows] == [
        (Outcome.APPLIED, 8),
        (Outcome.HELD, None),
        (Outcome.APPLIED, 9),
    ]
    assert settled.rows[1].reasons == (Reason.LARGE_INCREMENT,)
    assert [(item.score, item.activity.recent) for item in settled.users] == [(35, (10, 20))]


def test_gains_of_one_batch_add_up_in_the_window() -> None:
    batch = [
        (msgspec.structs.replace(submission(n, increment=40), received_us=0), Outcome.APPLIED)
        for n in range(4)
    ]
    settled = settle(batch, users={1: user()}, decided=set(), seq=0, fraud=WINDOW)

    assert [row.outcome for row in settled.rows] == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        Outcome.HELD,
        Outcome.HELD,
    ]


def test_a_total_out_of_range_is_rejected_before_it_is_suspected() -> None:
    settled = settle(
        [(submission(increment=-MAX_INCREMENT), Outcome.APPLIED)],
        users={1: user()},
        decided=set(),
        seq=0,
        fraud=LARGE,
    )

    assert [row.outcome for row in settled.rows] == [Outcome.SCORE_OUT_OF_RANGE]


@pytest.mark.parametrize(
    ("cases_max", "waiting", "outcomes"),
    [
        (2, 0, ["held", "held", "too_many_cases", "applied"]),
        (2, 1, ["held", "too_many_cases", "too_many_cases", "applied"]),
        (2, 9, ["too_many_cases"] * 3 + ["applied"]),
        (0, 9, ["held", "held", "held", "applied"]),
    ],
)
def test_suspicious_gains_beyond_the_open_cases_of_a_user_are_rejected(
    cases_max: int, waiting: int, outcomes: list[str]
) -> None:
    settled = settle(
        [(submission(n, increment=i), Outcome.APPLIED) for n, i in enumerate([101, 102, 103, 9])],
        users={1: user()},
        decided=set(),
        seq=0,
        fraud=FraudRules(
            large_increment=100, window_points=0, unlike_history_z=0, open_cases_max=cases_max
        ),
        open_cases={1: waiting, 2: 5},
    )

    assert [row.outcome.value for row in settled.rows] == outcomes
    assert [(one.score, one.activity.recent) for one in settled.users] == [(9, (9,))]


def test_open_cases_of_one_user_do_not_count_against_another() -> None:
    settled = settle(
        [(submission(n, user_id=n, increment=101), Outcome.APPLIED) for n in (1, 2)],
        users={1: user(), 2: user(2)},
        decided=set(),
        seq=0,
        fraud=FraudRules(large_increment=100, open_cases_max=1),
        open_cases={1: 1},
    )

    assert [row.outcome for row in settled.rows] == [Outcome.TOO_MANY_CASES, Outcome.HELD]
