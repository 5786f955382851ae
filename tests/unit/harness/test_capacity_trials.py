"""Why a trial of a search did not hold, and when a search has no hope."""

from typing import Any

import pytest

from harness.cli.capacity import _least
from harness.measure.settings import OPTIONS
from harness.report.document import LoadResult
from harness.sessions.capacity import CapacityTrial, convictions, same_cause, tells, why_not
from tests.unit.harness.documents import decoded
from tests.unit.harness.test_results_document import load_run


def result(counts: dict[str, int] | None = None, **verdict: Any) -> LoadResult:
    found = load_run()
    found["verdict"] = {**found["verdict"], "invalid": [], "incorrect": [], **verdict}
    found["totals"] = counts or {"intended": 10, "ok": 10}
    return decoded(LoadResult, found)


def limit(measured: float | None, *, passed: bool) -> dict[str, Any]:
    return {"limit": "p99<1s", "figure": "p99", "measured": measured, "passed": passed}


def test_what_was_not_measured_is_never_over_a_limit() -> None:
    why = why_not(result(limits=[limit(None, passed=False)]), 100)

    assert why.startswith("not measured: p99<1s")


def test_a_limit_that_is_exceeded_is_named() -> None:
    assert why_not(result(limits=[limit(2e6, passed=False)]), 100) == "over p99<1s"


def test_a_trial_without_any_acceptance_says_what_was_answered() -> None:
    counts = {"intended": 10, "ok": 0, "status_429": 9, "status_503": 1}
    why = why_not(result(counts, limits=[limit(1.0, passed=False)]), 100)

    assert why == "nothing was accepted: HTTP 429"


@pytest.mark.parametrize(
    ("whys", "stops"),
    [
        (["not valid: late by 80 ms"] * 3, True),
        (["not valid: late by 80 ms", "not valid: late by 91 ms", "not valid: lost"], True),
        (["not correct: I1 a"] * 2, False),
        (["not correct: I1 a", "", "not correct: I1 a"], False),
        (["over p99<1s"] * 5, False),
        (["nothing was accepted: HTTP 401"] * 3, True),
        (["not valid: x", "not correct: y", "not valid: x"], False),
        (["not correct: I1 a", "not measured: p99", "not correct: I5", "not correct: I1 b"], True),
    ],
)
def test_a_search_stops_for_a_cause_that_no_load_changes(whys: list[str], stops: bool) -> None:
    assert bool(same_cause([trial(512 >> n, why) for n, why in enumerate(whys)])) is stops


def trial(rate: int, why: str = "") -> CapacityTrial:
    return CapacityTrial(
        rate=rate,
        listeners=1,
        load=rate,
        phase="double",
        held=not why,
        why=why,
        document=result(),
    )


def test_convictions_count_up_to_the_load_that_was_found() -> None:
    trials = [trial(64), trial(32, "not correct: I1"), trial(128, "not correct: I5"), trial(16, "")]

    assert [t.rate for t in convictions(trials)] == [32, 128]
    assert [t.rate for t in convictions(trials, most=64)] == [32]


def test_only_a_cause_of_the_servers_own_is_a_verdict_on_it() -> None:
    assert tells("3 trials failed alike, not correct: I1")
    assert not tells("3 trials failed alike, not valid: late")


@pytest.mark.parametrize(
    ("slo", "least"),
    [("p99<1s", 100), ("p90<1s", 10), ("max<1s", 1), ("p99<1s,lag_p99<1s", 100), ("", 1)],
)
def test_the_least_rate_of_a_search_gives_every_figure_of_its_limits(slo: str, least: int) -> None:
    asked = {option.name: option.default for option in OPTIONS}
    options = {**asked, "slo": slo, "start": 500, "duration": 10, "warmup": 1}

    assert _least(options, "rate", 10) == least
    assert _least(options, "listeners", 10) == 1
