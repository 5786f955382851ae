"""What a stream of the board says, as typed events that have passed the contract's checks.

Not the connection: see `client`. A `Follower` lives across reconnects and holds
the cursor; each connection gets a `Reading` of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from scoreboard import sse
from scoreboard.domain import Standing
from scoreboard_client.errors import BadAnswer

_COMMITTED = "committed "
_update = msgspec.json.Decoder(sse.UpdateData)
_snapshot = msgspec.json.Decoder(sse.Snapshot)


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """One change: the user's total after change `seq`.

    `committed_us` is the server's clock at commit (microseconds since the Unix
    epoch), None when the server did not say.
    """

    seq: int
    user: str
    score: int
    committed_us: int | None = None
    user_id: int | None = None
    removed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The top of the board at exactly `seq`, at the start of a stream that asked for it."""

    seq: int
    scores: tuple[Standing, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """Changes were missed and cannot be had any more: go on from this state."""

    seq: int
    scores: tuple[Standing, ...]


StreamEvent = Update | Snapshot | Reset


class Follower:
    """The cursor of one logical listener: the seq that it has everything up to."""

    def __init__(self, last_seq: int | None) -> None:
        self.last_seq = last_seq

    def reading(self) -> "Reading":
        """Begin to read a new connection."""
        return Reading(self)


class Reading:
    """One connection's bytes, turned into events that continue the follower's cursor."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._decoder = sse.Decoder()
        self._committed_us: int | None = None

    @property
    def retry_ms(self) -> int | None:
        """The wait before a reconnect that the server asked for."""
        return self._decoder.retry_ms

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """The events that `chunk` completes. Raises BadAnswer when the stream breaks its contract.

        The cursor moves as each event is taken, not before: whoever stops in
        the middle resumes there.
        """
        try:
            events = self._decoder.feed(chunk)
        except sse.StreamTooLong as error:
            raise BadAnswer(f"the stream's {error} is longer than a listener holds") from error
        for event in events:
            typed = self._typed(event)
            if typed is not None:
                self._follower.last_seq = typed.seq
                yield typed
        if self._follower.last_seq is None:
            # The first block names where a fresh stream begins. On a resumed one it is
            # not taken: only events move a cursor that someone relies on.
            self._follower.last_seq = sse.parse_last_event_id(self._decoder.last_event_id)

    def _typed(self, event: sse.Event) -> StreamEvent | None:
        for comment in event.comments:
            stamp = comment.removeprefix(_COMMITTED)
            if stamp != comment and stamp.isdigit():
                self._committed_us = int(stamp)
        seq = sse.parse_last_event_id(event.id)
        try:
            match event.event:
                case sse.UPDATE if seq is not None:
                    return self._update(seq, _update.decode(event.data))
                case sse.SNAPSHOT | sse.RESET if seq is not None:
                    state = _snapshot.decode(event.data)
                    if state.seq != seq:
                        raise BadAnswer(f"a {event.event} at {state.seq} came with the id {seq}")
                    kind = Snapshot if event.event == sse.SNAPSHOT else Reset
                    return kind(seq=seq, scores=tuple(state.scores))
                case sse.UPDATE | sse.SNAPSHOT | sse.RESET:
                    raise BadAnswer(f"an event of kind {event.event} has no valid id")
                case _:
                    # A kind of a later version: nothing to hand over, but its number is taken.
                    if seq is not None and seq - 1 == self._follower.last_seq:
                        self._follower.last_seq = seq
                    return None
        except msgspec.DecodeError as error:
            raise BadAnswer(f"an event of kind {event.event} is malformed: {error}") from error

    def _update(self, seq: int, data: sse.UpdateData) -> Update | None:
        last_seq = self._follower.last_seq
        if last_seq is not None and seq <= last_seq:
            # A redelivery after a resume.
            return None
        if last_seq is not None and seq != last_seq + 1:
            raise BadAnswer(f"change {seq} came after {last_seq}: a gap without a reset")
        return Update(
            seq=seq,
            user=data.user,
            score=data.score,
            committed_us=self._committed_us,
            user_id=data.user_id,
            removed=data.removed,
        )
