"""The moment a server falls over is named, and a server that was never well has none."""

import pytest

from harness.judge.collapse import collapses_of
from harness.report.document import Second


def seconds(*accepted: int, **others: int) -> list[Second]:
    return [
        Second(
            t=t,
            counters={
                "intended": 100,
                "ok": ok,
                "unknown": 100 - ok,
                **(others if ok < 50 else {}),
            },
        )
        for t, ok in enumerate(accepted)
    ]


def test_moment_has_its_second_the_offered_load_and_the_answers() -> None:
    [fault] = collapses_of(seconds(100, 100, 4, 0, 0, status_503=90, cause_reset=6))

    assert (fault.start, fault.end) == (2, 5)
    assert fault.name == (
        "the server fell over at 100/s offered, 4 accepted (90 HTTP 503; 6 connection closed or "
        "reset before the answer)"
    )


def test_a_second_of_which_half_was_accepted_does_not_hide_the_fall() -> None:
    [fault] = collapses_of(seconds(100, 100, 55, 0, 0))

    assert (fault.start, fault.end) == (3, 5)


def test_recovery_ends_the_span_and_a_second_fall_has_one_of_its_own() -> None:
    faults = collapses_of(seconds(100, 10, 100, 100, 0, 0))

    assert [(fault.start, fault.end) for fault in faults] == [(1, 2), (4, 6)]


@pytest.mark.parametrize("accepted", [(0, 0, 0), (100, 95, 100), (70, 60, 55)])
def test_server_that_was_never_well_or_stays_up_has_no_such_moment(accepted: tuple[int]) -> None:
    assert collapses_of(seconds(*accepted)) == []


@pytest.mark.parametrize("last", [{"ok": 0}, {"ok": 40}, {"ok": 40, "unknown": 3}])
def test_submissions_without_an_outcome_are_not_held_against_the_server(
    last: dict[str, int],
) -> None:
    lost = Second(t=3, counters={"intended": 100, **last})

    assert collapses_of([*seconds(100, 100, 100), lost]) == []
