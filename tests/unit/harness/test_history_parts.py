"""A long history is written in parts and read, judged and sent as one."""

import zlib
from pathlib import Path

import pytest

from harness.evidence.history import HistoryWriter, Read, read_history
from harness.evidence.history_parts import history_paths, parts_of, read_at, size_of
from harness.evidence.history_upload import PIECE_BYTES, Handover, read_piece

PART = 2000
RECORDS = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """300 reads in parts of about 2,000 bytes."""
    with HistoryWriter(
        tmp_path / "history-a.jsonl", process="a", flush_bytes=500, part_bytes=PART
    ) as writer:
        for _ in range(RECORDS):
            writer.read(client="a")
        writer.end(drained=True)
        assert writer.bytes_written == size_of(writer.path)
    return writer.path


def test_parts_are_bounded_and_read_as_one_history(path: Path) -> None:
    sizes = [part.stat().st_size for part in parts_of(path)]

    assert len(sizes) >= 10
    assert all(PART <= size < PART + 1000 for size in sizes[:-1])
    assert all(part.read_bytes().endswith(b"\n") for part in parts_of(path))
    history = read_history(path)
    assert [record.index for record in history.records] == [*range(RECORDS + 2)]
    assert sum(isinstance(record, Read) for record in history.records) == RECORDS
    assert (history.torn_lines, history.damaged_lines) == (0, 0)
    assert list(history_paths(path.parent)) == [path]


def test_part_that_is_gone_or_torn_is_damage(path: Path) -> None:
    _, second, third, *_, last = parts_of(path)
    last.write_bytes(last.read_bytes()[:-5])
    assert (read_history(path).torn_lines, read_history(path).damaged_lines) == (1, 0)
    third.write_bytes(third.read_bytes()[:-5])
    assert read_history(path).damaged_lines == 1
    second.unlink()
    assert read_history(path).damaged_lines == 2


def test_history_that_is_written_anew_has_no_part_of_the_last_one(path: Path) -> None:
    HistoryWriter(path, process="b").close()

    assert parts_of(path) == [path]


def test_parts_from_another_machine_arrive_as_one_file(path: Path, tmp_path: Path) -> None:
    whole = b"".join(part.read_bytes() for part in parts_of(path))
    pieces = [read_at(path, offset, 700) for offset in range(0, len(whole), 700)]
    assert all(pieces)
    assert read_at(path, PART + 400, PIECE_BYTES).startswith(whole[PART + 400 : PART + 500])
    assert read_at(path, len(whole), 10) == b""
    handover = Handover(lambda *_: None)
    ours = tmp_path / "ours" / "history-a.jsonl"
    ours.parent.mkdir()
    handover.expect("a", ours, size=len(whole), host="there")

    offset = 0
    while offset < len(whole):
        piece = read_piece(path, offset)
        handover.take("a", offset, piece, "")
        offset += len(zlib.decompress(piece))

    assert handover.ended
    assert ours.read_bytes() == whole
    handover.expect("b", path, size=len(whole), host="here")
    assert handover.ended
