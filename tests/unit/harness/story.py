"""Hand-written histories: a good run of four submissions, to be spoilt by one thing at a time.

Alice (1) starts with 1500, Bob (2) with 1400. The clock moves one millisecond per record
unless a test says otherwise.
"""

from dataclasses import replace
from typing import Any

from harness.checker import Evidence, Finding, Promises, Verdict, check, gather
from harness.evidence.database_snapshot import DatabaseSnapshot, Row, UserRow
from harness.evidence.history import (
    AnyRecord,
    Done,
    End,
    Event,
    Fault,
    FaultPhase,
    FinalBoard,
    Header,
    HistoryFile,
    InitialBoard,
    Listen,
    Outcome,
    Read,
    RedisSample,
    Roster,
    Score,
    ServerLimits,
    Submit,
)

NAMES = {1: "Alice", 2: "Bob"}
HISTORY = 6
START_US = 1_000_000


class Story:
    """Records of one history, told in order."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.now_ns = 0
        self.rows: list[Row] = []
        self.scores = {1: 1500, 2: 1400}
        self.seq = 0
        self.put(Header, version=1, process="p", unix_us=START_US)
        self.put(Roster, users=list(NAMES.items()))
        self.put(InitialBoard, seq=0, scores=[("Alice", 1500), ("Bob", 1400)])
        self.put(ServerLimits, count=3, window_ms=1000, history_changes=HISTORY)

    def put(self, kind: type[AnyRecord], /, *, at_ms: float | None = None, **fields: Any) -> int:
        self.now_ns = self.now_ns + 1_000_000 if at_ms is None else int(at_ms * 1e6)
        index = len(self.records)
        self.records.append(kind(index=index, time_ns=self.now_ns, **fields))
        return index

    def submit(
        self,
        key: str | None,
        user: int = 1,
        increment: int = 10,
        *,
        principal: str | None = None,
        at_ms: float | None = None,
        attempt: int = 1,
        attack: str | None = None,
    ) -> int:
        principal = principal or str(user)
        return self.put(
            Submit,
            at_ms=at_ms,
            client="c1",
            principal=principal,
            user=user,
            increment=increment,
            digest=f"{user}:{increment}",
            key=key,
            sid=f"sid-{key}" if key is not None else None,
            attempt=attempt,
            attack=attack,
        )

    def ok(self, of: int, sid: str | None = None, *, at_ms: float | None = None) -> None:
        asked = self.records[of]
        assert isinstance(asked, Submit)
        self.put(
            Done, at_ms=at_ms, of=of, outcome=Outcome.OK, status=202, sid=sid or f"sid-{asked.key}"
        )

    def fail(
        self, of: int, status: int = 422, code: str = "invalid", *, at_ms: float | None = None
    ) -> None:
        self.put(Done, at_ms=at_ms, of=of, outcome=Outcome.FAIL, status=status, code=code)

    def unknown(self, of: int) -> None:
        self.put(Done, of=of, outcome=Outcome.UNKNOWN, status=None)

    def commit(
        self, sid: str, user: int = 1, increment: int = 10, *, principal: str | None = None
    ) -> int:
        """The server's side of it: a ledger row and a new score. Nobody has seen it yet."""
        self.seq += 1
        self.scores[user] += increment
        self.rows.append(
            Row(
                sid=sid,
                principal=principal or str(user),
                user=user,
                increment=increment,
                outcome="applied",
                seq=self.seq,
                score_after=self.scores[user],
                committed_us=START_US + self.seq,
            )
        )
        return self.seq

    def reject(self, sid: str, user: int, increment: int, outcome: str) -> None:
        """The server decided against it: a ledger row without a change."""
        self.rows.append(
            Row(
                sid=sid,
                principal=str(user),
                user=user,
                increment=increment,
                outcome=outcome,
                seq=None,
                score_after=None,
                committed_us=START_US + 1,
            )
        )

    def final_board(self, **scores: int) -> None:
        """The whole board at the end, with some scores changed."""
        shown = {NAMES[user]: score for user, score in self.scores.items()}
        self.put(FinalBoard, seq=self.seq, scores=list({**shown, **scores}.items()))

    def show(self, *, at_ms: float | None = None) -> None:
        """A listener somewhere sees the newest change."""
        row = self.rows[-1]
        self.put(Event, at_ms=at_ms, seq=row.seq, user=NAMES[row.user], score=row.score_after)

    def accepted(self, key: str, user: int = 1, increment: int = 10) -> None:
        """A submission with everything that ought to follow."""
        self.ok(self.submit(key, user, increment))
        self.commit(f"sid-{key}", user, increment)
        self.show()

    def read(self, seq: int, scores: list[Score], *, client: str = "r1") -> None:
        of = self.put(Read, client=client, limit=10)
        self.put(Done, of=of, outcome=Outcome.OK, status=200, seq=seq, scores=scores)

    def read_now(self) -> None:
        board = [(NAMES[user], score) for user, score in self.scores.items()]
        self.read(self.seq, sorted(board, key=lambda row: -row[1]))

    def listen(
        self, listener: str, what: str, *, at_ms: float | None = None, **fields: Any
    ) -> None:
        self.put(Listen, at_ms=at_ms, listener=listener, what=what, **fields)

    def listened(self, listener: str, *, first: int = 1, last: int | None = None) -> None:
        end = self.seq if last is None else last
        self.listen(listener, "open")
        self.listen(listener, "range", first=first, last=end)
        self.listen(listener, "close", last=end, detail="end of run")

    def sample_redis(self, **changed: Any) -> None:
        scores = {str(user): score for user, score in self.scores.items()}
        fields = {"epoch": "1", "cursor": self.seq, "scores": scores, "stream_last": self.seq}
        self.put(RedisSample, **{**fields, **changed})

    def fault(
        self,
        number: int,
        inject_ms: float,
        heal_ms: float,
        *,
        kind: str = "kill -9",
        target: str = "redis",
        fired: str | None = "pid 7 died",
        recovered: bool = True,
        recovered_at_ms: float | None = None,
    ) -> None:
        def step(at_ms: float, phase: FaultPhase, **fields: Any) -> None:
            self.put(
                Fault, at_ms=at_ms, fault=number, kind=kind, target=target, phase=phase, **fields
            )

        step(inject_ms, FaultPhase.INJECT)
        step(heal_ms, FaultPhase.HEAL, fired=fired)
        step(
            heal_ms if recovered_at_ms is None else recovered_at_ms,
            FaultPhase.RECOVERED,
            recovery_ms=1.0 if recovered else None,
        )

    def end(self, *, drained: bool = True) -> None:
        self.put(End, drained=drained)

    def database(self) -> DatabaseSnapshot:
        return DatabaseSnapshot(
            rows=list(self.rows),
            users=[UserRow(user, NAMES[user], score, 0) for user, score in self.scores.items()],
            board_seq=self.seq,
        )

    def evidence(self, *, database: bool = True, **changed: Any) -> Evidence:
        seen = replace(self.database(), **changed) if database else None
        return gather([HistoryFile(name="story", records=self.records)], seen)

    def finding(self, invariant: str, *, database: bool = True, **changed: Any) -> Finding:
        findings = check(self.evidence(database=database, **changed), Promises())
        return next(f for f in findings if f"{f.invariant} ".startswith(f"{invariant} "))


def good_story() -> Story:
    """Two ordinary submissions, a retried one, one refused, an attack, readers and listeners."""
    story = Story()
    story.accepted("a", 1, 10)
    story.read_now()
    story.accepted("b", 2, -7)
    story.unknown(story.submit("c", 1, 20))
    story.commit("sid-c", 1, 20)
    story.ok(story.submit("c", 1, 20, attempt=2))
    story.show()
    story.fail(story.submit("d", 1, 30))
    story.fail(story.submit("x", 2, 999, principal="1", attack="wrong-user"), 403, "forbidden")
    return story


def finish(story: Story) -> Story:
    """What a run does last: a final read, a final sample, listeners that stayed, the end."""
    story.read_now()
    story.sample_redis()
    story.listened("l1")
    story.end()
    return story


def assert_convicts(finding: Finding, *words: str) -> None:
    """The finding is false, and its first explanation names `words`."""
    assert finding.verdict is Verdict.FALSE, finding
    for word in words:
        assert word in finding.explanations[0], finding.explanations
