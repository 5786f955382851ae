"""The checker on what listeners were sent: one thing is spoilt at a time, and I5 must notice."""

import msgspec
import pytest

from harness.checker import Verdict, check, gather
from harness.evidence.history import Event, HistoryFile, ServerLimits
from tests.unit.harness.story import Story, assert_convicts, finish, good_story


def test_a_violation_the_reader_wrote_down_convicts() -> None:
    story = good_story()
    story.listen("l2", "violation", detail="changes 2 to 2 were never delivered; 3 came next")
    finish(story)

    assert_convicts(story.finding("I5"), "p/l2", "changes 2 to 2")


def test_event_score_differing_from_the_ledger_is_a_violation() -> None:
    story = good_story()
    story.commit("sid-z", 2, 1)
    story.put(Event, seq=4, user="Bob", score=1395)
    finish(story)

    assert_convicts(story.finding("I5"), "change 4 was sent as Bob 1395", "Bob 1394")


def test_a_change_the_ledger_does_not_have_is_a_violation() -> None:
    story = good_story()
    story.put(Event, seq=4, user="Bob", score=1395)
    finish(story)

    assert_convicts(story.finding("I5"), "change 4", "no such row")


def test_different_changes_under_one_seq_are_a_violation() -> None:
    story = finish(good_story())
    other = Story()
    other.records = other.records[:1]
    other.put(Event, seq=2, user="Alice", score=1)
    other.end()

    evidence = gather(
        [
            HistoryFile(name="one", records=story.records),
            HistoryFile(name="two", records=other.records),
        ],
        story.database(),
    )

    [finding] = [f for f in check(evidence) if f.invariant.startswith("I5")]
    assert_convicts(finding, "change 2 reached one process as Bob 1393, another as Alice 1")


def test_a_listener_that_stayed_but_stands_behind_is_a_violation() -> None:
    story = good_story()
    story.listened("l2", last=2)
    finish(story)

    assert_convicts(story.finding("I5"), "l2 stayed to the end and stands at 2")


def test_a_range_of_changes_nobody_recorded_is_a_violation() -> None:
    story = good_story()
    story.listened("l2", first=-1)
    finish(story)

    assert_convicts(story.finding("I5"), "nobody recorded change -1")


@pytest.mark.parametrize("database", [True, False])
def test_a_reset_with_a_wrong_board_is_a_violation(database: bool) -> None:
    story = good_story()
    story.listen("l2", "reset", seq=2, scores=[("Alice", 1500), ("Bob", 1393)])
    finish(story)

    assert_convicts(story.finding("I5", database=database), "reset at 2 shows Alice with 1500")


def reset_story(*, missed: int, fault: tuple[float, float, float] | None = None) -> Story:
    """A listener leaves at 3 in the second 5, misses some changes and is reset in the second 9.

    `fault`: seconds of its injection, heal and recovery.
    """
    story = good_story()
    story.listen("l2", "open", at_ms=1_000)
    story.listen("l2", "range", first=1, last=3, at_ms=5_000)
    story.listen("l2", "close", last=3, detail="left to come back", at_ms=5_000)
    for number in range(missed):
        story.accepted(f"missed-{number}", 2, 10 + number)
    if fault is not None:
        inject_s, heal_s, recovered_s = fault
        story.fault(1, inject_s * 1e3, heal_s * 1e3, recovered_at_ms=recovered_s * 1e3)
    story.listen("l2", "open", last_event_id=3, at_ms=9_000)
    scores = [("Alice", story.scores[1]), ("Bob", story.scores[2])]
    story.listen("l2", "reset", seq=story.seq, scores=scores, at_ms=9_001)
    story.listen("l2", "close", last=story.seq, detail="end of run")
    return finish(story)


@pytest.mark.parametrize("database", [True, False])
@pytest.mark.parametrize("missed", [0, 3])
def test_reset_within_retention_is_a_violation(database: bool, missed: int) -> None:
    story = reset_story(missed=missed)

    assert_convicts(
        story.finding("I5", database=database), f"l2 had 3 and was reset to {3 + missed}"
    )


def test_reset_beyond_retention_is_right() -> None:
    assert reset_story(missed=4).finding("I5").verdict is Verdict.TRUE


@pytest.mark.parametrize("fault", [(4, 4.5, 5.5), (6, 7, 8), (8, 9.5, 10)])
def test_reset_of_a_listener_away_during_a_fault_is_not_judged(
    fault: tuple[float, float, float],
) -> None:
    assert reset_story(missed=1, fault=fault).finding("I5").verdict is Verdict.TRUE


def test_fault_before_the_listener_left_does_not_excuse_a_reset() -> None:
    assert_convicts(reset_story(missed=1, fault=(2, 3, 4)).finding("I5"), "was reset to 4")


def test_a_listener_that_stayed_must_not_be_reset_either() -> None:
    story = good_story()
    story.listen("l2", "open")
    story.listen("l2", "range", first=1, last=3)
    story.listen("l2", "reset", seq=3, scores=[("Alice", 1530), ("Bob", 1393)])
    finish(story)

    assert_convicts(story.finding("I5"), "l2 had 3 and was reset to 3")


def test_resets_pass_when_the_servers_retention_is_unknown() -> None:
    story = reset_story(missed=1)
    story.records = [
        msgspec.structs.replace(r, history_changes=None) if isinstance(r, ServerLimits) else r
        for r in story.records
    ]

    assert story.finding("I5").verdict is Verdict.TRUE


def test_a_run_without_listeners_proves_nothing_about_streams() -> None:
    story = good_story()
    story.end()

    assert story.finding("I5").verdict is Verdict.UNKNOWN
