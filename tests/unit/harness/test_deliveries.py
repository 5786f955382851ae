"""A listener's account: contiguity, agreement and explicit jumps, as each event is delivered."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines.deliveries import VIOLATIONS_NOTED, Deliveries
from harness.engines.listener_stats import ListenerTotals
from harness.evidence.history import Event, HistoryWriter, Listen, read_history
from harness.evidence.history_writer import write_listeners
from harness.net.sse_parser import Span
from scoreboard.domain import Change, Standing
from scoreboard.sse import HEARTBEAT, Snapshot, encode_hello, encode_snapshot, encode_updates


class Streams:
    """Accounts of a few listeners, and the history written of them."""

    def __init__(self, path: Path) -> None:
        self.faults: Counter[str] = Counter()
        self.accounts = Deliveries(4, on_fault=lambda what: self.faults.update([what]))
        self.writer = HistoryWriter(path, process="test")

    def give(self, index: int, *payloads: bytes) -> None:
        for payload in payloads:
            span = Span(payload, 0)
            self.accounts.examine(index, span)
            self.accounts.deliver(index, span)

    def join(self, index: int, cursor: int) -> None:
        self.accounts.opened(index)
        self.give(index, encode_hello(cursor))

    def records(self) -> list[Listen | Event]:
        write_listeners(self.writer, *self.accounts.take_records())
        self.writer.flush()
        records = read_history(self.writer.path).records
        return [r for r in records if isinstance(r, Listen | Event)]

    def listens(self, what: str) -> list[Listen]:
        return [r for r in self.records() if isinstance(r, Listen) and r.what == what]

    def ranges(self) -> list[tuple[str, int | None, int | None]]:
        return [(r.listener, r.first, r.last) for r in self.listens("range")]

    def violations(self) -> list[str]:
        return [r.detail or "" for r in self.listens("violation")]

    def account(self, target: int | None = None) -> ListenerTotals:
        return self.accounts.account(streaming=0, disconnects={}, target=target)


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Streams]:
    opened = Streams(tmp_path / "history.jsonl")
    yield opened
    opened.writer.close()


def updates(first: int, last: int) -> bytes:
    return encode_updates(
        Change(seq=seq, user_id=1, name="Alice", score=1500 + seq, committed_us=seq // 3)
        for seq in range(first, last + 1)
    )


def board(event: str, seq: int) -> bytes:
    scores = [Standing(user="Alice", score=9)]
    return encode_snapshot(event, Snapshot(seq=seq, scores=scores))


def test_contiguous_changes_become_one_range_per_listener(
    streams: Streams,
) -> None:
    for index in (0, 1):
        streams.join(index, 10)
        streams.give(index, updates(11, 12), HEARTBEAT, updates(13, 13))
        streams.accounts.closed(index, "end")

    assert streams.ranges() == [("listener-0", 11, 13), ("listener-1", 11, 13)]
    assert [r.seq for r in streams.records() if isinstance(r, Event)] == [11, 12, 13]
    assert streams.violations() == []
    assert streams.accounts.delivered == 6


def test_skipped_changes_are_a_violation_naming_the_expected_seq(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, updates(11, 11), updates(14, 14))

    assert streams.violations() == ["events are missing: expected 12, got 14"]
    assert streams.account().missing == 2


def test_a_change_skipped_inside_a_block_is_a_violation(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, updates(11, 12) + updates(14, 15))

    assert streams.violations() == ["events are missing: expected 13, got 14"]


def test_a_shared_block_is_checked_against_the_cursor_of_each_listener(streams: Streams) -> None:
    for index, cursor in ((0, 10), (1, 8)):
        streams.join(index, cursor)
        streams.give(index, updates(11, 12))

    assert streams.violations() == ["events are missing: expected 9, got 11"]


def test_changes_missing_across_a_reconnect_are_a_violation(streams: Streams) -> None:
    streams.join(0, 10)
    streams.give(0, updates(11, 11))
    streams.accounts.closed(0, "cut")

    streams.accounts.opened(0)
    streams.give(0, encode_hello(11), updates(13, 13))

    assert streams.violations() == ["events are missing: expected 12, got 13"]


def test_a_resumed_listener_starts_a_new_range(streams: Streams) -> None:
    streams.join(0, 10)
    streams.give(0, updates(11, 12))
    streams.accounts.closed(0, "cut")
    streams.accounts.opened(0)
    streams.give(0, updates(13, 14))
    streams.accounts.closed(0, "stopped")

    assert [r.last_event_id for r in streams.listens("open")] == [None, 12]
    assert streams.ranges() == [("listener-0", 11, 12), ("listener-0", 13, 14)]
    assert [r.detail for r in streams.listens("close")] == ["cut", "end of run"]


@pytest.mark.parametrize("reconnected", [False, True])
def test_a_change_that_comes_again_is_a_violation(streams: Streams, reconnected: bool) -> None:
    """After a reconnect too: the stream continues with the id after `Last-Event-ID`."""
    streams.join(0, 10)
    streams.give(0, updates(11, 12))
    if reconnected:
        streams.accounts.closed(0, "cut")
        streams.accounts.opened(0)

    streams.give(0, updates(12, 13))

    assert streams.violations() == ["an event came again: expected 13, got 12"]
    assert streams.accounts.cursor[0] == 13


def test_listener_with_differing_content_is_reported(streams: Streams) -> None:
    for index, payload in ((0, updates(11, 11)), (1, updates(11, 11).replace(b"15", b"16"))):
        streams.join(index, 10)
        streams.give(index, payload)

    assert streams.violations() == [
        "an event with other content than before: here Alice 1611: expected 11, got 11"
    ]


def test_a_late_change_is_a_reorder_and_then_not_missing(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, updates(12, 12), updates(11, 11), updates(13, 13))

    assert streams.faults == {"gaps": 1, "reorders": 1}
    assert streams.account().missing == 0
    assert not streams.accounts.irregular


def test_a_reset_moves_the_cursor_to_its_board(streams: Streams) -> None:
    streams.join(0, 10)
    streams.give(0, updates(11, 11))

    streams.give(0, board("reset", 50) + updates(51, 52))
    streams.accounts.closed(0, "end")

    assert streams.violations() == []
    assert streams.ranges() == [("listener-0", 11, 11), ("listener-0", 51, 52)]
    [reset] = streams.listens("reset")
    assert (reset.seq, reset.scores) == (50, [("Alice", 9)])
    assert streams.account(target=52).resets == 1


def test_a_snapshot_first_is_where_a_listener_starts(streams: Streams) -> None:
    streams.accounts.opened(0)

    streams.give(0, encode_hello(10), board("snapshot", 10), updates(11, 11))
    streams.accounts.closed(0, "end")

    assert streams.violations() == []
    assert streams.ranges() == [("listener-0", 11, 11)]
    assert len(streams.listens("snapshot")) == 1


def test_a_snapshot_after_changes_is_a_violation(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, updates(11, 11), board("snapshot", 11))

    assert streams.violations() == ["a snapshot came after changes: expected 12, got 11"]


def test_reset_whose_id_differs_from_its_board_is_a_violation(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, board("reset", 50).replace(b"id: 50", b"id: 60"))

    assert streams.violations() == ["a reset carries the board of 50: expected 11, got 60"]


def test_a_reset_without_its_board_is_a_violation(streams: Streams) -> None:
    streams.join(0, 10)

    streams.give(0, b"id: 50\nevent: reset\ndata: {}\n\n")

    assert len(streams.violations()) == 1


@pytest.mark.parametrize("ends", [False, True])
def test_an_id_that_moves_on_resume_without_a_reset_is_a_violation(
    streams: Streams, ends: bool
) -> None:
    streams.join(0, 10)
    streams.accounts.opened(0)
    streams.give(0, encode_hello(20))

    if ends:
        streams.accounts.closed(0, "cut")
    else:
        streams.give(0, updates(11, 11))

    assert streams.violations() == ["the id moved without a reset: expected 11, got 20"]
    assert not streams.accounts.irregular


def test_an_id_that_moves_on_resume_is_legal_when_a_reset_follows(streams: Streams) -> None:
    streams.join(0, 10)
    streams.accounts.opened(0)

    streams.give(0, encode_hello(20), board("reset", 20), updates(21, 21))

    assert streams.violations() == []


@pytest.mark.parametrize("data", [b'{"user":"A","score":"oops"}', b'{"user":"\xff","score":1}'])
def test_an_update_without_its_fields_is_a_violation_on_every_stream(
    streams: Streams, data: bytes
) -> None:
    payload = updates(11, 11) + b"id: 12\nevent: update\ndata: %b\n\n" % data
    for index in (0, 1):
        streams.join(index, 10)
        streams.give(index, payload)

    assert (
        streams.violations() == ["bytes that are no event of the contract: expected 12, got 12"] * 2
    )


def test_violations_beyond_the_bound_are_counted_and_not_written(streams: Streams) -> None:
    streams.join(0, 0)

    for seq in range(2, 1000, 2):
        streams.give(0, updates(seq, seq))

    assert streams.account().gaps == 499
    assert len(streams.violations()) == VIOLATIONS_NOTED


def test_listener_totals_count_listeners_behind_a_target(streams: Streams) -> None:
    for index, last in enumerate((20, 20, 19, 21)):
        streams.join(index, 10)
        streams.give(index, updates(11, last))

    account = streams.account(target=20)
    assert (account.cursor_min, account.cursor_max, account.behind) == (19, 21, 2)


@pytest.mark.parametrize("far", [10**17, 999_999_999])
def test_id_far_from_the_others_is_a_fault_told_and_allocates_nothing(
    streams: Streams, far: int
) -> None:
    streams.join(0, 10)
    streams.give(0, updates(11, 12))
    tracemalloc.start()

    streams.give(0, updates(far, far), updates(13, 13), updates(far + 1, far + 2))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    assert streams.account(13).behind == 3
    assert streams.faults == {"broken": 3}
    assert f"the id {far} is further from the others" in streams.violations()[0]


def test_first_event_far_from_where_streams_began_is_a_fault(streams: Streams) -> None:
    streams.join(0, 10)
    streams.give(0, updates(10**17, 10**17), updates(11, 11))

    assert streams.faults == {"broken": 1}
    assert streams.ranges() == []
    streams.accounts.closed(0, "end")
    assert streams.ranges() == [("listener-0", 11, 11)]


def test_long_gap_is_one_stretch_and_its_late_events_are_taken_out_of_it(
    streams: Streams,
) -> None:
    streams.join(0, 10)
    streams.give(0, updates(100_000, 100_000))
    assert streams.account().missing == 99_989

    streams.give(0, updates(50_000, 50_001))

    assert streams.account().missing == 99_987
    assert streams.faults == {"gaps": 1, "reorders": 2}
