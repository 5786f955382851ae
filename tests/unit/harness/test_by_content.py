"""The judge of a server that shows only what the specification has, on simulated runs."""

import random
from collections.abc import Callable
from unicodedata import normalize

import pytest

from harness.checker import Finding, Promises, Verdict, check, overall, promises_of
from harness.checker.by_content.boards import may_be_namesake
from harness.checker.by_content.sightings import Shown
from harness.checker.evidence import BoardRead
from tests.unit.harness.plain_run import Plan, S, Simulation
from tests.unit.harness.random_plans import random_plan

LIES = {
    "lose-accepted": ("I1", "was never shown"),
    "apply-twice": ("I1", "was applied again"),
    "wrong-user": ("I1", "was never shown"),
    "wrong-amount": ("I2", "which nobody sent: sent was"),
    "lost-update": ("I2", "it was taken back"),
    "refused-but-applied": ("I1", "was applied anyway"),
    "never-shown": ("I1", "was applied and never shown"),
    "shown-twice": ("I5", "was shown twice"),
    "shown-for-another": ("I1", "was applied and never shown"),
    "shown-wrong-score": ("I2", "shows a score that its submissions do not add up to"),
    "invented-event": ("I2", "shows a score that its submissions do not add up to"),
    "reordered": ("I2", "though no loss was sent"),
    "torn-event": ("I5", "bytes that are no event of the contract"),
    "one-listener-misses": ("I5", "listeners-0/listener-0 was connected"),
    "one-listener-twice": ("I5", "to 1 of 5 listeners"),
    "silent-listener": ("I5", "listeners-0/listener-0 has been silent since"),
    "stale-board": ("I3", "at rest, shows"),
    "board-wrong-score": ("I3", "which no event showed"),
    "board-wrong-order": ("I3", "below"),
    "board-leaves-out": ("I3", "leaves out User00001"),
}
"""The invariant that convicts each lie, and words of the sentence."""
SETTLED = range(12)


def told(findings: list[Finding]) -> str:
    return "\n".join(
        f"{found.invariant} {found.verdict}: {' | '.join(found.explanations)}"
        for found in findings
        if found.verdict is not Verdict.TRUE
    )


def verdict_of(plan: Plan) -> tuple[Verdict, str]:
    findings = Simulation(plan).findings()
    return overall(findings), told(findings)


def any_base(rng: random.Random) -> int:
    return rng.randrange(2000)


def small_base(rng: random.Random) -> int:
    return rng.randrange(120)


@pytest.mark.parametrize("amounts", [(1,), (1, 5, 10), (1, 2, 3, 1000), (-5, 5, 10)], ids=str)
@pytest.mark.parametrize("roster", [False, True], ids=["names unknown", "names known"])
@pytest.mark.parametrize("seed", range(3))
def test_increments_that_name_no_submission_convict_nobody(
    amounts: tuple[int, ...], roster: bool, seed: int
) -> None:
    plan = Plan(
        seed=seed, amounts=amounts, roster=roster, bases=any_base, unknown=0.05, refused=0.05
    )

    verdict, said = verdict_of(plan)

    assert verdict is Verdict.TRUE, said


@pytest.mark.parametrize("seed", SETTLED)
def test_server_that_stalls_for_less_than_it_took_before_may_only_be_late(seed: int) -> None:
    quick, slow = (
        verdict_of(Plan(seed=seed, stalled_from=150, slower_ms=slower_ms)) for slower_ms in (0, 200)
    )

    assert quick[0] is Verdict.FALSE
    assert "was never shown" in quick[1]
    assert slow[0] is Verdict.UNKNOWN
    assert "others were shown up to 2" in slow[1] or "others were shown up to 3" in slow[1]
    assert "and the run waited 20.0 s after the last event" in slow[1]


def test_lateness_convicts_only_where_a_time_was_asked_for() -> None:
    run = Simulation(Plan(slower_ms=400))
    evidence = run.evidence()

    for limit_s, verdict in ((None, Verdict.UNKNOWN), (70, Verdict.FALSE), (100, Verdict.TRUE)):
        asked = Promises() if limit_s is None else Promises(visible_within_s=limit_s)
        findings = check(evidence, promises_of(evidence, asked))
        [finding] = [f for f in findings if f.invariant.startswith("I10")]
        assert finding.verdict is verdict
        assert overall(findings) is verdict, told(findings)


def test_honest_run_is_acquitted_and_says_what_was_compared() -> None:
    findings = {found.invariant: found for found in Simulation(Plan()).findings()}

    assert overall(findings.values()) is Verdict.TRUE
    assert findings["I1 exactly once"].looked_at.startswith(
        "200 of 200 acknowledged submissions were shown by an event of their own"
    )
    assert findings["I5 streams"].counts["events"] == 200
    assert findings["I6 no regress"].verdict is Verdict.NOT_ASKED


@pytest.mark.parametrize("lie", LIES)
def test_lie_is_convicted_by_name(lie: str) -> None:
    invariant, words = LIES[lie]
    simulation = Simulation(Plan(lie=lie))

    findings = {found.invariant.split()[0]: found for found in simulation.findings()}

    assert findings[invariant].verdict is Verdict.FALSE
    sentences = "\n".join(findings[invariant].explanations)
    assert words in sentences


@pytest.mark.parametrize("lie", [lie for lie in LIES if not lie.startswith(("board", "stale"))])
def test_conviction_names_the_submission_lied_about(lie: str) -> None:
    simulation = Simulation(Plan(lie=lie))

    sentences = told(simulation.findings())

    ((name, increment),) = simulation.lied_about
    if lie in ("torn-event", "silent-listener", "lost-update", "invented-event"):
        assert name in sentences or "listener-0" in sentences
    else:
        assert name in sentences or "User00012" in sentences
        assert f"{increment:+d}" in sentences or "twice" in sentences or "fell" in sentences


@pytest.mark.parametrize("seed", SETTLED)
@pytest.mark.parametrize("lie", LIES)
def test_lie_is_convicted_whatever_the_run(lie: str, seed: int) -> None:
    plan = Plan(seed=seed, lie=lie, lie_at=40 + 3 * seed, processes=1 + seed % 2, listeners=4)

    verdict, sentences = verdict_of(plan)

    assert verdict is Verdict.FALSE, sentences


HONEST: dict[str, Callable[[int], Plan]] = {
    "plain": lambda seed: Plan(seed=seed),
    "scores before the run are unknown": lambda seed: Plan(seed=seed, users=60, bases=any_base),
    "several processes listen": lambda seed: Plan(seed=seed, processes=3, shuffled=True),
    "refusals and lost answers": lambda seed: Plan(
        seed=seed, refused=0.3, unknown=0.1, bases=any_base
    ),
    "a slow listener": lambda seed: Plan(seed=seed, slow_listener_ms=2500, processes=2),
    "reconnects beside a steady listener": lambda seed: Plan(seed=seed, listeners=12, reconnects=9),
    "losses are sent": lambda seed: Plan(seed=seed, losses=0.3, bases=any_base, users=8),
    "one submission a user": lambda seed: Plan(
        seed=seed, users=300, submissions=150, bases=any_base, unknown=0.05
    ),
    "two users are called alike": lambda seed: Plan(seed=seed, same_names=2, roster=True),
    "a namesake never submits": lambda seed: Plan(
        seed=seed, same_names=2, silent=(100,), bases=small_base
    ),
    "a namesake on top never submits": lambda seed: Plan(seed=seed, same_names=2, silent=(1500,)),
    "a namesake never submits, and names are known": lambda seed: Plan(
        seed=seed, same_names=2, silent=(100,), bases=small_base, roster=True
    ),
    "two namesakes never submit": lambda seed: Plan(
        seed=seed, same_names=3, silent=(100, 40), bases=small_base
    ),
    "two namesakes on top never submit": lambda seed: Plan(
        seed=seed, same_names=3, silent=(1500, 1400)
    ),
    "of two namesakes that never submit one is on top": lambda seed: Plan(
        seed=seed, same_names=3, silent=(30, 1500), bases=small_base
    ),
    "two namesakes never submit, and names are known": lambda seed: Plan(
        seed=seed, same_names=3, silent=(100, 40), bases=small_base, roster=True
    ),
    "two namesakes on top never submit, and names are known": lambda seed: Plan(
        seed=seed, same_names=3, silent=(1500, 1400), roster=True
    ),
    "nobody of two called alike submits": lambda seed: Plan(
        seed=seed, same_names=2, silent=(1500, 90), bases=small_base
    ),
    "a user is renamed": lambda seed: Plan(seed=seed, renamed="Anna", bases=small_base),
    "a user of the roster is renamed": lambda seed: Plan(seed=seed, renamed="Anna", roster=True),
    "names differ by case": lambda seed: Plan(
        seed=seed, spelled=lambda user: ("ann", "Ann")[user % 2] + str(user // 2)
    ),
    "names differ by Unicode's normal form": lambda seed: Plan(
        seed=seed,
        spelled=lambda user: normalize(("NFC", "NFD")[user % 2], f"Zoë{user // 2}"),
        roster=True,
    ),
    "names differ by a space at the end": lambda seed: Plan(
        seed=seed, spelled=lambda user: f"Ann{user // 2}" + " " * (user % 2), roster=True
    ),
    "names are the ids of others": lambda seed: Plan(
        seed=seed, spelled=lambda user: str(21 - user), bases=small_base
    ),
    "all are called alike": lambda seed: Plan(seed=seed, users=6, same_names=6),
}
MAY_BE_UNKNOWN = (
    "two users are called alike",
    "reconnects beside a steady listener",
    "a namesake never submits",
    "two namesakes never submit",
    "all are called alike",
)


@pytest.mark.parametrize("seed", SETTLED)
@pytest.mark.parametrize("kind", HONEST)
def test_honest_server_is_never_convicted(kind: str, seed: int) -> None:
    verdict, sentences = verdict_of(HONEST[kind](seed))

    assert verdict is not Verdict.FALSE, sentences
    if kind not in MAY_BE_UNKNOWN:
        assert verdict is Verdict.TRUE, sentences


@pytest.mark.parametrize(
    "seed",
    [*range(30), 32, 37, 75, 113, 140, 179, 192, 198, 200, 230, 292, 299, 323, 339, 366, 384],
)
def test_whatever_happens_in_a_run_an_honest_server_is_never_convicted(seed: int) -> None:
    verdict, sentences = verdict_of(random_plan(seed))

    assert verdict is not Verdict.FALSE, sentences


def test_namesake_that_comes_onto_the_board_convicts_nobody_where_losses_are_sent() -> None:
    """Others fall, so that a user who never submits comes to stand there, without an event."""
    read = BoardRead("c", 30 * S, 31 * S, 10, 0, -1, [(f"U{n}", 100 - n) for n in range(10)])
    early, low = Shown("Ann", 40, 1, 3 * S, "l"), Shown("Ann", 90, 1, 20 * S, "l")
    late = Shown("Ann", 140, 1, 29 * S, "l")

    assert may_be_namesake(read, [early, low], None, full=10)
    assert may_be_namesake(read, [late], 91, full=10)
    assert not may_be_namesake(read, [late], 92, full=10)
    assert not may_be_namesake(read, [low, late], None, full=11)
    assert not may_be_namesake(read, [Shown("Ann", 140, 1, 9 * S, "l")], None, full=10)


def test_slow_listener_that_comes_back_owes_no_event_that_its_process_was_told_late() -> None:
    plan = Plan(
        seed=5395,
        users=3,
        every_ms=40,
        listeners=3,
        processes=2,
        unknown=0.05,
        reconnects=6,
        slow_listener_ms=2500,
        losses=0.2,
    )

    verdict, sentences = verdict_of(plan)

    assert verdict is not Verdict.FALSE, sentences


def test_name_of_nobody_may_be_that_of_a_user_without_one() -> None:
    plan = Plan(
        seed=2631,
        users=60,
        submissions=30,
        every_ms=40,
        processes=2,
        unknown=0.05,
        losses=0.2,
        same_names=3,
        silent=(0,),
        bases=small_base,
    )

    verdict, sentences = verdict_of(plan)

    assert verdict is Verdict.UNKNOWN, sentences
    assert "users may be called alike, or were renamed: user" in sentences


def test_users_of_one_name_that_no_board_shows_twice_leave_the_verdict_open() -> None:
    """An event that was shown for another user would look alike."""
    verdict, sentences = verdict_of(
        Plan(seed=1, users=30, submissions=90, same_names=2, bases=any_base)
    )

    assert verdict is Verdict.UNKNOWN, sentences
    assert "users 1, 2 may all be called Alice: if they are not, an event was shown" in sentences


def test_namesake_driven_off_the_board_convicts_nobody_where_losses_are_sent() -> None:
    plan = Plan(
        seed=896471,
        submissions=60,
        same_names=3,
        silent=(210, 55),
        bases=small_base,
        losses=0.2,
    )

    verdict, sentences = verdict_of(plan)

    assert verdict is Verdict.UNKNOWN, sentences
    assert "what the first gain of Alice was cannot be told" in sentences


def test_unknown_outcomes_are_told_as_an_interval_where_nobody_listened() -> None:
    findings = Simulation(Plan(seed=3, unknown=0.2, listeners=1, reconnects=4)).findings()

    assert "between" in findings[0].looked_at
    assert "without an answer were applied" in findings[0].looked_at
    assert overall(findings) is not Verdict.FALSE


def test_other_writers_leave_the_verdict_open() -> None:
    verdict, sentences = verdict_of(Plan(foreign=6))

    assert verdict is Verdict.UNKNOWN
    assert "others wrote too: events showed 3 names that this run sent nothing for" in sentences


def test_roster_of_other_names_convicts_nobody() -> None:
    simulation = Simulation(Plan())
    evidence = simulation.evidence()
    evidence.names.update({user: f"Player {user}" for user in simulation.names})

    findings = check(evidence, promises_of(evidence))

    assert overall(findings) is Verdict.TRUE, told(findings)
