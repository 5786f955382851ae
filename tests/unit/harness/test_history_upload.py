"""A history arrives whole at its place, or is named as lacking and leaves nothing behind."""

import os
import zlib
from pathlib import Path

import pytest

from harness.evidence.history import End, HistoryWriter, read_history
from harness.evidence.history_upload import PIECE_BYTES, Handover, read_piece
from harness.measure.clocks import Clock, shift_ns, this_clock

SIZE = 2 * PIECE_BYTES + 1


class Sender:
    """A load process that answers what it is asked, one piece at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[int] = []

    def ask(self, ident: str, offset: int) -> None:
        assert ident == "a"
        self.asked.append(offset)

    def answer(self, handover: Handover) -> None:
        offset = self.asked[-1]
        handover.take("a", offset, read_piece(self.path, offset), "")


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    path = tmp_path / "theirs.jsonl"
    path.write_bytes(os.urandom(SIZE))
    return Sender(path)


def test_a_history_arrives_piece_by_piece(tmp_path: Path, sender: Sender) -> None:
    ours = tmp_path / "history-submitters-0.jsonl"
    handover = Handover(sender.ask)

    handover.expect("a", ours, size=SIZE, host="there")
    for _ in range(3):
        assert not handover.ended
        assert not ours.exists()
        sender.answer(handover)

    assert handover.ended
    assert handover.give_up() == []
    assert sender.asked == [0, PIECE_BYTES, 2 * PIECE_BYTES]
    assert ours.read_bytes() == sender.path.read_bytes()


def test_a_history_that_is_there_is_not_asked_for(sender: Sender) -> None:
    handover = Handover(sender.ask)

    handover.expect("a", sender.path, size=SIZE, host="here")

    assert handover.ended
    assert sender.asked == []


def test_a_piece_that_never_comes_is_named_and_the_rest_is_removed(
    tmp_path: Path, sender: Sender
) -> None:
    ours = tmp_path / "history-submitters-0.jsonl"
    handover = Handover(sender.ask)
    handover.expect("a", ours, size=SIZE, host="there")

    sender.answer(handover)
    [lacking] = handover.give_up()

    assert lacking == (
        "history-submitters-0.jsonl of there did not arrive whole: 1,048,576 of 2,097,153 bytes "
        "(within 120 s)"
    )
    assert list(tmp_path.iterdir()) == [sender.path]


@pytest.mark.parametrize(
    ("piece", "problem", "reason"),
    [
        (b"no deflated data", "", "incorrect header check"),
        (zlib.compress(b""), "", "the file ends early"),
        (b"", "no such file", "no such file"),
    ],
)
def test_invalid_piece_ends_the_upload(
    tmp_path: Path, sender: Sender, piece: bytes, problem: str, reason: str
) -> None:
    handover = Handover(sender.ask)
    handover.expect("a", tmp_path / "history-submitters-0.jsonl", size=SIZE, host="there")

    sender.answer(handover)
    handover.take("a", PIECE_BYTES, piece, problem)

    assert handover.ended
    assert reason in handover.give_up()[0]


def test_a_piece_that_finds_no_room_is_a_reason(tmp_path: Path, sender: Sender) -> None:
    ours = tmp_path / "history-submitters-0.jsonl"
    ours.with_suffix(".part").symlink_to("/dev/full")
    handover = Handover(sender.ask)

    handover.expect("a", ours, size=SIZE, host="there")
    sender.answer(handover)

    assert handover.ended
    [reason] = handover.give_up()
    assert "No space left on device" in reason


def test_a_piece_out_of_turn_changes_nothing(tmp_path: Path, sender: Sender) -> None:
    ours = tmp_path / "history-submitters-0.jsonl"
    handover = Handover(sender.ask)
    handover.expect("a", ours, size=SIZE, host="there")

    sender.answer(handover)
    handover.take("a", 0, read_piece(sender.path, 0), "")
    handover.take("nobody", 0, read_piece(sender.path, 0), "")
    sender.answer(handover)
    sender.answer(handover)

    assert ours.read_bytes() == sender.path.read_bytes()


def test_a_history_from_another_machine_is_on_the_coordinators_clock(tmp_path: Path) -> None:
    here = Clock("this boot", 1_000_000)
    there = Clock("another boot", 1_000_300)
    path = tmp_path / "history.jsonl"

    shift = shift_ns(here, there)
    with HistoryWriter(path, process="x", clock_ns=lambda: 500, shift_ns=shift) as writer:
        writer.end(drained=True)

    header, end = read_history(path).records
    assert (header.time_ns, end.time_ns) == (200, 200)
    assert isinstance(end, End)
    assert writer.bytes_written == path.stat().st_size


def test_clocks_on_one_machine_need_no_shift() -> None:
    assert shift_ns(Clock("one boot", 5), Clock("one boot", 9)) == 0
    assert shift_ns(this_clock(), this_clock()) == 0
