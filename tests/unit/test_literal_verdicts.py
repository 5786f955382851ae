"""When a run against a literal server gave the verdict that the server deserves."""

from typing import Any

import pytest

from benchmarks.peers.literal.__main__ import main
from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.verdicts import CONVICTED_BY, HONEST, document, judged, markdown

TOLD = [{"lie": "apply-twice", "user": "User00007", "increment": "61"}]
TWICE = (
    "User00007 (user 7) changed by +61 from 300 by event …: +61 (submission …) was applied again"
)


def result(*explanations: tuple[str, str], median: float | None = 900) -> dict[str, Any]:
    return {
        "figures": {"submit_deliver_first_p50": median},
        "findings": [
            {"invariant": name, "verdict": "false", "explanations": [text]}
            for name, text in explanations
        ],
    }


def test_every_lie_but_lateness_breaks_a_promise() -> None:
    assert LIES.keys() - CONVICTED_BY.keys() == {"late-events"}


def test_acquittal_of_an_honest_server_needs_exit_0_and_measured_times() -> None:
    assert judged("go", HONEST, 1, 0, result(), []).held
    assert not judged("go", HONEST, 1, 1, result(("I1 exactly once", TWICE)), []).held
    assert not judged("go", HONEST, 1, 3, result(), []).held
    assert not judged("go", HONEST, 1, 0, result(median=None), []).held


def test_late_events_are_seen_in_the_lag_alone() -> None:
    assert judged("go", "late-events", 1, 0, result(median=2_004_000), []).held
    assert not judged("go", "late-events", 1, 0, result(), []).held


@pytest.mark.parametrize(
    ("lie", "explanations", "held"),
    [
        ("apply-twice", [("I1 exactly once", TWICE)], True),
        ("apply-twice", [("I5 streams", TWICE)], False),
        ("apply-twice", [("I1 exactly once", "User00003 (user 3): +5 was never shown")], False),
        ("apply-twice", [], False),
        ("stale-board", [("I3 reads", "the board read at 3.2 s shows Alice with 1500")], True),
        ("torn-event", [("I5 streams", "listeners-0/listener-1: bytes that are no event")], True),
    ],
)
def test_conviction_names_the_right_promise_and_the_lie(
    lie: str, explanations: list[tuple[str, str]], held: bool
) -> None:
    code = 1 if explanations else 0

    assert judged("node", lie, 1, code, result(*explanations), TOLD).held is held


@pytest.mark.parametrize(
    ("submitted_by", "convicted", "held"),
    [
        ("User00007", "User00006", True),
        ("User00003", "Bob", True),
        ("Alice", "Bob", True),
        ("User00007", "User00008", False),
    ],
)
def test_an_invented_event_is_about_the_user_before(
    submitted_by: str, convicted: str, held: bool
) -> None:
    told = [{"lie": "invented-event", "user": submitted_by, "increment": "61"}]
    said = result(("I2 ledger", f"{convicted}: its submissions do not add up to 832"))

    assert judged("node", "invented-event", 1, 1, said, told).held is held


def test_table_counts_each_lie_by_language_and_lists_what_failed() -> None:
    trials = [
        judged("go", HONEST, 1, 0, result(), []),
        judged("go", "apply-twice", 1, 1, result(("I1 exactly once", TWICE)), TOLD),
        judged("go", "apply-twice", 2, 0, result(), TOLD),
    ]
    machine = {"cpus": 2, "cpu": "cpu", "commit": "abc", "changed": False}

    text = markdown(document(trials, machine, {"load": "60/s"}), "x.json")

    assert "| nothing | 1 of 1 |" in text
    assert f"| apply-twice | 1 of 2 | I1 exactly once: {TWICE} |" in text
    assert "- go, apply-twice, seed 2, exit code 0:" in text


def test_no_run_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--language", "python", "--seeds", "0", "--honest", "0"])

    assert code == 3
    assert "could not tell" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["--seeds=-1", "--honest=x", "--jobs=0", "--minutes=nan"])
def test_counts_that_nothing_can_be_run_with_are_wrong_use(wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([wrong])

    assert ended.value.code == 2
