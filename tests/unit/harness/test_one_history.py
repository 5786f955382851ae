"""I11 on short histories: MySQL loses changes, the history ends, everybody is told; each planted
bug breaks one part of that and is convicted."""

import pytest

from harness.checker import Verdict
from harness.checker.histories.timeline import timeline
from harness.evidence.database_snapshot import Row
from harness.evidence.history import Event, Loss
from scoreboard.contract import HISTORY_STEP
from tests.unit.harness.story import NAMES, Story, assert_convicts, good_story

START = HISTORY_STEP


class Failover(Story):
    """Three changes, of which a fail-over loses the last; then another history."""

    def __init__(self) -> None:
        super().__init__()
        for key, user, increment in (("a", 1, 10), ("b", 2, -7)):
            self.accepted(key, user, increment)
        self.read_now()
        self.listen("l1", "open")
        self.accepted("lost", 1, 500)
        self.read_now()
        self.sample_redis()
        self.lost_rows = [self.rows.pop()]
        self.scores[1] -= 500
        self.put(
            Loss,
            store="mysql",
            kept_seq=2,
            rows=[
                (r.sid, r.user, r.seq or 0, r.score_after or 0, r.increment) for r in self.lost_rows
            ],
        )

    def told(self) -> None:
        """The listener with the lost change gets the board of the next history."""
        self.listen("l1", "range", first=1, last=3)
        self.listen("l1", "reset", seq=self.seq, scores=self.board())

    def board(self) -> list[tuple[str, int]]:
        rows = [(NAMES[user], score) for user, score in self.scores.items()]
        return sorted(rows, key=lambda row: -row[1])

    def next_history(self, *silent: str) -> None:
        """The numbers jump; `silent` was committed before anybody noticed."""
        self.seq = 2
        for key in silent:
            self.ok(self.submit(key, 2, 30))
            self.commit(f"sid-{key}", 2, 30)
        self.seq = START

    def replayed(self) -> None:
        self.commit("sid-lost", 1, 500)
        self.show()

    def end_of_run(self) -> "Failover":
        self.listen("l1", "range", first=START + 1, last=self.seq)
        self.listen("l1", "close", last=self.seq, detail="end of run")
        self.read_now()
        self.sample_redis(epoch="2")
        self.end()
        return self


def good_failover(*silent: str) -> Failover:
    story = Failover()
    story.next_history(*silent)
    story.told()
    story.read_now()
    story.accepted("after", 2, 5)
    story.replayed()
    return story


def test_a_failover_whose_loss_everybody_was_told_of_is_acquitted() -> None:
    story = good_failover("s").end_of_run()

    for invariant in ("I1", "I2", "I3", "I4", "I5", "I6", "I10", "I11"):
        finding = story.finding(invariant)
        assert finding.verdict is Verdict.TRUE, finding
    assert "MySQL lost 1 changes, 1 are back" in story.finding("I11").looked_at


def test_a_run_without_a_loss_is_not_asked_for_its_histories() -> None:
    story = good_story()

    with pytest.raises(StopIteration):
        story.finding("I11")


def test_a_loss_that_no_replay_brought_back_is_named() -> None:
    story = Failover()
    story.next_history()
    story.told()
    story.accepted("after", 2, 5)
    story.end_of_run()

    assert_convicts(story.finding("I11"), "sid-lost", "no replay brought it back")
    assert_convicts(story.finding("I1"), "lost (user 1, +500", "is lost")


def test_a_replayed_submission_that_counts_twice_is_a_duplicate() -> None:
    story = good_failover()
    story.replayed()
    story.end_of_run()

    assert_convicts(story.finding("I1"), "lost (user 1, +500", "2 ledger rows")


def test_a_listener_that_keeps_a_lost_change_is_convicted() -> None:
    story = Failover()
    story.next_history()
    story.listen("l1", "range", first=1, last=3)
    story.accepted("after", 2, 5)
    story.replayed()
    story.end_of_run()

    assert_convicts(story.finding("I11"), "l1 had 3", "without a reset")


def test_a_reset_board_that_still_has_the_lost_change_is_convicted() -> None:
    story = Failover()
    story.next_history()
    story.scores[1] += 500
    story.told()
    story.scores[1] -= 500
    story.accepted("after", 2, 5)
    story.replayed()
    story.end_of_run()

    assert_convicts(story.finding("I5"), "l1", f"reset at {START}", "Alice")


def test_a_number_that_goes_on_in_another_history_is_convicted() -> None:
    """Nobody noticed: the next change has the number of the one that is gone (`splice.sql`)."""
    story = Failover()
    story.seq = 2
    story.ok(story.submit("other", 2, 30))
    story.commit("sid-other", 2, 30)
    story.replayed()
    story.listen("l1", "range", first=1, last=4)
    story.listen("l1", "close", last=4, detail="end of run")
    story.end()

    assert_convicts(story.finding("I11"), "change 3", "its number went on")
    assert_convicts(story.finding("I5"), "change 3 was sent as Alice 2010, the ledger has Bob")


def test_a_change_shown_under_the_number_of_a_lost_one_is_convicted() -> None:
    story = Failover()
    story.next_history("s")
    silent = story.rows[-1]
    story.told()
    story.put(Event, seq=3, user=NAMES[silent.user], score=silent.score_after)
    story.replayed()
    story.end_of_run()

    assert_convicts(story.finding("I5"), "change 3 reached one process as Alice 2010")


def test_a_read_that_goes_back_to_the_lost_board_is_convicted() -> None:
    story = good_failover()
    story.read(3, [("Alice", 2010), ("Bob", 1393)], client="r2")
    story.end_of_run()

    assert_convicts(story.finding("I11"), "r2 read the board at 3, which is gone")


def test_redis_that_keeps_the_lost_change_in_the_next_history_is_convicted() -> None:
    story = good_failover()
    story.sample_redis(epoch="2", scores={"1": 2510, "2": 1398})
    story.end_of_run()

    assert_convicts(story.finding("I4"), "user 1 with 2510")


def test_what_temporal_lost_is_named_and_excused() -> None:
    story = good_failover()
    story.ok(story.submit("forgotten", 2, 40))
    story.put(Loss, store="temporal", sids=["sid-forgotten"])
    story.end_of_run()

    assert story.finding("I1").verdict is Verdict.TRUE
    assert story.finding("I10").verdict is Verdict.TRUE
    finding = story.finding("I11")
    assert finding.verdict is Verdict.TRUE
    assert "Temporal lost 1 accepted submissions: forgotten" in finding.looked_at


def test_what_nobody_lost_by_name_is_lost() -> None:
    story = good_failover()
    story.ok(story.submit("vanished", 2, 40))
    story.put(Loss, store="temporal", sids=["sid-forgotten"])
    story.end_of_run()

    assert_convicts(story.finding("I1"), "vanished", "is lost")


def test_a_loss_that_nobody_could_see_ends_no_history() -> None:
    """A primary that waits for its replica: what died with it was never shown."""
    rows = [
        Row(
            sid=f"s{n}",
            principal="1",
            user=1,
            increment=1,
            outcome="applied",
            seq=n,
            score_after=n,
            committed_us=n,
        )
        for n in (1, 2, 3)
    ]
    loss = Loss(index=0, time_ns=0, store="mysql", kept_seq=2, rows=[("gone", 1, 3, 9, 7)])

    changes, ended = timeline(rows, [loss], names={1: "A"}, base={"A": 0}, board_seq=3)

    assert [(change.seq, change.score) for change in changes] == [(1, 1), (2, 2), (3, 3)]
    assert ended == []


def test_two_losses_end_two_histories() -> None:
    def row(seq: int, score: int) -> Row:
        return Row(
            sid=f"s{seq}",
            principal="1",
            user=1,
            increment=1,
            outcome="applied",
            seq=seq,
            score_after=score,
            committed_us=seq,
        )

    rows = [row(1, 1), row(START + 1, 2), row(2 * START + 1, 3)]
    losses = [
        Loss(index=0, time_ns=0, store="mysql", kept_seq=1, rows=[("x", 1, 2, 2, 1)]),
        Loss(
            index=1, time_ns=0, store="mysql", kept_seq=START + 1, rows=[("y", 1, START + 2, 3, 1)]
        ),
    ]

    changes, ended = timeline(rows, losses, names={1: "A"}, base={"A": 0}, board_seq=2 * START + 1)

    assert [(c.seq, c.score, c.turn) for c in changes] == [
        (1, 1, False),
        (2, 2, False),
        (START, 1, True),
        (START + 1, 2, False),
        (START + 2, 3, False),
        (2 * START, 2, True),
        (2 * START + 1, 3, False),
    ]
    assert [history.start for history in ended] == [START, 2 * START]


def test_a_snapshot_of_the_database_may_end_where_a_history_begins() -> None:
    story = Failover()
    story.next_history()
    story.told()
    story.listen("l1", "close", last=START, detail="end of run")
    story.put(Loss, store="temporal", sids=["sid-lost"])
    story.end()

    assert story.finding("I2").verdict is Verdict.TRUE


@pytest.mark.parametrize("kind", ["Redis promotion that loses writes", "flushall"])
def test_a_reused_key_is_accepted_only_where_a_promoted_redis_never_heard_of_it(kind: str) -> None:
    """The ledger knows the key for ever, and Redis knows whether it was emptied."""
    story = good_story()
    story.fault(1, 100, 200, kind=kind)
    story.now_ns = 300_000_000
    story.ok(story.submit("a", 1, 999, attack="reused-key"))
    story.end()

    finding = story.finding("I7")

    assert (finding.verdict is Verdict.TRUE) is (kind != "flushall"), finding


def test_a_reused_key_that_had_an_effect_is_a_violation_after_any_fault() -> None:
    story = good_story()
    story.fault(1, 100, 200, kind="Redis promotion that loses writes")
    story.now_ns = 300_000_000
    story.ok(story.submit("a", 1, 999, attack="reused-key"))
    story.commit("sid-a", 1, 999)
    story.end()

    assert_convicts(story.finding("I7"), "attack reused-key", "has ledger row")


def test_a_cursor_may_fall_where_another_redis_took_over() -> None:
    def told(kind: str) -> Story:
        story = good_story()
        story.sample_redis()
        story.fault(1, 100, 200, kind=kind)
        story.now_ns = 210_000_000
        story.sample_redis(cursor=2, scores={"1": 1510, "2": 1393}, stream_last=2)
        story.read_now()
        story.sample_redis()
        story.end()
        return story

    assert told("Redis promotion that loses writes").finding("I4").verdict is Verdict.TRUE
    assert_convicts(told("kill -9").finding("I4"), "the cursor fell from 3 to 2")
