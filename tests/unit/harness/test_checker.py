"""The checker on short histories: the good one is acquitted, each bad one is convicted of one sin.

Every test spoils the good story in one way and asks the one invariant that must notice.
"""

import time
from dataclasses import replace

import pytest

from harness.chaos.schedule import plan
from harness.checker import Promises, Verdict, check, gather, overall
from harness.checker.vacuity import Demands
from harness.evidence.database_snapshot import Row
from harness.evidence.history import HistoryFile
from tests.unit.harness.story import Story, assert_convicts, finish, good_story


def run_into_the_limit(story: Story) -> None:
    """Three admissions fill the window of one second; the fourth is refused."""
    for number in range(3):
        story.accepted(f"full-{number}", 2, 100 + number)
    story.fail(story.submit("over", 2, 200), 429, "rate_limited")


@pytest.mark.parametrize("database", [True, False])
def test_a_good_run_is_acquitted_with_and_without_the_database(database: bool) -> None:
    story = good_story()
    story.now_ns += 2_000_000_000
    run_into_the_limit(story)
    finish(story)

    findings = check(story.evidence(database=database))

    assert {f.invariant: f.explanations for f in findings if f.verdict is not Verdict.TRUE} == {}
    assert overall(findings) is Verdict.TRUE


# I1


def test_a_submission_with_two_rows_is_a_duplicate() -> None:
    story = good_story()
    story.commit("sid-a", 1, 10)
    story.show()
    finish(story)

    assert_convicts(story.finding("I1"), "a (user 1, +10", "2 ledger rows", "seq 1, 4")


def test_an_increment_seen_twice_on_the_streams_is_a_duplicate() -> None:
    story = good_story()
    story.commit("sid-a", 1, 10)
    story.show()
    finish(story)

    assert_convicts(
        story.finding("I1", database=False), "Alice changed by +10 2 times", "(seq 1, 4)"
    )


def test_an_accepted_submission_without_a_row_is_lost() -> None:
    story = good_story()
    story.ok(story.submit("gone", 1, 40))
    finish(story)

    assert_convicts(story.finding("I1"), "gone", "is lost", "no row")
    assert_convicts(story.finding("I1", database=False), "gone", "is lost")


def test_a_loss_is_only_a_doubt_when_the_run_had_not_settled() -> None:
    story = good_story()
    story.ok(story.submit("pending", 1, 40))
    story.end(drained=False)

    assert story.finding("I1").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("database", [True, False])
def test_an_unknown_submission_may_have_taken_effect_once(database: bool) -> None:
    story = good_story()
    story.unknown(story.submit("u", 1, 40))
    story.commit("sid-u", 1, 40)
    story.show()
    story.unknown(story.submit("v", 1, 50))
    finish(story)

    assert story.finding("I1", database=database).verdict is Verdict.TRUE


@pytest.mark.parametrize("database", [True, False])
def test_a_refused_submission_that_took_effect_is_a_violation(database: bool) -> None:
    story = good_story()
    story.commit("sid-d", 1, 30)
    story.show()
    finish(story)

    assert story.finding("I1", database=database).verdict is Verdict.FALSE


def test_ledger_row_without_a_submission_is_a_violation() -> None:
    story = good_story()
    story.commit("sid-from-nowhere", 2, 5)
    story.show()
    finish(story)

    assert_convicts(story.finding("I1"), "sid-from-nowhere", "no submission that was sent")


def test_a_row_from_before_the_run_is_not_held_against_it() -> None:
    story = finish(good_story())
    old = Row(
        sid="old", principal="2", user=2, increment=5, outcome="unknown_user", seq=None,
        score_after=None, committed_us=1,
    )  # fmt: skip

    assert story.finding("I1", rows=[*story.rows, old]).verdict is Verdict.TRUE


def test_keyless_unknown_submission_explains_one_row_not_two() -> None:
    story = good_story()
    story.unknown(story.submit(None, 2, 5))
    story.commit("server-chose-1", 2, 5)
    story.show()
    finish(story)
    assert story.finding("I1").verdict is Verdict.TRUE

    story.commit("server-chose-2", 2, 5)

    assert_convicts(story.finding("I1"), "server-chose-2")


def test_a_row_with_another_body_is_a_violation() -> None:
    story = finish(good_story())
    rows = [replace(story.rows[0], increment=11), *story.rows[1:]]

    assert_convicts(story.finding("I1", rows=rows), "a (user 1, +10", "+11")


@pytest.mark.parametrize("increment", [-1600, 2_000_000])
def test_a_rejection_by_the_rules_is_no_loss(increment: int) -> None:
    story = good_story()
    story.ok(story.submit("low", 1, increment))
    rejected = Row(
        sid="sid-low", principal="1", user=1, increment=increment, outcome="score_out_of_range",
        seq=None, score_after=None, committed_us=2_000_000,
    )  # fmt: skip
    finish(story)

    assert story.finding("I1", rows=[*story.rows, rejected]).verdict is Verdict.TRUE
    assert story.finding("I1", database=False).verdict is Verdict.TRUE


def test_a_rejection_that_no_rule_allows_is_a_violation() -> None:
    story = good_story()
    story.ok(story.submit("fine", 1, 40))
    rejected = Row(
        sid="sid-fine", principal="1", user=1, increment=40, outcome="unknown_user",
        seq=None, score_after=None, committed_us=2_000_000,
    )  # fmt: skip
    finish(story)

    assert_convicts(story.finding("I1", rows=[*story.rows, rejected]), "fine", "no rule allowed")


# I2


def test_a_number_left_out_is_a_gap() -> None:
    story = good_story()
    story.seq += 1
    story.accepted("after-gap", 1, 40)
    finish(story)

    assert_convicts(story.finding("I2"), "no change has seq 4")
    assert_convicts(story.finding("I2", database=False), "no change has seq 4")


def test_two_changes_with_one_seq_are_a_violation() -> None:
    story = good_story()
    story.seq -= 1
    story.accepted("same-seq", 2, 40)
    finish(story)

    assert_convicts(story.finding("I2"), "two changes have seq 3")


def test_a_total_that_is_not_the_sum_is_a_violation() -> None:
    story = finish(good_story())
    rows = [*story.rows[:2], replace(story.rows[2], score_after=1531)]

    assert_convicts(story.finding("I2", rows=rows), "seq 3", "1531", "1510 +20 is 1530")


def test_a_users_row_at_odds_with_the_ledger_is_a_violation() -> None:
    story = finish(good_story())
    story.scores[2] += 7

    assert_convicts(story.finding("I2"), "Bob has 1400 in users, the ledger says 1393")


def test_a_score_that_changed_without_any_row_is_a_violation() -> None:
    story = Story()
    story.accepted("a", 1, 10)
    finish(story)
    story.scores[2] = 1

    assert_convicts(story.finding("I2"), "Bob has 1 in users")


def test_a_board_that_counts_more_than_the_ledger_has_is_a_violation() -> None:
    story = finish(good_story())

    assert_convicts(story.finding("I2", board_seq=4), "counts 4 changes", "last is 3")


def test_a_row_with_a_number_but_rejected_is_a_violation() -> None:
    story = finish(good_story())
    rows = [replace(story.rows[0], outcome="unknown_user"), *story.rows[1:]]

    assert_convicts(story.finding("I2", rows=rows), "has seq 1 though its outcome")


# I3


@pytest.mark.parametrize("database", [True, False])
def test_a_read_that_mixes_two_states_is_a_violation(database: bool) -> None:
    story = good_story()
    story.read(2, [("Alice", 1530), ("Bob", 1393)])
    finish(story)

    assert_convicts(
        story.finding("I3", database=database), "shows Alice with 1530, at 2 it had 1510"
    )


def test_a_read_that_leaves_out_the_second_best_is_a_violation() -> None:
    story = good_story()
    story.read(3, [("Alice", 1530)])
    finish(story)

    assert_convicts(story.finding("I3"), "shows scores [1530]", "was [1530, 1393]")


def test_a_read_of_changes_that_do_not_exist_is_a_violation() -> None:
    story = good_story()
    story.read(9, [("Alice", 1530), ("Bob", 1393)])
    finish(story)

    assert_convicts(story.finding("I3"), "claims changes up to 9")


def test_a_read_from_the_future_is_a_violation() -> None:
    story = good_story()
    story.read(4, [("Alice", 1570), ("Bob", 1393)])
    story.accepted("later", 1, 40)
    finish(story)

    assert_convicts(story.finding("I3"), "shows change 4", "before it was sent")


def test_a_last_read_that_lacks_changes_is_a_violation() -> None:
    story = good_story()
    story.read(2, [("Alice", 1510), ("Bob", 1393)])
    story.listened("l1")
    story.end()

    assert_convicts(story.finding("I3"), "shows 2 of 3 changes")


# I4


def test_redis_with_a_score_of_another_moment_is_a_violation() -> None:
    story = good_story()
    story.sample_redis(cursor=3, scores={"1": 1510, "2": 1393})
    finish(story)

    assert_convicts(story.finding("I4"), "user 1 with 1510", "says 1530")


def test_redis_that_lacks_a_user_is_a_violation() -> None:
    story = good_story()
    story.sample_redis(scores={"1": 1530})
    finish(story)

    assert_convicts(story.finding("I4"), "user 2 with None")


def test_redis_with_a_user_that_mysql_lacks_is_a_violation() -> None:
    story = good_story()
    story.sample_redis(scores={"1": 1530, "2": 1393, "3": 1})
    finish(story)

    assert_convicts(story.finding("I4"), "users that MySQL lacks: ['3']")


def test_a_cursor_that_falls_within_an_epoch_is_a_violation() -> None:
    story = good_story()
    story.sample_redis()
    story.sample_redis(cursor=2, scores={"1": 1510, "2": 1393})
    finish(story)

    assert_convicts(story.finding("I4"), "fell from 3 to 2")


def test_a_cursor_may_start_lower_in_a_new_epoch() -> None:
    story = good_story()
    story.sample_redis()
    story.sample_redis(epoch="2", cursor=2, scores={"1": 1510, "2": 1393})
    story.read_now()
    story.sample_redis(epoch="2")
    story.end()

    assert story.finding("I4").verdict is Verdict.TRUE


def test_redis_behind_the_ledger_after_the_drain_is_a_violation() -> None:
    story = good_story()
    story.sample_redis(cursor=2, scores={"1": 1510, "2": 1393})
    story.end()

    assert_convicts(story.finding("I4"), "Redis stands at 2, the ledger at 3")


def test_an_emptied_redis_is_no_board_and_no_violation() -> None:
    story = good_story()
    story.sample_redis(epoch="", cursor=0, scores={}, stream_last=None)
    finish(story)

    assert story.finding("I4").verdict is Verdict.TRUE


# I6


def test_a_client_that_reads_an_older_board_later_is_taken_back() -> None:
    story = good_story()
    story.read(3, [("Alice", 1530), ("Bob", 1393)])
    story.read(2, [("Alice", 1510), ("Bob", 1393)])
    finish(story)

    assert_convicts(story.finding("I6"), "r1 read the board at 3", "later at 2")


def test_another_client_may_read_an_older_board() -> None:
    story = good_story()
    story.read(3, [("Alice", 1530), ("Bob", 1393)], client="r1")
    story.read(2, [("Alice", 1510), ("Bob", 1393)], client="r2")
    finish(story)

    assert story.finding("I6").verdict is Verdict.TRUE


def test_a_reset_to_an_older_board_takes_a_listener_back() -> None:
    story = good_story()
    story.listen("l2", "range", first=1, last=3)
    story.listen("l2", "reset", seq=2, scores=[("Alice", 1510), ("Bob", 1393)])
    finish(story)

    assert_convicts(story.finding("I6"), "had 3 and was set back to 2")


# I7


@pytest.mark.parametrize("database", [True, False])
def test_an_attack_that_was_accepted_is_a_violation(database: bool) -> None:
    story = good_story()
    story.ok(story.submit("y", 2, 998, principal="1", attack="wrong-user"))
    finish(story)

    assert_convicts(story.finding("I7", database=database), "attack wrong-user", "was accepted")


@pytest.mark.parametrize("database", [True, False])
def test_an_attack_that_was_refused_but_took_effect_is_a_violation(database: bool) -> None:
    story = good_story()
    story.commit("sid-x", 2, 999, principal="1")
    story.show()
    finish(story)

    assert_convicts(story.finding("I7", database=database), "attack wrong-user")


def test_an_attack_under_an_id_nobody_knows_is_recognised_by_its_body() -> None:
    story = good_story()
    story.commit("some-other-sid", 2, 999, principal="1")
    finish(story)

    assert_convicts(story.finding("I7"), "some-other-sid", "same user and increment")


def test_the_honest_row_under_a_reused_key_is_no_attack() -> None:
    story = good_story()
    story.fail(story.submit("a", 1, 997, attack="reused-key"), 422, "idempotency_key_reused")
    finish(story)

    assert story.finding("I7").verdict is Verdict.TRUE
    assert story.finding("I1").verdict is Verdict.TRUE


# I8


def test_two_ids_for_one_key_is_a_violation() -> None:
    story = good_story()
    story.ok(story.submit("a", 1, 10, attempt=2), sid="sid-other")
    finish(story)

    assert_convicts(story.finding("I8"), "different ids", "sid-a", "sid-other")


def test_an_id_the_key_does_not_give_is_a_violation() -> None:
    story = good_story()
    story.ok(story.submit("e", 1, 60), sid="sid-other")
    finish(story)

    assert_convicts(story.finding("I8"), "sid-other", "its key makes it sid-e")


def test_a_repeat_refused_as_another_body_is_a_violation() -> None:
    story = good_story()
    story.fail(story.submit("a", 1, 10, attempt=2), 422, "idempotency_key_reused")
    finish(story)

    assert_convicts(story.finding("I8"), "attempt 2 had the same key and body")


# I9


def test_more_admissions_than_the_limit_within_a_window_is_a_violation() -> None:
    story = good_story()
    for number in range(4):
        story.accepted(f"m{number}", 2, 100 + number)
    finish(story)

    assert_convicts(story.finding("I9"), "user 2: 4 submissions admitted within 950 ms", "limit 3")


def test_admissions_that_may_lie_a_window_apart_are_not_judged() -> None:
    story = good_story()
    slow = story.submit("slow", 2, 99, at_ms=3000)
    for number in range(3):
        of = story.submit(f"m{number}", 2, 100 + number, at_ms=3900 + number)
        story.ok(of)
    story.ok(slow, at_ms=4000)
    finish(story)

    assert not story.finding("I9").violations


def test_a_refusal_below_the_limit_is_a_violation() -> None:
    story = good_story()
    story.now_ns += 2_000_000_000
    story.accepted("one", 2, 100)
    story.fail(story.submit("early", 2, 200), 429, "rate_limited")
    finish(story)

    assert_convicts(story.finding("I9"), "early", "at most 1 others could count")


def test_a_retry_charged_again_shows_as_a_refusal_below_the_limit() -> None:
    story = good_story()
    story.now_ns += 2_000_000_000
    for attempt in (1, 2, 3):
        story.unknown(story.submit("again", 2, 100, attempt=attempt))
    story.fail(story.submit("early", 2, 200), 429, "rate_limited")
    finish(story)

    assert_convicts(story.finding("I9"), "early")


def test_a_repeat_of_an_accepted_submission_must_not_be_refused() -> None:
    story = good_story()
    story.now_ns += 2_000_000_000
    for number in range(3):
        story.accepted(f"full-{number}", 2, 100 + number)
    story.fail(story.submit("full-0", 2, 100, attempt=2), 429, "rate_limited")
    finish(story)

    assert_convicts(story.finding("I9"), "after it had been accepted")


def flushed_story(*, per_side: int) -> Story:
    story = good_story()
    story.now_ns += 2_000_000_000
    for number in range(per_side):
        story.ok(story.submit(f"m{number}", 2, 100 + number))
    story.fault(1, story.now_ns / 1e6 + 1, story.now_ns / 1e6 + 2, kind="flushall")
    for number in range(per_side, 2 * per_side):
        story.ok(story.submit(f"m{number}", 2, 100 + number))
    return finish(story)


def test_limiter_reset_allows_the_limit_once_more() -> None:
    assert not flushed_story(per_side=3).finding("I9").violations


def test_limiter_reset_does_not_excuse_excess_on_one_side() -> None:
    assert_convicts(flushed_story(per_side=4).finding("I9"), "limit 3")


def test_a_refusal_with_a_full_window_is_right() -> None:
    story = good_story()
    story.now_ns += 2_000_000_000
    run_into_the_limit(story)
    finish(story)

    assert story.finding("I9").verdict is Verdict.TRUE


# I10


def slow_story(*, seen_after_ms: float) -> Story:
    story = good_story()
    of = story.submit("slow", 1, 40, at_ms=100)
    story.ok(of, at_ms=101)
    story.commit("sid-slow", 1, 40)
    story.show(at_ms=101 + seen_after_ms)
    return story


@pytest.mark.parametrize("database", [True, False])
def test_a_change_seen_too_late_without_any_fault_is_a_violation(database: bool) -> None:
    story = finish(slow_story(seen_after_ms=20_000))

    assert_convicts(story.finding("I10", database=database), "slow", "20.0 s later")


def test_time_under_a_fault_does_not_count() -> None:
    story = slow_story(seen_after_ms=20_000)
    story.fault(1, 5_000, 18_000)
    story.now_ns = 21_000_000_000
    finish(story)

    assert story.finding("I10").verdict is Verdict.TRUE


def test_a_fault_long_healed_excuses_nothing() -> None:
    story = slow_story(seen_after_ms=40_000)
    story.fault(1, 5_000, 18_000)
    story.now_ns = 41_000_000_000
    finish(story)

    assert_convicts(story.finding("I10"), "slow")


def test_time_before_recovery_is_not_counted_against_a_change() -> None:
    story = slow_story(seen_after_ms=30_000)
    story.fault(1, 5_000, 6_000, recovered_at_ms=28_000)
    story.now_ns = 31_000_000_000
    finish(story)

    assert story.finding("I10").verdict is Verdict.TRUE


def often_broken_story(*, seen_after_s: int) -> Story:
    """Each 10 s have a fault of 6 s, and 4 s without."""
    story = slow_story(seen_after_ms=seen_after_s * 1000)
    for number in range(seen_after_s // 10):
        story.fault(number, number * 10_000 + 200, number * 10_000 + 6_200)
    story.now_ns = (seen_after_s + 1) * 1_000_000_000
    return finish(story)


@pytest.mark.parametrize("database", [True, False])
def test_change_stranded_for_minutes_is_a_violation_amid_faults(
    database: bool,
) -> None:
    story = often_broken_story(seen_after_s=180)

    assert_convicts(
        story.finding("I10", database=database), "slow", "180.0 s later", "72.0 s", "4.0 s"
    )


def test_change_delayed_by_successive_faults_is_in_time() -> None:
    assert often_broken_story(seen_after_s=140).finding("I10").verdict is Verdict.TRUE


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planned_chaos_run_has_room_for_a_change_to_be_too_late(seed: int) -> None:
    story = slow_story(seen_after_ms=799_000)
    for fault in plan(seed, short=False):
        heal_ms = (fault.at_s + fault.hold_s) * 1000
        story.fault(fault.number, fault.at_s * 1000, heal_ms, recovered_at_ms=heal_ms + 1_500)
    finish(story)

    assert_convicts(story.finding("I10"), "slow", "799.0 s later")


def test_a_change_no_listener_ever_saw_is_a_violation() -> None:
    story = good_story()
    story.ok(story.submit("unseen", 1, 40))
    story.commit("sid-unseen", 1, 40)
    finish(story)

    assert_convicts(story.finding("I10"), "unseen", "never seen")


def test_reset_board_counts_as_seeing_the_changes_it_skips() -> None:
    story = good_story()
    story.ok(story.submit("skipped"))
    story.commit("sid-skipped")
    story.listen("l9", "reset", seq=story.seq, scores=[("Alice", story.scores[1])])
    finish(story)

    assert story.finding("I10").verdict is Verdict.TRUE


def test_a_board_from_before_a_change_does_not_show_it() -> None:
    story = good_story()
    story.ok(story.submit("unseen"))
    story.commit("sid-unseen")
    story.listen("l9", "reset", seq=story.seq - 1, scores=[("Alice", story.scores[1] - 10)])
    finish(story)

    assert_convicts(story.finding("I10"), "unseen", "never seen")


def test_a_submission_that_waits_for_a_person_is_neither_lost_nor_late() -> None:
    story = good_story()
    story.ok(story.submit("suspicious", 1, 40))
    held = Row(
        sid="sid-suspicious", principal="1", user=1, increment=40, outcome="held",
        seq=None, score_after=None, committed_us=2_000_000,
    )  # fmt: skip
    finish(story)

    assert story.finding("I1", rows=[*story.rows, held]).verdict is Verdict.TRUE
    assert story.finding("I10", rows=[*story.rows, held]).verdict is Verdict.TRUE


def test_a_fault_the_system_never_recovered_from_is_a_violation() -> None:
    story = good_story()
    story.fault(1, 5, 6, recovered=False)
    finish(story)

    assert_convicts(story.finding("I10"), "after fault 1 (kill -9 on redis) was healed")


# Non-vacuity


def test_a_fault_that_never_took_hold_leaves_the_run_unknown() -> None:
    story = good_story()
    story.fault(1, 1, 50, fired=None)
    finish(story)

    finding = story.finding("non-vacuity", database=False)

    assert finding.verdict is Verdict.UNKNOWN
    assert "never took hold" in finding.explanations[0]


def test_a_fault_that_met_nothing_in_flight_leaves_the_run_unknown() -> None:
    story = good_story()
    story.fault(1, 5_000, 6_000)
    finish(story)

    finding = story.finding("non-vacuity", database=False)

    assert "met no operation in flight" in finding.explanations[0]


def test_run_below_its_demands_is_unknown_naming_the_shortfall() -> None:
    evidence = finish(good_story()).evidence()

    demands = Demands(accepted_min=100, faults_min=1, healthy_min_s=60)
    findings = check(evidence, Promises(demands=demands))

    assert overall(findings) is Verdict.UNKNOWN
    assert findings[-1].explanations == (
        "3 accepted submissions, 100 demanded",
        "0 faults that fired, 1 demanded",
        "0 seconds without a fault, 60 demanded",
    )


def test_a_history_without_its_end_is_never_acquitted() -> None:
    story = finish(good_story())
    story.records.pop()

    assert all(f.verdict is Verdict.UNKNOWN for f in check(story.evidence()))


def test_a_damaged_history_is_never_acquitted() -> None:
    story = finish(good_story())
    file = HistoryFile(name="story", records=story.records, damaged_lines=1)

    assert overall(check(gather([file], story.database()))) is Verdict.UNKNOWN


def test_an_empty_history_is_unknown() -> None:
    assert overall(check(gather([]))) is Verdict.UNKNOWN


def test_a_violation_convicts_even_in_a_history_without_its_end() -> None:
    story = good_story()
    story.commit("sid-a", 1, 10)

    assert overall(check(story.evidence())) is Verdict.FALSE


def test_a_long_history_is_judged_in_seconds() -> None:
    story = Story()
    story.records.pop()  # Without a limit: these come faster than any.
    for number in range(50_000):
        story.accepted(f"k{number}", 1 + number % 2, 1 + number % 7)
    for listener in range(300):
        story.listened(f"many-{listener}")
    finish(story)
    evidence = story.evidence()
    began = time.process_time()

    findings = check(evidence)

    assert [f.invariant for f in findings if f.verdict is Verdict.FALSE] == []
    assert time.process_time() - began < 5
