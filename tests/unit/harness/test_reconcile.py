"""The reconciliation convicts each kind of wrong, and only that."""

import pytest

from harness.checker.reconcile import (
    Attempt,
    against_board,
    against_ledger,
    of_listeners,
)
from harness.evidence.board_look import LedgerRow, Look


def attempt(number: int, outcome: str = "ok", increment: int = 5) -> Attempt:
    return Attempt(
        number=number,
        user=1,
        increment=increment,
        outcome=outcome,
        submission_id=bytes([number]) if outcome == "ok" else None,
    )


def row(number: int, seq: int, after: int, *, increment: int = 5) -> LedgerRow:
    return LedgerRow(
        submission_id=bytes([number]),
        user_id=1,
        increment=increment,
        outcome="applied",
        seq=seq,
        score_after=after,
    )


def look(seq: int, score: int) -> Look:
    return Look(seq=seq, scores={"A": score}, names={1: "A"}, from_mysql=True)


def test_a_clean_run_has_no_problem() -> None:
    findings = against_ledger(
        [attempt(1), attempt(2), attempt(3, "fail")],
        [row(1, 11, 105), row(2, 12, 110)],
        look(10, 100),
        look(12, 110),
    )

    assert findings.good
    assert findings.counts["applied_once"] == 2


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_may_have_been_applied_or_not(applied: bool) -> None:
    rows = [row(1, 11, 105)] + ([row(9, 12, 110)] if applied else [])

    findings = against_ledger(
        [attempt(1), attempt(2, "unknown")], rows, look(10, 100), look(12, 110 if applied else 105)
    )

    assert findings.good
    assert findings.counts["unknown_applied"] == int(applied)


@pytest.mark.parametrize(
    ("rows", "score", "kind"),
    [
        ([row(1, 11, 105)], 105, "lost"),
        ([row(1, 11, 105), row(2, 12, 110), row(9, 13, 115)], 115, "unexplained_rows"),
        ([row(1, 11, 105), row(2, 12, 111, increment=6)], 111, "wrong_content"),
        ([row(1, 11, 105), row(2, 13, 110)], 110, "sequence_holes"),
        ([row(1, 11, 105), row(2, 12, 110)], 115, "scores_off"),
    ],
)
def test_each_wrong_in_the_ledger_is_named(rows: list[LedgerRow], score: int, kind: str) -> None:
    findings = against_ledger([attempt(1), attempt(2)], rows, look(10, 100), look(13, score))

    assert not findings.good
    assert findings.counts[kind] == 1


def test_a_row_is_no_excuse_for_two_lost_answers() -> None:
    findings = against_ledger(
        [attempt(1, "unknown")], [row(8, 11, 105), row(9, 12, 110)], look(10, 100), look(12, 110)
    )

    assert findings.counts["unexplained_rows"] == 1


def test_a_rejection_after_the_acknowledgement_is_told_by_its_outcome() -> None:
    rejected = LedgerRow(
        submission_id=bytes([1]),
        user_id=1,
        increment=5,
        outcome="unknown_user",
        seq=None,
        score_after=None,
    )

    findings = against_ledger([attempt(1)], [rejected], look(10, 100), look(10, 100))

    assert findings.problems == ["1 acknowledged submissions were decided unknown_user"]


@pytest.mark.parametrize(
    ("seq", "score", "good"),
    [(12, 110, True), (13, 115, True), (11, 105, False), (14, 120, False), (12, 111, True)],
)
def test_from_outside_the_board_must_have_grown_by_what_was_acknowledged(
    seq: int, score: int, good: bool
) -> None:
    attempts = [attempt(1), attempt(2), attempt(3, "unknown")]

    findings = against_board(attempts, look(10, 100), look(seq, score))

    assert findings.good is good


def account(**wrong: int) -> dict[str, int]:
    return {"listeners": 3, "behind": 0, "missing": 0, **wrong}


@pytest.mark.parametrize(
    "kind", ["behind", "resets", "missing", "duplicates", "reorders", "broken", "conflicts"]
)
def test_each_wrong_of_a_listener_is_named(kind: str) -> None:
    findings = of_listeners([account(), account(**{kind: 2})], [], look(12, 110), 12)

    assert len(findings.problems) == 1
    assert findings.problems[0].startswith("2 ")


def test_what_listeners_saw_last_must_be_the_board() -> None:
    good = of_listeners([account()], [{"A": [12, 110]}], look(12, 110), 12)
    bad = of_listeners([account()], [{"A": [12, 111]}], look(12, 110), 12)
    split = of_listeners([account()], [{"A": [12, 110]}, {"A": [12, 111]}], look(12, 110), 12)

    assert good.good
    assert bad.counts["wrong_scores"] == 1
    assert split.counts["conflicts"] == 1
