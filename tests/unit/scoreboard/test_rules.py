"""Outcomes: exactly once, gapless, within bounds, and equal to a model a child could check."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard.domain import MAX_INCREMENT, MAX_SCORE, Outcome, Submission, User
from scoreboard.rules import Settlement, screen, settle
from tests.support.board_order import order_key, top
from tests.unit.scoreboard.arrange import submission, submission_id, user

APPLIED = Outcome.APPLIED


def settle_all(
    *submissions: Submission, users: list[User], decided: set[bytes] | None = None, seq: int = 0
) -> Settlement:
    return settle(
        [(item, APPLIED) for item in submissions],
        users={item.id: item for item in users},
        decided=decided or set(),
        seq=seq,
    )


# Screening


@pytest.mark.parametrize("increment", [1, -1, MAX_INCREMENT, -MAX_INCREMENT])
def test_increments_within_the_bound_pass(increment: int) -> None:
    assert screen(submission(increment=increment), {1}) is APPLIED


@pytest.mark.parametrize("increment", [0, MAX_INCREMENT + 1, -MAX_INCREMENT - 1, 2**63 - 1])
def test_zero_and_increments_beyond_the_bound_are_rejected(increment: int) -> None:
    assert screen(submission(increment=increment), {1}) is Outcome.INCREMENT_OUT_OF_RANGE


def test_an_unknown_user_is_rejected() -> None:
    assert screen(submission(user_id=2), {1}) is Outcome.UNKNOWN_USER


# Settling


def test_an_applied_submission_takes_the_next_number_and_moves_the_total() -> None:
    settled = settle_all(submission(increment=10), users=[user(score=1500)], seq=5000)
    [row] = settled.rows

    assert (row.outcome, row.seq, row.score_after) == (APPLIED, 5001, 1510)
    assert settled.users == [user(score=1510, seq=5001)]
    assert settled.last_seq == 5001


def test_an_id_the_ledger_has_is_left_out() -> None:
    settled = settle_all(submission(1), users=[user()], decided={submission_id(1)}, seq=9)

    assert settled == Settlement(rows=[], users=[], last_seq=9)


def test_a_second_appearance_in_the_batch_is_left_out() -> None:
    settled = settle_all(
        submission(1, increment=10), submission(1, increment=99), users=[user()], seq=0
    )

    assert [row.score_after for row in settled.rows] == [10]


def test_a_second_appearance_of_a_rejected_one_is_left_out() -> None:
    settled = settle_all(submission(1, increment=-1), submission(1, increment=5), users=[user()])

    assert [row.outcome for row in settled.rows] == [Outcome.SCORE_OUT_OF_RANGE]


def test_rejected_submissions_get_a_row_without_number() -> None:
    settled = settle(
        [(submission(1), Outcome.INCREMENT_OUT_OF_RANGE), (submission(2), APPLIED)],
        users={1: user()},
        decided=set(),
        seq=0,
    )

    assert [(row.outcome, row.seq, row.score_after) for row in settled.rows] == [
        (Outcome.INCREMENT_OUT_OF_RANGE, None, None),
        (APPLIED, 1, 10),
    ]


def test_a_user_gone_since_screening_is_unknown() -> None:
    settled = settle_all(submission(user_id=7), users=[user(1)])

    assert [row.outcome for row in settled.rows] == [Outcome.UNKNOWN_USER]


@pytest.mark.parametrize(
    ("score", "increment", "outcome"),
    [
        (0, -1, Outcome.SCORE_OUT_OF_RANGE),
        (1, -1, APPLIED),
        (MAX_SCORE, 1, Outcome.SCORE_OUT_OF_RANGE),
        (MAX_SCORE - 1, 1, APPLIED),
    ],
)
def test_totals_stay_within_their_bounds(score: int, increment: int, outcome: Outcome) -> None:
    settled = settle_all(submission(increment=increment), users=[user(score=score)])

    assert [row.outcome for row in settled.rows] == [outcome]


def test_a_rejected_total_does_not_stop_the_ones_after_it() -> None:
    settled = settle_all(
        submission(1, increment=-5),
        submission(2, increment=5),
        submission(3, increment=-5),
        users=[user()],
    )

    assert [row.outcome for row in settled.rows] == [Outcome.SCORE_OUT_OF_RANGE, APPLIED, APPLIED]
    assert settled.users == [user(score=0, seq=2)]


def test_changed_users_come_sorted_by_id() -> None:
    settled = settle_all(
        *[submission(n, user_id=user_id) for n, user_id in enumerate([30, 2, 11, 2, 30])],
        users=[user(n) for n in (30, 2, 11, 4)],
    )

    assert [item.id for item in settled.users] == [2, 11, 30]


batches = st.lists(
    st.tuples(
        st.builds(
            submission,
            st.integers(0, 12),
            user_id=st.integers(1, 5),
            increment=st.integers(-30, 30),
        ),
        st.sampled_from([APPLIED, APPLIED, Outcome.UNKNOWN_USER]),
    ),
    max_size=30,
)


@given(
    batch=batches,
    scores=st.dictionaries(st.integers(1, 5), st.integers(0, 40)),
    decided=st.sets(st.integers(0, 12).map(submission_id)),
    seq=st.integers(0, 2**40),
)
def test_settling_equals_the_naive_model(
    batch: list[tuple[Submission, Outcome]],
    scores: dict[int, int],
    decided: set[bytes],
    seq: int,
) -> None:
    users = {key: user(key, score=score) for key, score in scores.items()}
    settled = settle(batch, users=users, decided=decided, seq=seq)

    totals, expected, ledger = dict(scores), [], set(decided)
    for item, outcome in batch:
        if item.id not in ledger:
            ledger.add(item.id)
            total = totals.get(item.user_id, -1) + item.increment
            if outcome is APPLIED and item.user_id not in totals:
                outcome = Outcome.UNKNOWN_USER
            elif outcome is APPLIED and total < 0:
                outcome = Outcome.SCORE_OUT_OF_RANGE
            elif outcome is APPLIED:
                totals[item.user_id] = total
            expected.append((item.id, outcome, total if outcome is APPLIED else None))

    assert [(r.submission.id, r.outcome, r.score_after) for r in settled.rows] == expected
    numbers = [row.seq for row in settled.rows if row.seq is not None]
    assert numbers == list(range(seq + 1, seq + 1 + len(numbers)))
    assert settled.last_seq == seq + len(numbers)
    assert len({row.submission.id for row in settled.rows}) == len(settled.rows)
    changed = {r.submission.user_id: r.seq for r in settled.rows if r.seq is not None}
    assert [(u.id, u.score, u.seq, u.name) for u in settled.users] == [
        (key, totals[key], changed[key], f"User{key}") for key in sorted(changed)
    ]


@given(batch=batches, cut=st.integers(0, 30))
def test_two_batches_end_like_one(batch: list[tuple[Submission, Outcome]], cut: int) -> None:
    """However arrivals fall into batches, the ledger is the same."""
    users = {n: user(n, score=20) for n in range(1, 5)}
    whole = settle(batch, users=users, decided=set(), seq=0)

    first = settle(batch[:cut], users=users, decided=set(), seq=0)
    second = settle(
        batch[cut:],
        users=users | {item.id: item for item in first.users},
        decided={row.submission.id for row in first.rows},
        seq=first.last_seq,
    )

    assert first.rows + second.rows == whole.rows


# Board order


def test_the_board_is_ordered_by_score_then_first_to_reach_it_then_id() -> None:
    users = [
        user(4, score=5, seq=9),
        user(3, score=5, seq=2),
        user(2, score=5, seq=9),
        user(1, score=7, seq=8),
    ]

    assert [item.id for item in top(users, 10)] == [1, 3, 2, 4]


@pytest.mark.parametrize("limit", [0, 1, 3, 9])
def test_top_gives_at_most_the_limit(limit: int) -> None:
    users = [user(n, score=n) for n in range(1, 4)]

    assert [item.score for item in top(users, limit)] == [3, 2, 1][:limit]


@given(st.lists(st.builds(user, st.integers(1, 9), score=st.integers(0, 3), seq=st.integers(0, 3))))
def test_ranking_never_puts_a_worse_user_first(users: list[User]) -> None:
    ranked = top(users, len(users))

    assert all((a.score, -a.seq, -a.id) >= (b.score, -b.seq, -b.id) for a, b in pairwise(ranked))
    assert sorted(map(order_key, users)) == [order_key(item) for item in ranked]
