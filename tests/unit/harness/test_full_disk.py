"""What a full disk costs: the rest of a history, and neither the run nor a traceback."""

import errno
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.history_writer import (
    BoardJournal,
    ListenerJournal,
    SubmissionJournal,
    closed_at_the_end,
    history_path,
)
from harness.net.target import Page
from harness.report.document import LoadResult
from harness.report.result_files import keep_result, read_result
from tests.unit.harness.documents import decoded, run_document

BOARD = Page(seq=3, rows=[("Alice", 5)])


def full(folder: Path, name: str) -> None:
    """Every byte written to the history of that name finds the disk full."""
    history_path(folder, name).symlink_to("/dev/full")


def now(journal: Any) -> None:
    """Every record is written when it is put, as after half a second."""
    journal._writer._flush_bytes = 0


def test_the_board_is_read_on_when_a_read_cannot_be_recorded(tmp_path: Path) -> None:
    full(tmp_path, "coordinator")
    journal = BoardJournal(tmp_path)
    now(journal)

    assert journal.read(lambda _: BOARD, 10) == BOARD
    assert journal.read(lambda _: BOARD, 10) == BOARD
    journal.close(drained=True)

    assert journal.problem == "the history could not be written: No space left on device"


def test_a_server_that_is_away_stays_an_error_on_a_full_disk(tmp_path: Path) -> None:
    full(tmp_path, "coordinator")
    journal = BoardJournal(tmp_path)
    now(journal)

    def away(limit: int) -> Page:
        raise ConnectionRefusedError(limit)

    with pytest.raises(ConnectionRefusedError):
        journal.read(away, 10)
    journal.close(drained=False)


def submissions(folder: Path) -> SubmissionJournal:
    return SubmissionJournal(folder, name="submitters-0", run_id="r")


def listeners(folder: Path) -> ListenerJournal:
    return ListenerJournal(folder, name="listeners-0")


@pytest.mark.parametrize("journal_in", [submissions, listeners])
def test_a_history_on_a_full_disk_is_closed_all_the_same(tmp_path: Path, journal_in: Any) -> None:
    full(tmp_path, "submitters-0")
    full(tmp_path, "listeners-0")
    journal = journal_in(tmp_path)

    with pytest.raises(OSError, match="No space left"):
        journal.close(drained=True)

    assert journal._writer._file.closed


def test_a_result_without_room_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no folder").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = decoded(LoadResult, run_document())

    path = keep_result(result, tmp_path / "no folder" / "r.json")

    assert path == tmp_path / "r.json"
    assert read_result(path) == result


def test_what_ended_an_engine_is_told_not_that_its_end_found_no_room() -> None:
    closed: list[bool] = []

    def close() -> None:
        closed.append(True)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyError), closed_at_the_end(close):
        raise KeyError("the engine")

    assert closed == [True]
    with pytest.raises(OSError, match="No space"), closed_at_the_end(close):
        pass
