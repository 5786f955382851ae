"""The ring buffer: a listener that resumes from it gets every change once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import sse
from scoreboard.domain import Change
from server.stream.ring import Ring


def changes(first: int, count: int, *, committed_us: int = 7) -> list[Change]:
    return [
        Change(seq=seq, user_id=seq, name=f"User{seq}", score=seq * 10, committed_us=committed_us)
        for seq in range(first, first + count)
    ]


def seqs(ring: Ring, cursor: int) -> list[int]:
    body = b"".join(events for events, _ in ring.after(cursor))
    return [int(event.id) for event in sse.Decoder().feed(body)]


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    max_changes=st.integers(1, 200),
    end=st.integers(0, 10**9),
)
def test_every_covered_cursor_continues_with_exactly_the_changes_after_it(
    sizes: list[int], max_changes: int, end: int
) -> None:
    ring = Ring(end, max_changes=max_changes, max_bytes=1 << 30)
    for size in sizes:
        ring.append(changes(ring.end + 1, size))

    assert ring.end == end + sum(sizes)
    for cursor in range(ring.start, ring.end + 1):
        assert seqs(ring, cursor) == list(range(cursor + 1, ring.end + 1))
    assert not ring.covers(ring.start - 1)
    assert not ring.covers(ring.end + 1)


def test_continuing_inside_a_segment_repeats_its_commit_time() -> None:
    ring = Ring(0, max_changes=100, max_bytes=1 << 20)
    ring.append(changes(1, 5, committed_us=42))

    [(events, reached)] = list(ring.after(3))

    assert reached == 5
    assert events == sse.encode_updates(changes(4, 2, committed_us=42))


def test_old_segments_leave_when_there_are_too_many_changes() -> None:
    ring = Ring(0, max_changes=10, max_bytes=1 << 20)
    for _ in range(1000):
        ring.append(changes(ring.end + 1, 4))

    assert ring.end - ring.start <= 10
    assert seqs(ring, ring.start) == list(range(ring.start + 1, ring.end + 1))


def test_old_segments_leave_when_they_are_too_large() -> None:
    one = Ring(0, max_changes=1000, max_bytes=1 << 20)
    one.append(changes(1, 1))
    [(events, _)] = one.after(0)
    ring = Ring(0, max_changes=1000, max_bytes=len(events) * 3)

    for _ in range(9):
        ring.append(changes(ring.end + 1, 1))

    assert ring.start == 6


def test_ring_keeps_needed_changes_beyond_its_bounds() -> None:
    ring = Ring(0, max_changes=10, max_bytes=1 << 20)
    for _ in range(20):
        ring.append(changes(ring.end + 1, 4), keep_after=6)

    assert ring.start == 4
    assert ring.first_after(6).seq == 7
    ring.append(changes(ring.end + 1, 4))
    assert ring.end - ring.start <= 10


def test_a_gap_is_a_broken_invariant() -> None:
    ring = Ring(5, max_changes=10, max_bytes=1 << 20)

    with pytest.raises(AssertionError):
        ring.append(changes(7, 1))
    with pytest.raises(AssertionError):
        ring.append([*changes(6, 1), *changes(8, 1)])


def test_an_emptied_ring_only_covers_its_end() -> None:
    ring = Ring(0, max_changes=10, max_bytes=1 << 20)
    ring.append(changes(1, 5))

    ring.clear(100)

    assert ring.covers(100)
    assert not ring.covers(5)
    assert list(ring.after(100)) == []


def test_a_long_history_comes_in_pieces() -> None:
    ring = Ring(0, max_changes=100_000, max_bytes=1 << 30)
    for _ in range(200):
        ring.append(changes(ring.end + 1, 20))

    pieces = list(ring.after(0))

    assert len(pieces) > 2
    assert pieces[-1][1] == ring.end
    assert max(len(events) for events, _ in pieces) < 128 * 1024
