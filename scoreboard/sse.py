"""Server-Sent Events, both directions: bytes of an event, and events of a byte stream.

Follows the WHATWG HTML standard, section 9.2. Not a client: it neither
connects nor reconnects.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from scoreboard.domain import Change, Standing

RETRY_MS = 2000
RETRY_SPREAD_MS = 2000
"""Listeners are told to come back after RETRY_MS and up to this more, each another time: those of
a process that has gone would otherwise return in the same instant."""
HEARTBEAT = b":\n\n"
UPDATE = "update"
RESET = "reset"
SNAPSHOT = "snapshot"
MAX_EVENT_ID = 2**63 - 1
MAX_LINE_BYTES = 1 << 20
MAX_EVENT_BYTES = 4 << 20
MAX_COMMENTS = 64

LAST_CHUNK = b"0\r\n\r\n"

_json = msgspec.json.Encoder()


def chunk(payload: bytes) -> bytes:
    """One chunk of a stream's body (RFC 9112, section 7.1). `payload` must not be empty: an
    empty chunk is the last one."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class UpdateData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Data of `event: update`. Two users may have one name; `user_id` tells them apart.

    `removed` is there when the user has left the board.
    """

    user: str
    score: int
    user_id: int | None = msgspec.field(name="userId", default=None)
    removed: bool = False


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `event: reset` and `event: snapshot`: the top of the board at exactly `seq`."""

    seq: int
    scores: Sequence[Standing]


def encode_hello(cursor: int, retry_ms: int = RETRY_MS) -> bytes:
    """First block of a stream: where it stands, and how soon to come back.

    It has no data, so no event is dispatched; it only sets the last event id,
    and a listener that loses its connection before the first event misses none.
    """
    return b"retry: %d\nid: %d\n\n" % (retry_ms, cursor)


def encode_retry() -> bytes:
    """How soon to come back; what a stream says last when it ends on purpose."""
    return b"retry: %d\n\n" % RETRY_MS


def encode_updates(changes: Iterable[Change]) -> bytes:
    """Events in order; a comment before each run that was committed at the same time."""
    parts = []
    stamp = -1
    for change in changes:
        if change.committed_us != stamp:
            stamp = change.committed_us
            parts.append(b": committed %d\n" % stamp)
        parts.append(
            b"id: %d\nevent: update\ndata: %b\n\n"
            % (
                change.seq,
                _json.encode(UpdateData(change.name, change.score, change.user_id, change.removed)),
            )
        )
    return b"".join(parts)


def encode_snapshot(event: str, snapshot: Snapshot) -> bytes:
    """A whole state, after which the change `snapshot.seq + 1` follows."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        snapshot.seq,
        event.encode(),
        _json.encode(snapshot),
    )


def parse_last_event_id(value: str) -> int | None:
    """The sequence number a listener has, or None when the text is not one of ours."""
    if not value.isascii() or not value.isdigit() or len(value) > 19:
        return None
    number = int(value)
    return number if number <= MAX_EVENT_ID else None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatched event: `id` is the last event id at that moment, "" when there was none.

    `comments` are the last MAX_COMMENTS comment lines since the previous event, without the colon.
    """

    event: str
    data: str
    id: str
    comments: tuple[str, ...] = ()


class StreamTooLong(ValueError):
    """A line or an event of the stream is longer than a listener will hold."""


class Decoder:
    """Turns the bytes of a stream into events, wherever the chunks were cut.

    `last_event_id` and `retry_ms` hold what the stream has set so far; an id
    counts from the end of its block, so that a stream cut inside a block resumes
    before it. A block without data dispatches nothing, as the standard says.
    """

    def __init__(self, *, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._id = last_event_id
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._after_cr = False
        self._at_start = True
        self._event = ""
        self._data: list[str] = []
        self._data_bytes = 0
        # Bounded, since heartbeats are comments and a quiet board sends nothing else.
        self._comments: deque[str] = deque(maxlen=MAX_COMMENTS)

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that `chunk` completes, in order.

        Raises StreamTooLong when a line exceeds MAX_LINE_BYTES or the data of an
        event MAX_EVENT_BYTES; the decoder is of no use after that.
        """
        if self._after_cr and chunk:
            # A CR ended the last line; an LF right after belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = chunk.split(b"\n")
        # Pieces of an unfinished line are joined once, at its end: a line that
        # arrives byte by byte must not cost the square of its length.
        events = []
        self._append(first)
        for following in rest:
            event = self._line(b"".join(self._pending))
            if event is not None:
                events.append(event)
            self._pending, self._pending_bytes = [], 0
            self._append(following)
        return events

    def _append(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes > MAX_LINE_BYTES:
            raise StreamTooLong("line")

    def _line(self, raw: bytes) -> Event | None:
        line = raw.decode("utf-8", "replace")
        if self._at_start:
            line = line.removeprefix("\ufeff")
            self._at_start = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self._comments.append(value)
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
                self._data_bytes += len(raw)
                if self._data_bytes > MAX_EVENT_BYTES:
                    raise StreamTooLong("event")
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= 18:
                self.retry_ms = int(value)
            case _:
                pass
        return None

    def _dispatch(self) -> Event | None:
        event, data = self._event, self._data
        self._event, self._data, self._data_bytes = "", [], 0
        self.last_event_id = self._id
        if not data:
            return None
        comments = tuple(self._comments)
        self._comments.clear()
        return Event(
            event=event or "message",
            data="\n".join(data),
            id=self.last_event_id,
            comments=comments,
        )
