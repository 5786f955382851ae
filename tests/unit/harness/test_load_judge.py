"""A load run is judged by the checker's invariants, by counts where nothing else is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.checker import Finding, Verdict, check, gather, promises_of
from harness.checker.saved_run import judge_saved_run
from harness.engines import submitter
from harness.engines.listener_stats import Stretch
from harness.evidence.history import Header, HistoryFile
from harness.evidence.history_writer import BoardJournal, ListenerJournal, SubmissionJournal
from tests.unit.harness.story import Story, assert_convicts

SENT: list[submitter.Sent] = [(1, 1, 5, 1_000), (2, 1, 7, 1_000), (3, 1, 9, 1_000)]


def black_box(
    folder: Path,
    *,
    outcomes: str = "ok ok ok",
    after: tuple[int, Mapping[str, int]] | None = (13, {"A": 121, "B": 50}),
    about: Mapping[str, Any] | None = None,
    submissions: bool = True,
    end: bool = True,
    statuses: tuple[int, int] = (202, 503),
) -> dict[str, Finding]:
    """Three submissions of 5, 7 and 9 points on a board at 10 with 150 points; no listeners.

    `statuses` are those of an acceptance and of anything else.
    """
    board = BoardJournal(folder)
    board.begin(10, {"A": 100, "B": 50}, {})
    board.close(drained=True, board=after, about={"listeners": 0, **(about or {})})
    if submissions:
        journal = SubmissionJournal(folder, name="submitters-0", run_id="r")
        done: list[submitter.Done] = [
            (number, outcome, statuses[outcome != "ok"], b"id-%d" % number, 2_000)
            for number, outcome in enumerate(outcomes.split(), start=1)
        ]
        journal.write(SENT[: len(done)], done)
        if end:
            journal.close(drained=True)
        else:
            journal._writer.close()
    return {f.invariant.split()[0]: f for f in judge_saved_run(folder).findings}


def test_history_needs_no_target_file_since_outcomes_count_and_not_statuses(
    tmp_path: Path,
) -> None:
    """A server that accepts with 303 and refuses with 200, as only its target file says."""
    more, less = tmp_path / "applied", tmp_path / "left out"
    outcomes, statuses = "ok fail ok", (303, 200)

    kept = black_box(more, outcomes=outcomes, statuses=statuses, after=(12, {"A": 114, "B": 50}))
    lost = black_box(less, outcomes=outcomes, statuses=statuses, after=(11, {"A": 105, "B": 50}))

    assert kept["I1"].verdict is Verdict.TRUE
    assert lost["I1"].verdict is Verdict.FALSE


def test_board_with_all_acknowledged_points_passes(tmp_path: Path) -> None:
    findings = black_box(tmp_path)

    assert set(findings) == {"I1", "I6", "non-vacuity"}
    assert findings["I1"].verdict is Verdict.TRUE
    assert findings["I1"].counts == {
        "acknowledged": 3,
        "unknown": 0,
        "changes": 3,
        "points_acknowledged": 21,
        "points_gained": 21,
    }


@pytest.mark.parametrize(
    ("seq", "score", "verdict"),
    [
        (12, 112, Verdict.TRUE),
        (13, 121, Verdict.TRUE),
        (12, 121, Verdict.TRUE),
        (11, 105, Verdict.FALSE),
        (14, 130, Verdict.FALSE),
        (13, 122, Verdict.FALSE),
    ],
)
def test_lost_answer_may_have_been_applied_or_not(
    tmp_path: Path, seq: int, score: int, verdict: Verdict
) -> None:
    findings = black_box(tmp_path, outcomes="ok ok unknown", after=(seq, {"A": score, "B": 50}))

    assert findings["I1"].verdict is verdict


def test_loss_is_reported_in_changes_and_points(tmp_path: Path) -> None:
    findings = black_box(tmp_path, after=(12, {"A": 112, "B": 50}))

    assert_convicts(findings["I1"], "2 changes for 3 acknowledged submissions")
    assert "gained 12 points, acknowledged were 21" in findings["I1"].explanations[1]


def test_board_that_was_never_at_rest_is_in_doubt(tmp_path: Path) -> None:
    assert black_box(tmp_path, after=None)["I1"].verdict is Verdict.UNKNOWN


def test_missing_history_does_not_count_against_the_server(tmp_path: Path) -> None:
    findings = black_box(tmp_path, about={"processes": ["submitters-0"]}, submissions=False)

    assert findings["I1"].verdict is Verdict.UNKNOWN
    assert "the history of submitters-0 is missing" in findings["I1"].explanations


def test_history_that_breaks_off_convicts_of_a_loss_only(tmp_path: Path) -> None:
    more, less = tmp_path / "more", tmp_path / "less"

    assert black_box(more, outcomes="ok ok", end=False)["I1"].verdict is Verdict.UNKNOWN
    lost = black_box(less, end=False, after=(10, {"A": 100, "B": 50}))
    assert lost["I1"].verdict is Verdict.UNKNOWN, "nothing tells that it had settled"


def test_listeners_alone_can_be_good(tmp_path: Path) -> None:
    board = BoardJournal(tmp_path)
    board.begin(10, {"A": 1}, {})
    board.close(drained=True, board=(10, {"A": 1}), about={"submissions": False, "listeners": 1})
    journal = ListenerJournal(tmp_path, name="listeners-0")
    journal.write([], [Stretch(0, "open"), Stretch(0, "close", last=10, detail="stopped")])
    journal.close(drained=True)

    found = judge_saved_run(tmp_path)

    assert "I1" not in {f.invariant.split()[0] for f in found.findings}
    assert found.findings[-1].verdict is Verdict.TRUE, found.findings[-1]


def load_story(**about: Any) -> Story:
    story = Story()
    first = story.records[0]
    assert isinstance(first, Header)
    story.records[0] = Header(
        index=0,
        time_ns=first.time_ns,
        version=1,
        process="p",
        unix_us=first.unix_us,
        about={"kind": "load", **about},
    )
    return story


def judged(story: Story, *, database: bool = True) -> dict[str, Finding]:
    evidence = gather(
        [HistoryFile(name="story", records=story.records)], story.database() if database else None
    )
    return {f.invariant.split()[0]: f for f in check(evidence, promises_of(evidence))}


def test_load_run_skips_invariants_that_need_chaos() -> None:
    story = load_story()
    story.accepted("a")
    story.read_now()
    story.listened("l1")
    story.end()

    findings = judged(story)

    assert set(findings) == {"I1", "I2", "I3", "I5", "I6", "I10", "non-vacuity"}
    assert {f.verdict for f in findings.values()} == {Verdict.TRUE}
    assert findings["I1"].counts["applied_once"] == 1
    assert findings["I5"].counts["listeners"] == findings["I5"].counts["to_the_end"] == 1


def test_rejection_after_acknowledgement_is_reported() -> None:
    story = load_story()
    for key in ("a", "b"):
        story.ok(story.submit(key, 1, 10))
        story.reject(f"sid-{key}", 1, 10, "unknown_user")
    story.end()

    finding = judged(story)["I1"]

    assert_convicts(finding, "2 accepted submissions were decided unknown_user")
    assert finding.counts["rejected"] == 2


def test_reset_is_held_against_the_server_of_a_load_run() -> None:
    story = load_story()
    story.accepted("a")
    story.listen("l1", "open", last_event_id=0)
    story.listen("l1", "reset", seq=1, scores=[("Alice", 1510), ("Bob", 1400)])
    story.listen("l1", "close", last=1, detail="end of run")
    story.end()

    finding = judged(story)["I5"]

    assert finding.verdict is Verdict.FALSE
    assert finding.explanations[-1] == "1 times a listener was sent past changes it never got"


def test_two_submissions_under_one_id_are_reported() -> None:
    story = load_story()
    story.accepted("a")
    story.ok(story.submit(None, 1, 10), "sid-a")
    story.end()

    assert_convicts(judged(story)["I1"], "was given the id sid-a of a")


def test_last_shown_score_must_be_the_final_board() -> None:
    story = load_story()
    story.accepted("a")
    story.listened("l1")
    story.final_board(Alice=1511)
    story.end()

    assert_convicts(judged(story, database=False)["I5"], "Alice was last shown with 1510")
