"""When a read may be answered: by time alone, since processes do not talk to each other."""

from hypothesis import given
from hypothesis import strategies as st

from server.board.position import BoardPosition
from server.board.read_order import HOLD_S, LEASE_S, Learned, ReadOrder
from server.board.redis_watch import BEHIND_S, INTERVAL_S


def test_a_number_settles_when_its_time_is_over() -> None:
    learned = Learned(1.0)

    assert learned.left_s(5, 10.0) == 1.0
    assert learned.left_s(5, 10.5) == 0.5
    assert learned.left_s(5, 11.0) == 0.0


def test_a_later_number_tells_when_an_earlier_one_was_there() -> None:
    learned = Learned(1.0)
    learned.left_s(7, 10.0)

    assert learned.left_s(6, 10.75) == 0.25
    assert learned.left_s(8, 10.75) == 1.0


def test_what_has_settled_stays_settled() -> None:
    learned = Learned(1.0)
    learned.left_s(7, 10.0)
    learned.left_s(9, 10.5)

    assert learned.left_s(7, 11.0) == 0.0
    assert learned.left_s(8, 11.25) == 0.25


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=50))
def test_no_number_settles_before_it_was_there_for_long_enough(
    steps: list[tuple[int, int]],
) -> None:
    learned, now, first = Learned(4.0), 0.0, dict[int, float]()
    for seq, pause in steps:
        now += pause
        for number in range(1, seq + 1):
            first.setdefault(number, now)

        left_s = learned.left_s(seq, now)

        assert left_s == max(0.0, first[seq] + 4.0 - now)


def test_what_redis_shows_settles_sooner_than_what_mysql_shows() -> None:
    order = ReadOrder(BoardPosition(), clock=lambda: 0.0)

    assert order.left_s(1, published=False) == HOLD_S
    assert order.left_s(1, published=True) == LEASE_S


def test_redis_is_known_to_be_behind_before_what_it_lacks_is_shown() -> None:
    assert BEHIND_S + 2 * INTERVAL_S < HOLD_S
