"""Reads the blocks of a score stream without building an object per listener. No I/O.

A broadcast gives thousands of listeners the same bytes, so a stretch of bytes is
read once, into a `Span`, and every further listener that receives equal bytes
only leaves its time there. Which bytes belong together is decided by HTTP
chunks and SSE blocks (`harness.net.stream_framing`), never by how the kernel happened to cut them.

Fields are read by the WHATWG event stream algorithm. An id is text: only a decimal one of at most
18 digits is a number besides, and nothing is ever allocated by its value.
"""

import re
from array import array
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import structs

from harness.capabilities import ID_BYTES_MAX
from harness.targets.answers import ReadEvent
from harness.targets.fields import user_and_score
from harness.targets.namesakes import Labels, id_in
from scoreboard.sse import Snapshot


class Reading(NamedTuple):
    """How events are read: by `read_event` where a server's are not as specified, and with the
    `labels` of players who share a name."""

    read_event: ReadEvent | None = None
    labels: Labels = MappingProxyType({})


AS_SPECIFIED = Reading()
SCORE_MAX = 1 << 62
NAME_CHARACTERS_MAX = 4096
QUOTED_BYTES = 200


class Kind(StrEnum):
    """Kinds of blocks in the stream."""

    UPDATE = "update"
    RESET = "reset"
    SNAPSHOT = "snapshot"
    HELLO = "hello"
    COMMENT = "comment"
    OTHER = "other"
    """An event of another type, which a client ignores."""
    BROKEN = "broken"


class Item(msgspec.Struct, frozen=True, gc=False):
    """One block. `id` is -1 where there is none, or none that is a number; `raw` is then the id as
    it was sent, b"" where it was reset, None without one. `retry_ms` comes with a hello. `user` of
    a broken event is its beginning, `top` of a reset that cannot be read is None.
    """

    kind: Kind
    id: int = -1
    user: str = ""
    score: int = 0
    retry_ms: int = -1
    top: Snapshot | None = None
    raw: bytes | None = None

    @property
    def last_event_id(self) -> bytes | None:
        """The id as it was sent; None for a block that leaves the last event id as it was."""
        return b"%d" % self.id if self.id >= 0 else self.raw


class Span:
    """A stretch of complete blocks, and when each listener received it.

    `first` and `last` are the ids of its updates when it is `plain`: updates
    with consecutive ids and nothing else but comments. `groups` are
    (committed_us, first id, count) runs; committed_us is 0 where the server
    did not say, the id -1 where there is none. `arrived` and `noticed` hold Unix ns,
    one per listener: when the kernel had the bytes, and when this process got round
    to reading them.
    """

    __slots__ = (
        "_last_event_id",
        "arrived",
        "born_ns",
        "first",
        "groups",
        "items",
        "keys",
        "last",
        "noticed",
        "payload",
        "plain",
    )

    def __init__(self, payload: bytes, born_ns: int, reading: Reading = AS_SPECIFIED) -> None:
        self.payload = payload
        self.born_ns = born_ns
        self.items: list[Item] = []
        self.groups: list[tuple[int, int, int]] = []
        self.keys: list[tuple[int, bytes, int]] = []
        self.arrived = array("q")
        self.noticed = array("q")
        self._last_event_id: bytes | None = NOT_SOUGHT
        _read_blocks(payload, self.items, self.groups, reading)
        updates = [item.id for item in self.items if item.kind is Kind.UPDATE]
        self.first = updates[0] if updates else -1
        self.last = updates[-1] if updates else -1
        self.plain = (
            self.first >= 0
            and updates == list(range(self.first, self.first + len(updates)))
            and all(item.kind in (Kind.UPDATE, Kind.COMMENT) for item in self.items)
        )

    @property
    def last_event_id(self) -> bytes | None:
        """The last event id that a client has after these blocks; None where they set none."""
        if self._last_event_id is NOT_SOUGHT:
            ids = (item.last_event_id for item in reversed(self.items))
            self._last_event_id = next((found for found in ids if found is not None), None)
        return self._last_event_id


NOT_SOUGHT = b"\0"
"""No id can hold it."""


class UpdateData(msgspec.Struct, frozen=True, gc=False):
    """Data of `event: update`; other members are ignored."""

    user: Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)]
    score: Annotated[int, msgspec.Meta(ge=-SCORE_MAX, le=SCORE_MAX)]


def _labelled(update: UpdateData, data: bytes, labels: Labels) -> str:
    """What its user is called where players share names."""
    user = id_in(_decode_any(data)) if labels else None
    return update.user if user is None else labels.get(user, update.user)


_UPDATE_BLOCK = re.compile(
    rb"(?:: committed (\d{1,18})\n)?id: ([1-9]\d{0,17})\nevent: update\ndata: ([^\n]*)\n\n"
)
_decode_update = msgspec.json.Decoder(UpdateData).decode
_decode_top = msgspec.json.Decoder(Snapshot).decode
_decode_any = msgspec.json.Decoder().decode


def _read_blocks(
    payload: bytes, items: list[Item], groups: list[tuple[int, int, int]], reading: Reading
) -> None:
    read_event, labels = reading
    position = 0
    committed = 0
    size = len(payload)
    match_at = _UPDATE_BLOCK.match
    run: list[int] = []

    def close_run() -> None:
        if run:
            groups.append((committed, run[0], len(run)))
            run.clear()

    while position < size:
        match = match_at(payload, position) if read_event is None else None
        if match is not None:
            stamp, number, data = match.groups()
            try:
                update = _decode_update(data)
            except ValueError:
                # Another spelling, or broken: read below.
                pass
            else:
                position = match.end()
                if stamp is not None:
                    close_run()
                    committed = int(stamp)
                seq = int(number)
                if run and seq != run[-1] + 1:
                    close_run()
                run.append(seq)
                user = _labelled(update, data, labels) if labels else update.user
                items.append(Item(Kind.UPDATE, seq, user, update.score))
                continue
        end = payload.find(b"\n\n", position)
        block = payload[position : size if end < 0 else end]
        position += len(block) + 2
        found = _read_block(block, reading)
        items += found
        if (stamp_in_block := _COMMITTED.search(block)) is not None:
            close_run()
            committed = int(stamp_in_block[1])
        for seq in (item.id for item in found if item.kind is Kind.UPDATE):
            if run and seq != run[-1] + 1 and not seq == run[-1] == -1:
                close_run()
            run.append(seq)
    close_run()


_COMMITTED = re.compile(rb"^: ?committed (\d{1,18})$", re.MULTILINE)
BARE_UPDATE = b"event: update\ndata: "
"""The beginning of an event as the specification writes it."""
_NUMBER = re.compile(rb"0|[1-9]\d{0,17}")


def _read_block(block: bytes, reading: Reading) -> list[Item]:
    if block.startswith(BARE_UPDATE) and b"\n" not in block[len(BARE_UPDATE) :]:
        return _read_event(b"update", block[len(BARE_UPDATE) :], -1, None, reading)
    event, retry = b"", -1
    raw: bytes | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            if b"\0" not in value and len(value) <= ID_BYTES_MAX:
                raw = value
        elif name == b"event":
            event = value
        elif name == b"data":
            data.append(value)
        elif name == b"retry" and value.isdigit():
            retry = int(value[:18])
    number = int(raw) if raw is not None and _NUMBER.fullmatch(raw) else -1
    if number >= 0:
        raw = None
    if not data:
        if number < 0 and raw is None and retry < 0:
            return [Item(Kind.COMMENT)]
        return [Item(Kind.HELLO, number, retry_ms=retry, raw=raw)]
    text = b"\n".join(data)
    found = _read_event(event, text, number, raw, reading)
    return [Item(Kind.HELLO, retry_ms=retry), *found] if retry >= 0 else found


def _read_event(
    event: bytes, text: bytes, number: int, raw: bytes | None, reading: Reading
) -> list[Item]:
    read_event, labels = reading
    if read_event is not None:
        try:
            rows = read_event(event.decode("utf-8", "replace") or "message", text)
        except ValueError:
            return [_broken(text, number, raw)]
        if rows:
            return [Item(Kind.UPDATE, number, user, score, raw=raw) for user, score in rows]
        return [Item(Kind.OTHER, number, raw=raw)]
    if event == b"update":
        return _read_update(text, number, raw, labels)
    if event in (b"reset", b"snapshot"):
        kind = Kind(event.decode())
        try:
            top = _decode_top(text)
        except ValueError:
            return [Item(kind, number, raw=raw)]
        bounded = 0 <= top.seq <= SCORE_MAX and all(abs(r.score) <= SCORE_MAX for r in top.scores)
        if labels:
            scores = [
                structs.replace(row, user=labels.get(row.user_id or 0, row.user))
                for row in top.scores
            ]
            top = structs.replace(top, scores=scores)
        return [Item(kind, number, top=top if bounded else None, raw=raw)]
    return [Item(Kind.OTHER, number, raw=raw)]


def _read_update(text: bytes, number: int, raw: bytes | None, labels: Labels) -> list[Item]:
    """The update of data in any spelling that JSON allows: 1510.0 is the number 1510, and so is
    the text "1510"."""
    try:
        update = _decode_update(text)
    except ValueError:
        try:
            user, score = user_and_score(_decode_any(text), ("user",), ("score",))
            update = msgspec.convert({"user": user, "score": score}, UpdateData)
        except ValueError:
            return [_broken(text, number, raw)]
    return [Item(Kind.UPDATE, number, _labelled(update, text, labels), update.score, raw=raw)]


def _broken(text: bytes, number: int, raw: bytes | None) -> Item:
    quoted = text[:QUOTED_BYTES].decode("utf-8", "replace")
    return Item(Kind.BROKEN, number, quoted, raw=raw)
