"""Server-Sent Events, both directions: bytes of an event, and events of a byte stream.

Follows the WHATWG HTML standard, section 9.2. Not a client: it neither
connects nor reconnects.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from scoreboard.domain import Change, Standing

RETRY_MS = 2000
HEARTBEAT = b":\n\n"
UPDATE = "update"
RESET = "reset"
SNAPSHOT = "snapshot"
MAX_EVENT_ID = 2**63 - 1

_json = msgspec.json.Encoder()


class Update(msgspec.Struct, frozen=True, gc=False):
    """Data of `event: update`."""

    user: str
    score: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `event: reset` and `event: snapshot`: the top of the board at exactly `seq`."""

    seq: int
    scores: Sequence[Standing]


def encode_hello(cursor: int) -> bytes:
    """First block of a stream: where it stands, and how soon to come back.

    It has no data, so no event is dispatched; it only sets the last event id,
    and a listener that loses its connection before the first event misses none.
    """
    return b"retry: %d\nid: %d\n\n" % (RETRY_MS, cursor)


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
            % (change.seq, _json.encode(Update(change.name, change.score)))
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

    `comments` are the comment lines since the previous event, without the colon.
    """

    event: str
    data: str
    id: str
    comments: tuple[str, ...] = ()


class Decoder:
    """Turns the bytes of a stream into events, wherever the chunks were cut.

    `last_event_id` and `retry_ms` hold what the stream has set so far. A block
    without data dispatches nothing, as the standard says.
    """

    def __init__(self, *, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._pending = b""
        self._after_cr = False
        self._at_start = True
        self._event = ""
        self._data: list[str] = []
        self._comments: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Events that `chunk` completes, in order."""
        if self._after_cr and chunk:
            # A CR ended the last line; an LF right after belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        *lines, self._pending = self._split(self._pending + chunk)
        for line in lines:
            event = self._line(line)
            if event is not None:
                yield event

    def _split(self, text: bytes) -> list[bytes]:
        if b"\r" in text:
            self._after_cr = text.endswith(b"\r")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return text.split(b"\n")

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
            case "id" if "\0" not in value:
                self.last_event_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)
            case _:
                pass
        return None

    def _dispatch(self) -> Event | None:
        event, data, comments = self._event, self._data, self._comments
        self._event, self._data = "", []
        if not data:
            return None
        self._comments = []
        return Event(
            event=event or "message",
            data="\n".join(data),
            id=self.last_event_id,
            comments=tuple(comments),
        )
