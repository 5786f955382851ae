"""A listener's account: contiguity, agreement and explicit jumps, as each is delivered."""

from pathlib import Path

import pytest

from harness.evidence.history import Event, HistoryWriter, Listen, read_history
from harness.evidence.transcript import Canon, Listener


class Transcript:
    """A canon, its listeners and what they have written so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = HistoryWriter(path, process="test")
        self.canon = Canon(self.writer)

    def listener(self, name: str = "l1") -> Listener:
        return Listener(name, self.canon)

    def written(self) -> list[Listen]:
        self.writer.flush()
        return [r for r in read_history(self.path).records if isinstance(r, Listen)]

    def violations(self) -> list[str]:
        return [r.detail or "" for r in self.written() if r.what == "violation"]

    def events(self) -> list[int]:
        self.writer.flush()
        return [r.seq for r in read_history(self.path).records if isinstance(r, Event)]


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    return Transcript(tmp_path / "history.jsonl")


def update(seq: int) -> bytes:
    return b'{"user":"Alice","score":%d}' % (1500 + seq)


def deliver(listener: Listener, *seqs: int) -> None:
    for seq in seqs:
        listener.update(seq, update(seq))


def test_contiguous_changes_become_one_range_and_one_event_each(transcript: Transcript) -> None:
    first, second = transcript.listener("l1"), transcript.listener("l2")
    for listener in (first, second):
        listener.opened()
        listener.primed(10)
        deliver(listener, 11, 12, 13)
        listener.closed("end")

    ranges = [(r.listener, r.first, r.last) for r in transcript.written() if r.what == "range"]
    assert ranges == [("l1", 11, 13), ("l2", 11, 13)]
    assert transcript.events() == [11, 12, 13]
    assert transcript.violations() == []


def test_a_skipped_change_is_a_violation_that_names_it(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.opened()
    listener.primed(10)

    deliver(listener, 11, 14)

    assert transcript.violations() == ["changes 12 to 13 were never delivered; 14 came next"]


def test_changes_missing_across_a_reconnect_are_a_violation(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.opened()
    listener.primed(10)
    deliver(listener, 11)
    listener.closed("cut")

    listener.opened()
    deliver(listener, 13)

    assert transcript.violations() == ["changes 12 to 12 were never delivered; 13 came next"]


def test_a_change_that_differs_from_what_others_got_is_shown_with_both(
    transcript: Transcript,
) -> None:
    first, second = transcript.listener("l1"), transcript.listener("l2")
    first.primed(10)
    second.primed(10)
    deliver(first, 11)

    second.update(11, b'{"user":"Bob","score":1}')

    [violation] = transcript.violations()
    assert '"Bob"' in violation
    assert '"Alice"' in violation


def test_redelivery_after_a_reconnect_is_counted_and_no_violation(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.opened()
    listener.primed(10)
    deliver(listener, 11, 12)
    listener.closed("cut")

    listener.opened()
    deliver(listener, 12, 13)
    listener.closed("end")

    assert transcript.violations() == []
    assert listener.redelivered == 1
    assert listener.cursor == 13


def test_the_same_change_twice_on_one_connection_is_a_violation(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.opened()
    listener.primed(10)

    deliver(listener, 11, 12, 12)

    assert transcript.violations() == ["change 12 came again on one connection, after 12"]


def test_a_reset_moves_the_cursor_to_its_board(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.opened()
    listener.primed(10)
    deliver(listener, 11)

    listener.reset(50, b'{"seq":50,"scores":[{"user":"Alice","score":9}]}')
    deliver(listener, 51)
    listener.closed("end")

    assert transcript.violations() == []
    ranges = [(r.first, r.last) for r in transcript.written() if r.what == "range"]
    assert ranges == [(11, 11), (51, 51)]


def test_a_reset_without_its_board_is_a_violation(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.primed(10)

    listener.reset(50, b"{}")

    assert len(transcript.violations()) == 1


def test_an_id_that_jumps_on_resume_without_a_reset_is_a_violation(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.primed(10)
    listener.opened()
    listener.primed(20)

    listener.closed("cut")

    assert transcript.violations() == [
        "asked to resume from 10, the stream set the id to 20 without a reset"
    ]


def test_an_id_that_jumps_on_resume_is_legal_when_a_reset_follows(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.primed(10)
    listener.opened()
    listener.primed(20)

    listener.reset(20, b'{"seq":20,"scores":[]}')

    assert transcript.violations() == []


def test_a_block_is_accepted_at_once_only_where_it_continues_the_cursor(
    transcript: Transcript,
) -> None:
    listener = transcript.listener()
    listener.primed(10)

    assert listener.advance(11, 20)
    assert not listener.advance(22, 30)
    assert listener.cursor == 20


def test_a_broken_server_cannot_fill_the_disk_with_violations(transcript: Transcript) -> None:
    listener = transcript.listener()
    listener.primed(0)

    deliver(listener, *range(2, 1000, 2))

    assert listener.violations == 499
    assert len(transcript.violations()) == 100
