"""What was asked of a server and what it answered: the evidence every verdict rests on.

One JSON object per line, described field by field in ``docs/history.md``. A client operation
is two records: one made *before* its first byte is sent, one after it ended. So an operation
that never ended is still known to have been in flight. Fault events, listeners'
transcripts and the closing record stand in the same file, on the same clock.

This module only writes and reads. It judges nothing (``harness.checker`` does) and it sends
nothing. A writer belongs to one thread or one event loop.
"""

import enum
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec

from harness.evidence.history_parts import PART_BYTES, PartsWriter, lacks_a_part, parts_of

FORMAT_VERSION = 1
FINAL_CAUSE = "end of run"
"""The close of a listener that was still listening after the drain."""
BY_CONTENT = "by content"
"""What `about` of a header says under `events` where those have no ids to follow."""

Score: TypeAlias = tuple[str, int]
"""A user's name and score, as the contract shows them."""


class Outcome(enum.StrEnum):
    """What an answer proves about an operation."""

    OK = "ok"
    """Durably accepted."""
    FAIL = "fail"
    """Proven to have had no effect."""
    UNKNOWN = "unknown"
    """Either may be true. Never counted as one or the other."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The base of all records: where it stands in its file, and when (monotonic clock)."""

    index: int
    time_ns: int


class Header(Record, frozen=True, kw_only=True, tag="header"):
    """The first line: who writes, and how its monotonic clock relates to the wall clock."""

    version: int
    process: str
    unix_us: int
    about: dict[str, Any] = {}


class Roster(Record, frozen=True, kw_only=True, tag="roster"):
    """Which name the board shows for which user id."""

    users: list[tuple[int, str]]


class InitialBoard(Record, frozen=True, kw_only=True, tag="board"):
    """The whole board, read while nothing changed, before the first submission."""

    seq: int
    scores: list[Score]


class FinalBoard(Record, frozen=True, kw_only=True, tag="final_board"):
    """The whole board again, read at rest after the last submission."""

    seq: int
    scores: list[Score]


class ServerLimits(Record, frozen=True, kw_only=True, tag="limits"):
    """What the server claims to hold: the rate limit per updated user, and how many changes it
    keeps for listeners that come back (None: not known)."""

    count: int
    window_ms: int
    history_changes: int | None = None


def digest_of(body: bytes) -> str:
    """The hash of a request's body that a `Submit` carries."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class Submit(Record, frozen=True, kw_only=True, tag="submit"):
    """One attempt to post a submission, about to be sent.

    Attempts with equal ``principal`` and ``key`` are one submission. ``sid`` is the id the
    server must give it, where the client can compute it. ``attack`` names an operation that
    must have no effect at all; it is never merged with an honest one.
    """

    client: str
    principal: str
    user: int
    increment: int
    digest: str
    key: str | None = None
    sid: str | None = None
    attempt: int = 1
    attack: str | None = None


class Read(Record, frozen=True, kw_only=True, tag="read"):
    """A read of the board, about to be sent."""

    client: str
    limit: int = 10
    offset: int = 0


class Done(Record, frozen=True, kw_only=True, tag="done"):
    """How operation ``of`` (an index in the same file) ended."""

    of: int
    outcome: Outcome
    status: int | None = None
    code: str | None = None
    sid: str | None = None
    seq: int | None = None
    scores: list[Score] | None = None


class FaultPhase(enum.StrEnum):
    """The life of a fault, in order."""

    INJECT = "inject"
    HEAL = "heal"
    RECOVERED = "recovered"


class Fault(Record, frozen=True, kw_only=True, tag="fault"):
    """A step in the life of fault ``fault``.

    ``fired`` is the proof that it took hold, known at the latest when it heals: what was
    observed (a dead pid, a stopped process, connections cut), or nothing.
    ``heal`` bears the time at which it was lifted; what it stopped has yet to start then.
    ``recovery_ms`` comes with ``recovered``: milliseconds from when what was broken might work
    again (a fault of a moment, as a kill: from when it struck) to a fresh submission
    acknowledged *and* seen by a listener; without it the run waited for that in vain.
    """

    fault: int
    kind: str
    target: str
    phase: FaultPhase
    fired: str | None = None
    recovery_ms: float | None = None


class Event(Record, frozen=True, kw_only=True, tag="event"):
    """A change as the first listener of this process saw it.

    Where events have no ids to follow (`about` of the header says so), `seq` is the number that
    this process gave it by its content, and `listener` who saw it first.
    """

    seq: int
    user: str
    score: int
    listener: str | None = None


class Listen(Record, frozen=True, kw_only=True, tag="listen"):
    """What befell one listener. ``what`` decides which fields are there; see docs/history.md.

    ``open``, ``range`` (ids ``first`` to ``last`` accepted one after the other, each equal to
    the ``event`` record of that seq), ``reset``, ``snapshot``, ``close``, ``violation``.
    """

    listener: str
    what: str
    last_event_id: int | None = None
    first: int | None = None
    last: int | None = None
    redelivered: int = 0
    seq: int | None = None
    scores: list[Score] | None = None
    detail: str | None = None


class RedisSample(Record, frozen=True, kw_only=True, tag="redis"):
    """The Redis board, read in one atomic step: its cursor, epoch and all its scores by id."""

    epoch: str
    cursor: int
    scores: dict[str, int]
    stream_last: int | None = None


class Loss(Record, frozen=True, kw_only=True, tag="loss"):
    """What a store lost, as it said itself: read from the server that had it, before its end.

    ``rows`` are the changes after ``kept_seq`` that MySQL no longer has: submission id, user,
    seq, score after it and increment. ``sids`` are submissions that Temporal was working on.
    """

    store: str
    kept_seq: int = 0
    rows: list[tuple[str, int, int, int, int]] = []
    sids: list[str] = []


class End(Record, frozen=True, kw_only=True, tag="end"):
    """The last line of a run that ended by plan.

    ``drained``: after the last operation the run saw every accepted submission settled. A
    history without it can convict, but not acquit. ``about`` may hold, for the checker:
    ``reasons``, sentences that keep this run from an acquittal; ``processes``, all that wrote a
    history; ``submissions`` and ``listeners``, false where the run had none by plan.
    """

    drained: bool
    about: dict[str, Any] = {}


AnyRecord: TypeAlias = (
    Header
    | Roster
    | InitialBoard
    | FinalBoard
    | ServerLimits
    | Submit
    | Read
    | Done
    | Fault
    | Event
    | Listen
    | RedisSample
    | Loss
    | End
)


def outcome_of_status(status: int) -> Outcome:
    """What an HTTP status proves: 2xx ok, 4xx no effect, anything else unknown."""
    if 200 <= status < 300:
        return Outcome.OK
    if 400 <= status < 500:
        return Outcome.FAIL
    return Outcome.UNKNOWN


def outcome_of_error(error: BaseException) -> Outcome:
    """What a broken exchange proves: only a refused connection shows that nothing was sent."""
    return Outcome.FAIL if isinstance(error, ConnectionRefusedError) else Outcome.UNKNOWN


class HistoryWriter:
    """Appends records to one file, in the order of the calls, and to further parts of it.

    Records are encoded at once and written in blocks of ``flush_bytes`` or when the oldest
    has waited ``flush_after_ns`` (looked at when the next record comes). About 2 µs a record.
    A killed harness loses at most the block it held, and then also lacks the end record.
    Every time is written `shift_ns` later, for a machine whose clock is not the run's
    (`harness.measure.clocks`).

    Raises OSError when the file cannot be created or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        process: str,
        about: dict[str, Any] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        unix_us: int | None = None,
        flush_bytes: int = 64 * 1024,
        flush_after_ns: int = 500_000_000,
        shift_ns: int = 0,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.path = path
        self.records_written = 0
        self.bytes_written = 0
        self._shift_ns = shift_ns
        self._clock_ns = clock_ns
        self._flush_bytes = flush_bytes
        self._flush_after_ns = flush_after_ns
        self._encode = msgspec.json.Encoder().encode
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._flushed_ns = clock_ns()
        self._file = PartsWriter(path, part_bytes)
        self.put(
            Header,
            version=FORMAT_VERSION,
            process=process,
            unix_us=time.time_ns() // 1000 if unix_us is None else unix_us,
            about=about or {},
        )

    def put(self, kind: type[Record], /, *, time_ns: int | None = None, **fields: Any) -> int:
        """Append a record of `kind`; returns its index. `time_ns` defaults to now."""
        index = self.records_written
        now_ns = self._clock_ns() if time_ns is None else time_ns
        line = self._encode(kind(index=index, time_ns=now_ns + self._shift_ns, **fields))
        self.records_written = index + 1
        self._waiting.append(line)
        self._waiting_bytes += len(line) + 1
        if (
            self._waiting_bytes >= self._flush_bytes
            or now_ns - self._flushed_ns >= self._flush_after_ns
        ):
            self._write_block(now_ns)
        return index

    def submit(
        self,
        *,
        client: str,
        principal: str,
        user: int,
        increment: int,
        digest: str,
        key: str | None = None,
        sid: str | None = None,
        attempt: int = 1,
        attack: str | None = None,
    ) -> int:
        """Record an attempt about to be sent; its index goes to :meth:`done`."""
        return self.put(
            Submit,
            client=client,
            principal=principal,
            user=user,
            increment=increment,
            digest=digest,
            key=key,
            sid=sid,
            attempt=attempt,
            attack=attack,
        )

    def read(self, *, client: str, limit: int = 10, offset: int = 0) -> int:
        """Record a read of the board about to be sent; its index goes to :meth:`done`."""
        return self.put(Read, client=client, limit=limit, offset=offset)

    def done(
        self,
        of: int,
        outcome: Outcome,
        *,
        status: int | None = None,
        code: str | None = None,
        sid: str | None = None,
        seq: int | None = None,
        scores: list[Score] | None = None,
    ) -> int:
        """Record how operation `of` ended."""
        return self.put(
            Done, of=of, outcome=outcome, status=status, code=code, sid=sid, seq=seq, scores=scores
        )

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system."""
        self._write_block(self._clock_ns())

    def _write_block(self, now_ns: int) -> None:
        if self._waiting:
            self._waiting.append(b"")
            self.bytes_written += self._file.write(b"\n".join(self._waiting))
            self._waiting.clear()
            self._waiting_bytes = 0
        self._file.flush()
        self._flushed_ns = now_ns

    def end(self, *, drained: bool, about: dict[str, Any] | None = None) -> None:
        """Record that the run ended by plan, and whether all accepted work had settled."""
        self.put(End, drained=drained, about=about or {})

    def close(self) -> None:
        """Flush and close, the file also where the disk is full. Idempotent. Raises OSError."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class HistoryFile:
    """One file, read back, all its parts."""

    name: str
    records: list[AnyRecord] = field(default_factory=list)
    torn_lines: int = 0
    """1 when the last line broke off: the writer died in mid write. It held at most one record."""
    damaged_lines: int = 0
    """Unreadable lines elsewhere: the file is not what was written."""


_DECODER = msgspec.json.Decoder(AnyRecord)


def read_history(path: Path) -> HistoryFile:
    """Read one file: about a million records in a few seconds.

    A torn last line is counted, not raised. Raises OSError when the file cannot be read.
    """
    parts = [parse_history(part.read_bytes()) for part in parts_of(path)]
    return HistoryFile(
        name=path.name,
        records=list(chain.from_iterable(part.records for part in parts)),
        torn_lines=parts[-1].torn_lines,
        damaged_lines=sum(part.damaged_lines for part in parts)
        + sum(part.torn_lines for part in parts[:-1])
        + lacks_a_part(path),
    )


def parse_history(content: bytes, *, name: str = "history") -> HistoryFile:
    """Parse the bytes of one file; see :func:`read_history`."""
    whole, _, tail = content.rpartition(b"\n")
    records: list[AnyRecord] = []
    damaged = 0
    torn = 0
    for line in whole.split(b"\n") if whole else ():
        try:
            records.append(_DECODER.decode(line))
        except msgspec.DecodeError:
            damaged += 1
    if tail:
        # Without its newline even a line that parses may lack a digit of its last number.
        torn = 1
    return HistoryFile(name=name, records=records, torn_lines=torn, damaged_lines=damaged)
