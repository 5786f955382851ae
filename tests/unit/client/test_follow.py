"""What a follower makes of a stream's bytes, without a connection."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import sse
from scoreboard_client.errors import BadAnswer
from scoreboard_client.follow import Follower, Reset, Snapshot, StreamEvent, Update
from tests.support.scripted_api import hello, snapshot, standing, updates


def read(follower: Follower, *chunks: bytes) -> list[StreamEvent]:
    reading = follower.reading()
    return [event for chunk in chunks for event in reading.feed(chunk)]


def seqs(events: Iterable[StreamEvent]) -> list[int]:
    return [event.seq for event in events]


def test_update_carries_the_commit_time_of_the_comment_before_it() -> None:
    [event] = read(Follower(None), hello(4) + updates(5))

    assert event == Update(seq=5, user="Alice", score=5, committed_us=1005, user_id=1)


def test_commit_time_holds_for_the_updates_that_share_it() -> None:
    block = b': committed 77\nid: 1\nevent: update\ndata: {"user":"A","score":1}\n\n'
    same = b'id: 2\nevent: update\ndata: {"user":"A","score":2}\n\n'

    events = read(Follower(0), block, same)

    assert [e.committed_us for e in events if isinstance(e, Update)] == [77, 77]


@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_chunk_borders_change_nothing(cuts: list[int]) -> None:
    whole = hello(0) + updates(*range(1, 8)) + snapshot(sse.RESET, 20, standing("A", 1))
    borders = [0, *sorted(cuts), len(whole)]

    events = read(Follower(0), *(whole[a:b] for a, b in itertools.pairwise(borders)))

    assert seqs(events) == [*range(1, 8), 20]


def test_first_block_sets_the_cursor_of_a_fresh_stream_only() -> None:
    fresh, resumed = Follower(None), Follower(3)

    read(fresh, hello(9))
    read(resumed, hello(9))

    assert fresh.last_seq == 9
    assert resumed.last_seq == 3


def test_redelivered_changes_are_dropped() -> None:
    follower = Follower(6)

    assert seqs(read(follower, hello(4), updates(5, 6, 7))) == [7]
    assert follower.last_seq == 7


def test_gap_without_reset_is_a_breach_after_the_changes_before_it() -> None:
    follower = Follower(4)
    events = follower.reading().feed(updates(5, 7))

    assert next(events).seq == 5
    with pytest.raises(BadAnswer, match="change 7 came after 5"):
        next(events)
    assert follower.last_seq == 5


def test_cursor_moves_with_each_event_taken_not_before() -> None:
    follower = Follower(0)
    events = follower.reading().feed(updates(1, 2, 3))

    next(events)

    assert follower.last_seq == 1


def test_reset_moves_the_cursor_back_or_forth_and_the_next_change_follows() -> None:
    for at in (2, 50):
        follower = Follower(9)

        events = read(follower, snapshot(sse.RESET, at, standing("A", 3)), updates(at + 1))

        assert events[0] == Reset(seq=at, scores=(standing("A", 3),))
        assert seqs(events) == [at, at + 1]


def test_snapshot_is_told_from_reset() -> None:
    [event] = read(Follower(None), hello(8), snapshot(sse.SNAPSHOT, 8))

    assert event == Snapshot(seq=8, scores=())


def test_event_of_a_later_version_is_skipped_with_its_number() -> None:
    follower = Follower(1)

    events = read(follower, b"id: 2\nevent: retraction\ndata: {}\n\n", updates(3))

    assert seqs(events) == [3]


@pytest.mark.parametrize(
    "block",
    [
        b'event: update\ndata: {"user":"A","score":1}\n\n',
        b'id: x\nevent: update\ndata: {"user":"A","score":1}\n\n',
        b'id: 1\nevent: update\ndata: {"user":"A"}\n\n',
        b'id: 1\nevent: update\ndata: {"user":"A","score":"1"}\n\n',
        b"id: 1\nevent: update\ndata: oops\n\n",
        b'id: 1\nevent: reset\ndata: {"seq":2,"scores":[]}\n\n',
        b"id: 1\nevent: snapshot\ndata: []\n\n",
        b"data: " + b"x" * (sse.MAX_LINE_BYTES + 1),
    ],
)
def test_malformed_events_are_breaches(block: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(Follower(None), block)
