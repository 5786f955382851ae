"""Everything known about one run, put in the order the invariants ask for it.

Joins history files, and the database's own rows where there are any. Judges nothing.
Attempts of one key are merged here: any ok makes the submission accepted, else any unknown
leaves it unknown, else it failed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.checker.histories.timeline import Change, Ended, timeline
from harness.evidence.database_snapshot import DatabaseSnapshot
from harness.evidence.history import (
    BY_CONTENT,
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
    Loss,
    Outcome,
    Read,
    Record,
    RedisSample,
    Roster,
    Score,
    ServerLimits,
    Submit,
)


@dataclass(slots=True)
class Attempt:
    """One request of a submission. ``done_ns`` is None when the harness died first."""

    invoked_ns: int
    client: str
    number: int
    done_ns: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    status: int | None = None
    code: str | None = None
    sid: str | None = None


@dataclass(slots=True)
class Submission:
    """All attempts of one key, or one attempt that had none."""

    name: str
    principal: str
    user: int
    increment: int
    digest: str
    key: str | None
    sid: str | None
    attack: str | None
    attempts: list[Attempt] = field(default_factory=list)
    outcome: Outcome = Outcome.UNKNOWN
    invoked_ns: int = 0
    ok_ns: int | None = None
    """When the first ok answer had arrived."""

    def __str__(self) -> str:
        sign = "+" if self.increment >= 0 else ""
        return f"{self.name} (user {self.user}, {sign}{self.increment}, {len(self.attempts)} sent)"


@dataclass(slots=True)
class BoardRead:
    """A read of the board that succeeded."""

    client: str
    invoked_ns: int
    done_ns: int
    limit: int
    offset: int
    seq: int
    scores: Sequence[Score]


@dataclass(slots=True)
class FaultSpan:
    """One fault from injection to recovery. ``fired`` is its proof."""

    number: int
    kind: str
    target: str
    inject_ns: int
    heal_ns: int | None = None
    fired: str | None = None
    recovered_ns: int | None = None
    """When a fresh submission had come through again, or the run stopped waiting for that."""
    recovery_ms: float | None = None
    gave_up: bool = False
    """The run waited for recovery in vain."""

    @property
    def over_ns(self) -> int | None:
        """From when on the system may be called healthy; None when it never may."""
        return self.heal_ns if self.recovered_ns is None else self.recovered_ns


@dataclass(kw_only=True)
class Evidence:
    """One run. ``changes`` come from the ledger where it was read, else from streams."""

    submissions: list[Submission] = field(default_factory=list)
    attacks: list[Submission] = field(default_factory=list)
    reads: list[BoardRead] = field(default_factory=list)
    faults: list[FaultSpan] = field(default_factory=list)
    listens: dict[str, list[Listen]] = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)
    """First sighting of each change, over all processes."""
    by_content: bool = False
    """The events had no ids to follow; then `seen` has them, and `events` none."""
    seen: dict[str, list[Event]] = field(default_factory=dict)
    """The events of each process that listened, numbered by its own count."""
    beyond: int = 0
    """Events that no process kept: more than the offered load can explain."""
    beyond_examples: list[tuple[str, int]] = field(default_factory=list)
    redis: list[RedisSample] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    board: InitialBoard | None = None
    final_board: FinalBoard | None = None
    limits: ServerLimits | None = None
    database: DatabaseSnapshot | None = None
    losses: list[Loss] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    base: dict[str, int] = field(default_factory=dict)
    """Scores by name before the first change."""
    base_seq: int = 0
    started_unix_us: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    drained: bool = False
    flaws: list[str] = field(default_factory=list)
    """Why this evidence cannot acquit: damage, a missing end, a harness at odds with itself."""
    incomplete: bool = False
    """Part of a history is missing, so effects may belong to submissions that are not known."""
    kind: str = ""
    """The sort of run that wrote it, ``load`` for a load run; chaos runs do not say."""
    own_page: bool = False
    """The board's rows may be fewer than ten: it is not read as the specification says."""
    submits: bool = True
    listens_by_plan: bool = True
    disagreements: list[str] = field(default_factory=list)
    """Two processes were sent different changes under one seq."""

    @property
    def last_seq(self) -> int:
        """The seq of the newest change known."""
        if self.database is not None:
            return self.database.board_seq
        return self.changes[-1].seq if self.changes else self.base_seq

    def healthy_ns(self, start_ns: int, end_ns: int) -> list[int]:
        """The stretches between two moments in which no fault was in force or left to recover
        from: their lengths, in order."""
        stretches = []
        moment = start_ns
        for fault in self.faults:
            if fault.inject_ns >= end_ns:
                break
            if fault.inject_ns > moment:
                stretches.append(fault.inject_ns - moment)
            moment = max(moment, self.ended_ns if fault.over_ns is None else fault.over_ns)
        if moment < end_ns:
            stretches.append(end_ns - moment)
        return stretches


def gather(files: Iterable[HistoryFile], database: DatabaseSnapshot | None = None) -> Evidence:
    """Join the files of one run, and the database's rows when there are any."""
    evidence = Evidence(database=database)
    merged: dict[tuple[str, str], Submission] = {}
    starts: list[tuple[int, int]] = []
    ends: list[End] = []
    processes: list[str] = []
    for file in files:
        joiner = _Joiner(evidence, merged, file.name)
        joiner.join(file)
        processes.append(joiner.process)
        starts += joiner.starts
        ends += joiner.ends
    if starts:
        evidence.started_ns, evidence.started_unix_us = min(starts)
    _conclude_ends(evidence, processes, ends)
    for submission in evidence.submissions:
        _merge(submission)
    for submission in evidence.attacks:
        _merge(submission)
    evidence.reads.sort(key=lambda read: read.invoked_ns)
    evidence.faults.sort(key=lambda fault: fault.inject_ns)
    evidence.redis.sort(key=lambda sample: sample.time_ns)
    for records in evidence.listens.values():
        records.sort(key=lambda record: (record.time_ns, record.index))
    _order_changes(evidence)
    return evidence


def _conclude_ends(evidence: Evidence, processes: list[str], ends: list[End]) -> None:
    """What the closing records say, and what their absence says."""
    if len(ends) < len(processes) or not processes:
        evidence.flaws.append("the run did not end by plan: a history has no end record")
        evidence.incomplete = True
    evidence.drained = bool(ends) and len(ends) == len(processes) and all(e.drained for e in ends)
    reasons = [reason for end in ends for reason in end.about.get("reasons", ())]
    for end in ends:
        evidence.submits &= bool(end.about.get("submissions", True))
        evidence.listens_by_plan &= bool(end.about.get("listeners", True))
        evidence.beyond += int(end.about.get("beyond", 0))
        evidence.beyond_examples += [(u, s) for u, s in end.about.get("examples", ())]
        for name in end.about.get("processes", ()):
            if name not in processes:
                reasons.append(f"the history of {name} is missing")
                evidence.incomplete = True
    evidence.flaws += reasons
    if ends and not evidence.drained and not reasons:
        evidence.flaws.append("accepted work had not settled when the run ended")


class _Joiner:
    """Puts the records of one file into the evidence, by their types."""

    def __init__(
        self, evidence: Evidence, merged: dict[tuple[str, str], Submission], name: str
    ) -> None:
        self.process = name
        self.starts: list[tuple[int, int]] = []
        self.ends: list[End] = []
        self._by_content = False
        self._evidence = evidence
        self._merged = merged
        self._submits: dict[int, Attempt] = {}
        self._reads: dict[int, Read] = {}
        self._faults: dict[int, FaultSpan] = {}
        self._steps: dict[type[Record], Callable[[Any], None]] = {
            Submit: self._submit,
            Done: self._done,
            Event: self._event,
            Read: self._read,
            Listen: self._listen,
            RedisSample: evidence.redis.append,
            Fault: lambda record: _fault_step(evidence, self._faults, record),
            Header: self._header,
            Roster: lambda record: evidence.names.update(record.users),
            InitialBoard: lambda record: setattr(evidence, "board", record),
            FinalBoard: lambda record: setattr(evidence, "final_board", record),
            ServerLimits: lambda record: setattr(evidence, "limits", record),
            Loss: evidence.losses.append,
            End: self.ends.append,
        }

    def join(self, file: HistoryFile) -> None:
        """All records, in order."""
        evidence = self._evidence
        if file.damaged_lines:
            evidence.flaws.append(f"{file.name}: {file.damaged_lines} unreadable lines")
        if file.torn_lines:
            evidence.flaws.append(f"{file.name} breaks off: its writer died")
        evidence.incomplete |= bool(file.damaged_lines or file.torn_lines)
        steps, ended_ns = self._steps, evidence.ended_ns
        for record in file.records:
            steps[type(record)](record)
            ended_ns = max(ended_ns, record.time_ns)
        evidence.ended_ns = ended_ns

    def _submit(self, record: Submit) -> None:
        self._submits[record.index] = _attempt(self._evidence, self._merged, record)

    def _done(self, record: Done) -> None:
        attempt = self._submits.pop(record.of, None)
        if attempt is None:
            _finish_read(self._evidence, self._reads.pop(record.of, None), record)
            return
        attempt.done_ns = record.time_ns
        attempt.outcome = record.outcome
        attempt.status = record.status
        attempt.code = record.code
        attempt.sid = record.sid

    def _event(self, record: Event) -> None:
        if self._by_content:
            self._evidence.seen.setdefault(self.process, []).append(record)
        else:
            _see(self._evidence, record)

    def _read(self, record: Read) -> None:
        self._reads[record.index] = record

    def _listen(self, record: Listen) -> None:
        name = f"{self.process}/{record.listener}"
        self._evidence.listens.setdefault(name, []).append(record)

    def _header(self, record: Header) -> None:
        self.process = record.process
        self.starts.append((record.time_ns, record.unix_us))
        self._evidence.kind = record.about.get("kind", self._evidence.kind)
        self._evidence.own_page |= record.about.get("own_page") is True
        self._by_content = record.about.get("events") == BY_CONTENT
        self._evidence.by_content |= self._by_content


def _attempt(
    evidence: Evidence, merged: dict[tuple[str, str], Submission], record: Submit
) -> Attempt:
    attempt = Attempt(record.time_ns, record.client, record.attempt)
    submission: Submission | None = None
    if record.key is not None and record.attack is None:
        submission = merged.get((record.principal, record.key))
        if submission is not None and submission.digest != record.digest:
            evidence.flaws.append(
                f"the harness sent two bodies under key {record.key} without calling it an attack"
            )
    if submission is None:
        submission = Submission(
            name=record.key or f"{record.client}#{record.index}",
            principal=record.principal,
            user=record.user,
            increment=record.increment,
            digest=record.digest,
            key=record.key,
            sid=record.sid,
            attack=record.attack,
        )
        (evidence.submissions if record.attack is None else evidence.attacks).append(submission)
        if record.key is not None and record.attack is None:
            merged[record.principal, record.key] = submission
    submission.attempts.append(attempt)
    return attempt


def _finish_read(evidence: Evidence, read: Read | None, record: Done) -> None:
    if read is None or record.outcome is not Outcome.OK:
        return
    if record.seq is None or record.scores is None:
        evidence.flaws.append("a successful read was recorded without what it returned")
        return
    evidence.reads.append(
        BoardRead(
            read.client,
            read.time_ns,
            record.time_ns,
            read.limit,
            read.offset,
            record.seq,
            record.scores,
        )
    )


def _see(evidence: Evidence, record: Event) -> None:
    known = evidence.events.get(record.seq)
    if known is not None and (known.user, known.score) != (record.user, record.score):
        evidence.disagreements.append(
            f"change {record.seq} reached one process as {known.user} {known.score}, "
            f"another as {record.user} {record.score}"
        )
    if known is None or record.time_ns < known.time_ns:
        evidence.events[record.seq] = record


def _fault_step(evidence: Evidence, faults: dict[int, FaultSpan], record: Fault) -> None:
    span = faults.get(record.fault)
    if span is None:
        span = FaultSpan(record.fault, record.kind, record.target, record.time_ns)
        faults[record.fault] = span
        evidence.faults.append(span)
    if record.fired is not None:
        span.fired = record.fired
    if record.phase is FaultPhase.HEAL:
        span.heal_ns = record.time_ns
    if record.phase is FaultPhase.RECOVERED:
        span.recovered_ns = record.time_ns
        span.recovery_ms = record.recovery_ms
        span.gave_up = record.recovery_ms is None


def _merge(submission: Submission) -> None:
    outcomes = {attempt.outcome for attempt in submission.attempts}
    submission.invoked_ns = min(attempt.invoked_ns for attempt in submission.attempts)
    if Outcome.OK in outcomes:
        submission.outcome = Outcome.OK
        submission.ok_ns = min(
            attempt.done_ns
            for attempt in submission.attempts
            if attempt.outcome is Outcome.OK and attempt.done_ns is not None
        )
        if submission.sid is None:
            submission.sid = next((a.sid for a in submission.attempts if a.sid is not None), None)
    elif Outcome.UNKNOWN in outcomes:
        submission.outcome = Outcome.UNKNOWN
    else:
        submission.outcome = Outcome.FAIL


def _order_changes(evidence: Evidence) -> None:
    if evidence.board is not None:
        evidence.base_seq = evidence.board.seq
        evidence.base = dict(evidence.board.scores)
    if evidence.database is not None:
        _changes_of_ledger(evidence, evidence.database)
    else:
        totals = dict(evidence.base)
        for seq in sorted(evidence.events):
            event = evidence.events[seq]
            before = totals.get(event.user)
            increment = None if before is None else event.score - before
            evidence.changes.append(Change(seq, event.user, event.score, increment))
            totals[event.user] = event.score


def _changes_of_ledger(evidence: Evidence, database: DatabaseSnapshot) -> None:
    if evidence.by_content:
        evidence.names |= database.names(labelled=False)
    else:
        # Streams and reads went by the names at the start, whoever took one of them since.
        evidence.names = database.names(labelled=True) | evidence.names
    applied = sorted(
        (row for row in database.rows if row.seq is not None and row.score_after is not None),
        key=lambda row: row.seq or 0,
    )
    if evidence.board is None:
        evidence.base_seq = 0
        derived: dict[str, int] = {}
        for row in applied:
            name = evidence.names.get(row.user, f"id {row.user}")
            if name not in derived:
                derived[name] = (row.score_after or 0) - row.increment
        for user in database.users:
            derived.setdefault(evidence.names[user.id], user.score)
        evidence.base = derived
    evidence.changes, evidence.ended = timeline(
        (row for row in applied if row.seq is not None and row.seq > evidence.base_seq),
        evidence.losses,
        names=evidence.names,
        base=evidence.base,
        board_seq=database.board_seq,
    )
