"""A server that lies in a known way: the harness must report exactly that, and nothing else."""

import pytest

from harness.checker import Verdict
from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.sessions.trial import Trial, run_trial

RATE, SECONDS, LISTENERS = "300", 1.5, 20
SUBMISSIONS = 450
CLEAN = {"gaps": 0, "missing": 0, "duplicates": 0, "reorders": 0, "conflicts": 0, "broken": 0}


def trial(faults: Faults, *, listeners: int = LISTENERS, seconds: float = SECONDS) -> Trial:
    with null_server(faults, players=100) as (url, _):
        return run_trial(url, rate=RATE, seconds=seconds, listeners=listeners)


def wrongs(found: Trial) -> dict[str, int]:
    return {name: getattr(found.account, name) for name in CLEAN if getattr(found.account, name)}


def test_an_honest_server_is_acquitted_to_the_last_event() -> None:
    found = trial(Faults())

    assert found.series.total("ok") == found.series.total("intended") == SUBMISSIONS
    assert found.series.total("deliveries") == SUBMISSIONS * LISTENERS
    assert found.series.merged("lag").total == SUBMISSIONS * LISTENERS
    assert found.series.merged("reach_last").total == SUBMISSIONS
    assert found.board.verdict is Verdict.TRUE
    assert found.listeners.verdict is Verdict.TRUE
    assert wrongs(found) == {}


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(lose_events=frozenset({50, 51, 120}), victim=3), {"gaps": 2, "missing": 3}),
        (Faults(duplicate_events=frozenset({60, 200}), victim=3), {"duplicates": 2}),
        (Faults(garble_events=frozenset({70}), victim=3), {"conflicts": 1}),
    ],
)
def test_events_spoiled_for_one_listener_are_attributed_to_it(
    faults: Faults, expected: dict[str, int]
) -> None:
    found = trial(faults)

    assert wrongs(found) == expected
    assert found.listeners.verdict is Verdict.FALSE
    if "conflicts" not in expected:
        # Listeners connect in order, so the server's victim is the first listener's.
        assert set(found.account.faulty) == {3}


def test_an_event_that_comes_late_is_a_reorder_and_not_a_loss() -> None:
    # Swapping needs two events in one write: of these ten seqs some are followed by another.
    found = trial(Faults(swap_events=frozenset(range(100, 110)), victim=0))

    assert found.account.reorders == found.account.gaps > 0
    assert found.account.missing == 0
    assert found.account.duplicates == 0


@pytest.mark.parametrize(
    ("faults", "changes"),
    [
        (Faults(lose_submissions=frozenset({10, 20, 30})), SUBMISSIONS - 3),
        (Faults(double_submissions=frozenset({10, 20})), SUBMISSIONS + 2),
    ],
)
def test_submissions_lost_or_counted_twice_convict_the_server(faults: Faults, changes: int) -> None:
    found = trial(faults, listeners=0)

    assert found.series.total("ok") == SUBMISSIONS
    assert found.board.counts["changes"] == changes
    assert found.board.violations == 2
    assert found.board.verdict is Verdict.FALSE


def test_a_lost_answer_is_unknown_and_convicts_nobody() -> None:
    found = trial(Faults(lose_answers=frozenset({10, 20})), listeners=0)

    assert found.series.total("unknown") == 2
    assert found.series.total("cause_reset") == 2
    assert found.series.total("ok") == SUBMISSIONS - 2
    assert found.board.verdict is Verdict.TRUE


def test_a_5xx_is_unknown_too() -> None:
    found = trial(Faults(refuse_submissions=frozenset({10})), listeners=0)

    assert found.series.total("status_503") == found.series.total("unknown") == 1
    assert found.board.verdict is Verdict.TRUE


def test_listeners_that_are_cut_off_resume_without_gap() -> None:
    found = trial(Faults(cut_at_s=0.5), seconds=4.0)

    assert sum(found.account.disconnects.values()) == LISTENERS
    assert found.series.total("connects") == 2 * LISTENERS
    assert wrongs(found) == {}
    assert found.listeners.verdict is Verdict.TRUE


def test_slow_listener_raises_the_last_delivery_not_the_median() -> None:
    found = trial(Faults(slow_listener_s=0.4, victim=5))

    assert found.listeners.verdict is Verdict.TRUE
    assert found.series.merged("reach_last").value_at(0.5) > 400_000
    assert found.series.merged("reach_median").value_at(0.5) < 300_000
    slow = found.series.merged("lag").share_above(400_000)
    assert slow == pytest.approx(1 / LISTENERS, rel=0.2)


def test_a_stall_shows_in_the_p99_from_the_intended_send() -> None:
    found = trial(Faults(stall_at_s=1.0, stall_s=1.0), listeners=0, seconds=4.0)
    response = found.series.merged("response")

    assert response.total == 1200
    # A second of 300 arrivals waits from 1 s down to nothing: a quarter of all.
    assert response.value_at(0.99) > 900_000
    assert response.share_above(500_000) == pytest.approx(150 / 1200, abs=0.03)
    assert found.series.merged("late").value_at(0.5) < 20_000
