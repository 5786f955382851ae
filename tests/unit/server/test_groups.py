"""Turns of the listener groups, on a fake clock."""

import itertools
from typing import Any

import pytest

from server.stream.groups import Group, Groups


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    monkeypatch.setattr("server.stream.groups.LISTENERS_PER_GROUP", 2)
    return Groups(0.0)


def listener() -> Any:
    return object()


def filled(groups: Groups, count: int, cursor: int = 0) -> list[Group]:
    """`count` full groups."""
    return [groups.add(listener(), cursor) for _ in range(2 * count)][::2]


def test_listener_joins_the_first_group_with_room(groups: Groups) -> None:
    first, second = filled(groups, 2)
    [leaver, _] = first.listeners

    assert not groups.remove(leaver, first)

    assert groups.add(listener(), 0) is first
    assert groups.add(listener(), 0) not in (first, second)


def test_group_goes_with_its_last_listener(groups: Groups) -> None:
    only = listener()
    group = groups.add(only, 5)

    assert groups.slowest(9) == 5
    assert groups.remove(only, group)
    assert groups.slowest(9) == 9


def test_next_turn_goes_to_the_longest_waiting_group_behind(groups: Groups) -> None:
    first, second, third = filled(groups, 3)
    first.not_before, second.not_before, third.not_before = 3.0, 2.0, 1.0
    third.cursor = 7

    assert groups.next(7) is second
    assert groups.wait_s(0.5) == 0.5
    groups.move_to(7)
    assert groups.next(7) is None
    assert groups.next(8) is third


def test_turns_spread_evenly_over_the_period(groups: Groups) -> None:
    all_groups = filled(groups, 4)
    now = 100.0
    began: list[float] = []
    for _ in range(40):
        group = min(all_groups, key=lambda each: each.not_before)
        now = max(now, group.not_before)
        began.append(now)
        groups.written(group, began=now, took_s=0.0, listeners=100_000, usual_max_s=0.1)

    # 100,000 listeners are written to every 100,000 / 64,000 seconds, a quarter of them at a time.
    gaps = [after - before for before, after in itertools.pairwise(began[8:])]
    assert gaps == pytest.approx([100_000 / 64_000 / 4] * len(gaps))
