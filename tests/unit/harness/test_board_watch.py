"""How long the end of a run is waited for, by what the board shows."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from harness.evidence.history_writer import BoardJournal
from harness.measure.series import Series
from harness.net.target import Page, Target
from harness.run import board_watch
from harness.run.board_watch import BoardWatch, shown_to
from harness.run.worker_state import Member


def looks_until_agreed(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    latest: Mapping[str, Collection[int]],
    answers: list[Page | OSError],
) -> tuple[str, int]:
    """Why the board could not be read, and how many of the answers were asked for."""
    left = list(answers)

    def answer(_: Target, *, limit: int) -> Page:
        del limit
        page = left.pop(0)
        if isinstance(page, OSError):
            raise page
        return page

    monkeypatch.setattr(board_watch, "get_scores", answer)
    journal = BoardJournal(folder)
    watch = BoardWatch(Target(base_url="http://127.0.0.1:9"), journal)
    unread = watch.until_board_agrees(latest, pause=lambda: bool(left))
    journal.close(drained=True, about={})
    return unread, len(answers) - len(left)


EMPTY = Page(seq=-1, rows=[])
ALICE, OLD = (Page(seq=-1, rows=[("Alice", score)]) for score in (7, 5))


@pytest.mark.parametrize(
    ("latest", "answers", "looks"),
    [
        ({}, [EMPTY, EMPTY], 1),
        ({}, [OSError("closed"), EMPTY], 2),
        ({"Alice": {7}}, [EMPTY, OLD, ALICE, ALICE], 3),
        ({"Alice": {7}}, [OLD, OLD], 2),
    ],
    ids=["nothing shown", "one answer lost", "a cached board", "never"],
)
def test_the_board_is_waited_for_as_long_as_it_lacks_what_listeners_saw(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    latest: dict[str, set[int]],
    answers: list[Page | OSError],
    looks: int,
) -> None:
    assert looks_until_agreed(monkeypatch, tmp_path, latest, answers) == ("", looks)


def test_a_board_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers: list[Page | OSError] = [OSError("closed")]

    assert looks_until_agreed(monkeypatch, tmp_path, {}, answers) == ("closed", 1)


def sights(events: int, behind: int, deliveries: int) -> tuple[bool, object]:
    status = {"events": events, "behind": behind}
    pool = Member(ident="one", kind="listeners", pid=1, host="h", status=status)
    series = Series()
    series.seconds[0].counters.update(ok=100, deliveries=deliveries)
    return shown_to([pool], series)


def test_board_sent_to_each_new_listener_does_not_keep_a_run_from_coming_to_rest() -> None:
    assert sights(100, 0, 800) == sights(100, 0, 900) == (True, ((100,), 0, 0))


def test_listener_that_still_catches_up_keeps_a_run_from_its_end() -> None:
    assert sights(100, 1, 800) != sights(100, 1, 900)
    assert not sights(99, 0, 800)[0]
