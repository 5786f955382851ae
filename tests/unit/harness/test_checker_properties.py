"""The checker on invented runs: a correct server is never convicted, a corrupted run always.

A run is a list of steps that a simulated correct server takes. Each corruption changes the
evidence in one place, after which at least one invariant must be false.
"""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from harness.checker import Finding, Promises, Verdict, check
from harness.evidence.history import Done, Event, Listen, Outcome
from tests.unit.harness.story import Story

FATES = (
    "accepted",
    "refused",
    "lost, applied",
    "lost, not applied",
    "lost, then accepted",
    "sent twice",
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(FATES), st.sampled_from([1, 2]), st.integers(-40, 90)),
        st.just(("read", 0, 0)),
        st.just(("sample", 0, 0)),
        st.just(("reconnect", 0, 0)),
    ),
    min_size=1,
    max_size=40,
)


class Run:
    """A simulated server that keeps every promise, and the story of one run of it."""

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        self.story = Story()
        self.story.records = [r for r in self.story.records if r.index != 3]  # No limit here.
        self.cursor = 0
        self.accepted = 0
        for number, (what, user, increment) in enumerate(steps):
            self.step(f"k{number}", what, user, increment or 1)
        self.listen_to_the_end()
        self.story.read_now()
        self.story.sample_redis()
        self.story.end()

    def step(self, key: str, what: str, user: int, increment: int) -> None:
        story = self.story
        match what:
            case "read":
                story.read_now()
            case "sample":
                story.sample_redis()
            case "reconnect":
                self.listened(detail="cut")
            case "refused":
                story.fail(story.submit(key, user, increment))
            case "lost, not applied":
                story.unknown(story.submit(key, user, increment))
            case "lost, applied":
                story.unknown(story.submit(key, user, increment))
                self.commit(key, user, increment)
            case "lost, then accepted":
                story.unknown(story.submit(key, user, increment))
                self.commit(key, user, increment)
                story.ok(story.submit(key, user, increment, attempt=2))
                self.accepted += 1
            case "accepted" | "sent twice":
                first = story.submit(key, user, increment)
                second = story.submit(key, user, increment, attempt=2) if "twice" in what else None
                self.commit(key, user, increment)
                story.ok(first)
                if second is not None:
                    story.ok(second)
                self.accepted += 1

    def commit(self, key: str, user: int, increment: int) -> None:
        self.story.commit(f"sid-{key}", user, increment)
        self.story.show()

    def listened(self, *, detail: str) -> None:
        story = self.story
        story.listen("l1", "open", last_event_id=self.cursor)
        if story.seq > self.cursor:
            story.listen("l1", "range", first=self.cursor + 1, last=story.seq)
        self.cursor = story.seq
        story.listen("l1", "close", last=self.cursor, detail=detail)

    def listen_to_the_end(self) -> None:
        self.listened(detail="end of run")

    def judge(self, *, database: bool) -> list[Finding]:
        return check(self.story.evidence(database=database), Promises(skip=frozenset({"I9"})))


def is_convicted(findings: list[Finding]) -> bool:
    return any(finding.verdict is Verdict.FALSE for finding in findings)


@given(steps=STEPS, database=st.booleans())
def test_a_server_that_keeps_its_promises_is_never_convicted(
    steps: list[tuple[str, int, int]], database: bool
) -> None:
    findings = Run(steps).judge(database=database)

    assert [f for f in findings if f.verdict is Verdict.FALSE] == []


def row_repeated(run: Run, pick: int) -> None:
    """A second effect under the same id, shown to all."""
    row = run.story.rows[pick % len(run.story.rows)]
    run.story.commit(row.sid, row.user, row.increment)
    run.story.show()


def row_vanished(run: Run, pick: int) -> None:
    """An accepted submission that left no trace at all."""
    run.story.ok(run.story.submit(f"vanished-{pick}", 1, 1000 + pick))


def event_changed(run: Run, pick: int) -> None:
    """Listeners were sent another score than the ledger has."""
    records = run.story.records
    events = [n for n, record in enumerate(records) if isinstance(record, Event)]
    at = events[pick % len(events)]
    changed = records[at]
    assert isinstance(changed, Event)
    records[at] = Event(
        index=changed.index,
        time_ns=changed.time_ns,
        seq=changed.seq,
        user=changed.user,
        score=changed.score + 1,
    )


def score_changed(run: Run, pick: int) -> None:
    """A score moved without a row."""
    run.story.scores[1 + pick % 2] += 1 + pick


def read_changed(run: Run, pick: int) -> None:
    """A read that shows a score nobody ever had."""
    records = run.story.records
    reads = [n for n, r in enumerate(records) if isinstance(r, Done) and r.scores]
    at = reads[pick % len(reads)]
    done = records[at]
    assert isinstance(done, Done)
    assert done.scores
    [(name, score), *rest] = done.scores
    records[at] = Done(
        index=done.index,
        time_ns=done.time_ns,
        of=done.of,
        outcome=Outcome.OK,
        status=200,
        seq=done.seq,
        scores=[(name, score + 1 + pick), *rest],
    )


def listener_cut_short(run: Run, pick: int) -> None:
    """A listener that stayed to the end and was not told of the last changes."""
    records = run.story.records
    at = max(n for n, r in enumerate(records) if isinstance(r, Listen) and r.what == "close")
    closed = records[at]
    assert isinstance(closed, Listen)
    records[at] = Listen(
        index=closed.index,
        time_ns=closed.time_ns,
        listener=closed.listener,
        what="close",
        last=(closed.last or 0) - 1 - pick % 2,
        detail=closed.detail,
    )


def number_skipped(run: Run, pick: int) -> None:
    """The ledger lacks a number in the middle."""
    rows = run.story.rows
    at = pick % len(rows)
    rows[at:] = [replace(row, seq=(row.seq or 0) + 1) for row in rows[at:]]
    run.story.seq += 1


CORRUPTIONS: list[tuple[Callable[[Run, int], None], bool]] = [
    (row_repeated, False),
    (row_vanished, False),
    (event_changed, True),
    (score_changed, True),
    (read_changed, False),
    (listener_cut_short, False),
    (number_skipped, True),
]
"""Each with whether it takes the database to see it."""


@given(
    steps=STEPS,
    corruption=st.sampled_from(CORRUPTIONS),
    pick=st.integers(0, 1000),
    database=st.booleans(),
)
def test_a_corrupted_run_is_always_convicted(
    steps: list[tuple[str, int, int]],
    corruption: tuple[Callable[[Run, int], None], bool],
    pick: int,
    database: bool,
) -> None:
    corrupt, needs_database = corruption
    run = Run(steps)
    assume(run.accepted and run.story.rows)

    corrupt(run, pick)

    assert is_convicted(run.judge(database=database or needs_database))
