"""Lines of a shared queue: turns, thresholds and bounds, for any arrivals."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from server.submit.fair_queue import FairQueue, Shares


@dataclass(frozen=True)
class Item:
    principal: str
    since: float


ARRIVALS = st.lists(st.sampled_from("abcd"), max_size=60)


@given(ARRIVALS, st.integers(1, 20), st.integers(1, 20))
def test_every_item_leaves_once_and_each_line_in_order(
    arrivals: list[str], most: int, alone_max: int
) -> None:
    queue: FairQueue[Item] = FairQueue(alone_max=alone_max)
    items = [Item(principal, float(n)) for n, principal in enumerate(arrivals)]
    for item in items:
        queue.append(item)

    left: list[Item] = []
    while queue:
        batch = queue.take(most)
        assert 0 < len(batch) <= most
        left += batch

    assert sorted(left, key=lambda item: item.since) == items
    for principal in "abcd":
        line = [item.since for item in left if item.principal == principal]
        assert line == sorted(line)


@given(ARRIVALS, st.integers(4, 20))
def test_no_line_gets_two_more_than_another_that_still_waits(
    arrivals: list[str], most: int
) -> None:
    queue: FairQueue[Item] = FairQueue(alone_max=1000)
    for n, principal in enumerate(arrivals):
        queue.append(Item(principal, float(n)))
    waiting = Counter(arrivals)

    batch = Counter(item.principal for item in queue.take(most))

    for principal in waiting:
        if batch[principal] < waiting[principal]:
            assert all(batch[principal] >= count - 1 for count in batch.values())


def test_a_full_batch_begins_the_next_with_who_had_less() -> None:
    queue: FairQueue[Item] = FairQueue(alone_max=10)
    for n, principal in enumerate("aaabbbccc"):
        queue.append(Item(principal, float(n)))

    taken = ["".join(item.principal for item in queue.take(2)) for _ in range(3)]

    assert taken == ["ab", "ca", "bc"]


def test_what_came_too_early_is_taken_out_of_every_line() -> None:
    queue: FairQueue[Item] = FairQueue(alone_max=10)
    for principal, since in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        queue.append(Item(principal, since))

    assert [item.principal for item in queue.expired(2.5)] == ["a", "b"]
    assert len(queue) == 1
    assert [item.since for item in queue.clear()] == [3.0]
    assert not queue


@given(st.lists(st.sampled_from("abc"), max_size=200))
def test_a_newcomer_finds_room_unless_all_is_taken(takers: list[str]) -> None:
    shares = Shares(50)
    for principal in takers:
        if shares.may_take(principal):
            shares.take(principal)

    assert shares.held <= 50
    assert shares.may_take("newcomer") == (not shares.full)
    assert shares.held < 50


def test_given_back_shares_are_forgotten() -> None:
    shares = Shares(10)
    shares.take("a")
    shares.take("a")

    shares.give_back("a", 2)

    assert (shares.held, shares.may_take("a")) == (0, True)
    assert shares._held == {}
