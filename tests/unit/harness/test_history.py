"""The history file: what is written before and after an operation can be read back."""

from pathlib import Path

import pytest

from harness.evidence.history import (
    Done,
    End,
    Header,
    HistoryWriter,
    Outcome,
    Submit,
    outcome_of_error,
    outcome_of_status,
    parse_history,
    read_history,
)


def write_one_operation(path: Path) -> None:
    with HistoryWriter(path, process="test") as writer:
        op = writer.submit(
            client="c1", principal="1", user=1, increment=-5, digest="d", key="k", sid="s"
        )
        writer.done(op, Outcome.UNKNOWN)
        writer.end(drained=True)


def test_an_operation_is_read_back_as_written(tmp_path: Path) -> None:
    write_one_operation(tmp_path / "history.jsonl")

    history = read_history(tmp_path / "history.jsonl")

    header, submit, done, end = history.records
    assert isinstance(header, Header)
    assert isinstance(submit, Submit)
    assert isinstance(done, Done)
    assert isinstance(end, End)
    assert (submit.key, submit.increment, submit.attempt) == ("k", -5, 1)
    assert (done.of, done.outcome) == (submit.index, Outcome.UNKNOWN)
    assert end.drained
    assert [record.index for record in history.records] == [0, 1, 2, 3]


def test_the_invocation_is_on_disk_before_the_completion_once_flushed(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl", process="test")
    writer.submit(client="c1", principal="1", user=1, increment=5, digest="d")

    writer.flush()

    assert isinstance(read_history(tmp_path / "history.jsonl").records[-1], Submit)
    writer.close()


def test_records_are_written_once_the_oldest_is_due(tmp_path: Path) -> None:
    now_ns = 0
    writer = HistoryWriter(
        tmp_path / "history.jsonl", process="test", clock_ns=lambda: now_ns, flush_after_ns=1000
    )
    now_ns = 999
    writer.read(client="c1")
    assert (tmp_path / "history.jsonl").stat().st_size == 0

    now_ns = 1000
    writer.read(client="c1")

    assert len(read_history(tmp_path / "history.jsonl").records) == 3
    writer.close()


def test_a_torn_last_line_is_dropped_and_counted(tmp_path: Path) -> None:
    write_one_operation(tmp_path / "history.jsonl")
    content = (tmp_path / "history.jsonl").read_bytes()

    history = parse_history(content[:-5])

    assert history.torn_lines == 1
    assert history.damaged_lines == 0
    assert isinstance(history.records[-1], Done)


def test_a_last_line_without_its_newline_is_torn_even_when_it_parses(tmp_path: Path) -> None:
    write_one_operation(tmp_path / "history.jsonl")
    content = (tmp_path / "history.jsonl").read_bytes()

    assert parse_history(content[:-1]).torn_lines == 1


def test_damage_in_the_middle_is_counted_apart_from_a_torn_tail(tmp_path: Path) -> None:
    write_one_operation(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_bytes().split(b"\n")
    lines[1] = lines[1][:10]

    history = parse_history(b"\n".join(lines))

    assert (history.damaged_lines, history.torn_lines) == (1, 0)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (202, Outcome.OK),
        (401, Outcome.FAIL),
        (422, Outcome.FAIL),
        (429, Outcome.FAIL),
        (500, Outcome.UNKNOWN),
        (503, Outcome.UNKNOWN),
        (302, Outcome.UNKNOWN),
    ],
)
def test_a_status_proves_an_effect_no_effect_or_nothing(status: int, outcome: Outcome) -> None:
    assert outcome_of_status(status) is outcome


def test_only_a_refused_connection_proves_that_nothing_was_sent() -> None:
    assert outcome_of_error(ConnectionRefusedError()) is Outcome.FAIL
    assert outcome_of_error(ConnectionResetError()) is Outcome.UNKNOWN
    assert outcome_of_error(TimeoutError()) is Outcome.UNKNOWN
