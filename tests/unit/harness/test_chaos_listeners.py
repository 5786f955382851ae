"""Reading streams in a chaos run: equal bytes are read once, and accounted for with everyone."""

from pathlib import Path

import pytest

from harness.chaos.listeners import Payloads
from harness.history import HistoryWriter, Listen, read_history
from harness.transcript import Canon, Listener
from scoreboard.domain import Change, Standing
from scoreboard.sse import HEARTBEAT, Snapshot, encode_hello, encode_snapshot, encode_updates


class Streams:
    """Payloads that are given to listeners, and the violations written so far."""

    def __init__(self, path: Path) -> None:
        self.writer = HistoryWriter(path, process="test")
        self.canon = Canon(self.writer)
        self.payloads = Payloads(self.canon)

    def violations(self) -> list[str]:
        self.writer.flush()
        records = read_history(self.writer.path).records
        return [r.detail or "" for r in records if isinstance(r, Listen) and r.what == "violation"]


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(tmp_path / "history.jsonl")


def updates(first: int, last: int) -> bytes:
    return encode_updates(
        Change(seq=seq, user_id=1, name="Alice", score=1500 + seq, committed_us=seq // 3)
        for seq in range(first, last + 1)
    )


def test_what_the_server_encodes_is_accepted_without_a_violation(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    listener.opened()

    for payload in (encode_hello(10), updates(11, 15), HEARTBEAT, updates(16, 16)):
        streams.payloads.give(payload, listener)

    assert listener.cursor == 16
    assert listener.received == 6
    assert streams.violations() == []


def test_a_block_seen_before_is_still_checked_against_each_listeners_cursor(
    streams: Streams,
) -> None:
    for name, cursor in (("l1", 10), ("l2", 8)):
        listener = Listener(name, streams.canon)
        streams.payloads.give(encode_hello(cursor), listener)
        streams.payloads.give(updates(11, 12), listener)

    assert streams.violations() == ["changes 9 to 10 were never delivered; 11 came next"]


def test_a_block_that_leaves_one_out_inside_is_noticed(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    streams.payloads.give(encode_hello(10), listener)

    streams.payloads.give(updates(11, 12) + updates(14, 15), listener)

    assert streams.violations() == ["changes 13 to 13 were never delivered; 14 came next"]


def test_another_payload_under_a_known_number_is_noticed(streams: Streams) -> None:
    for name, payload in (("l1", updates(11, 11)), ("l2", updates(11, 11).replace(b"15", b"16"))):
        listener = Listener(name, streams.canon)
        streams.payloads.give(encode_hello(10), listener)
        streams.payloads.give(payload, listener)

    assert len(streams.violations()) == 1


def test_a_reset_moves_on_and_the_next_change_follows_it(streams: Streams) -> None:
    listener = Listener("l1", streams.canon)
    streams.payloads.give(encode_hello(10), listener)
    board = Snapshot(seq=50, scores=[Standing(user="Alice", score=9)])

    streams.payloads.give(encode_snapshot("reset", board) + updates(51, 52), listener)

    assert listener.cursor == 52
    assert streams.violations() == []
