"""Reads the bytes of a score stream without building an object per listener. No I/O.

A broadcast gives thousands of listeners the same bytes, so a stretch of bytes is
read once, into a `Span`, and every further listener that receives equal bytes
only leaves its time there. Which bytes belong together is decided by HTTP
chunks and SSE blocks, never by how the kernel happened to cut them.

Line ends LF and CRLF are read, a lone CR is not.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from harness.net.http_wire import CHUNK_BYTES_MAX, chunk_at, header_of
from scoreboard.gzipped import unpacked, without_head
from scoreboard.sse import Snapshot, UpdateData


class Kind(StrEnum):
    """Kinds of blocks in the stream."""

    UPDATE = "update"
    RESET = "reset"
    SNAPSHOT = "snapshot"
    HELLO = "hello"
    COMMENT = "comment"
    BROKEN = "broken"


class Item(msgspec.Struct, frozen=True, gc=False):
    """One block. `id` is -1 where there is none; `retry_ms` comes with a hello."""

    kind: Kind
    id: int = -1
    user: str = ""
    score: int = 0
    retry_ms: int = -1
    top: Snapshot | None = None


ReadEvent = Callable[[str, bytes], list[tuple[str, int]] | None]
"""Users and scores, of an event's name and data; None for an event that shows none. A ValueError
is a broken event."""


class Span:
    """A stretch of complete blocks, and when each listener received it.

    `first` and `last` are the ids of its updates when it is `plain`: updates
    with consecutive ids and nothing else but comments. `groups` are
    (committed_us, first id, count) runs; committed_us is 0 where the server
    did not say. `arrived` and `noticed` hold Unix ns, one per listener: when the
    kernel had the bytes, and when this process got round to reading them.
    """

    __slots__ = (
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

    def __init__(self, payload: bytes, born_ns: int, read_event: ReadEvent | None = None) -> None:
        self.payload = payload
        self.born_ns = born_ns
        self.items: list[Item] = []
        self.groups: list[tuple[int, int, int]] = []
        self.keys: list[tuple[int, bytes, int]] = []
        self.arrived = array("q")
        self.noticed = array("q")
        _read_blocks(payload, self.items, self.groups, read_event)
        updates = [item.id for item in self.items if item.kind is Kind.UPDATE]
        self.first = updates[0] if updates else -1
        self.last = updates[-1] if updates else -1
        self.plain = (
            bool(updates)
            and updates == list(range(self.first, self.first + len(updates)))
            and all(item.kind in (Kind.UPDATE, Kind.COMMENT) for item in self.items)
        )


_UPDATE_BLOCK = re.compile(
    rb"(?:: committed (\d{1,18})\n)?id: (\d{1,18})\nevent: update\ndata: ([^\n]*)\n\n"
)
_decode_update = msgspec.json.Decoder(UpdateData).decode
_decode_top = msgspec.json.Decoder(Snapshot).decode


def _read_blocks(
    payload: bytes,
    items: list[Item],
    groups: list[tuple[int, int, int]],
    read_event: ReadEvent | None = None,
) -> None:
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
        match = None if read_event else match_at(payload, position)
        if match is not None:
            position = match.end()
            stamp, number, data = match.groups()
            if stamp is not None:
                close_run()
                committed = int(stamp)
            try:
                update = _decode_update(data)
            except ValueError:
                items.append(Item(Kind.BROKEN, int(number)))
                continue
            seq = int(number)
            if run and seq != run[-1] + 1:
                close_run()
            run.append(seq)
            items.append(Item(Kind.UPDATE, seq, update.user, update.score))
            continue
        end = payload.find(b"\n\n", position)
        end = size if end < 0 else end
        block = payload[position:end]
        position = end + 2
        stamp_in_block = _COMMITTED.search(block)
        if stamp_in_block:
            close_run()
            committed = int(stamp_in_block[1])
        for item in _read_block(block, read_event):
            if item.kind is Kind.UPDATE:
                if run and item.id != run[-1] + 1:
                    close_run()
                run.append(item.id)
            items.append(item)
    close_run()


_COMMITTED = re.compile(rb"^: ?committed (\d{1,18})$", re.MULTILINE)


def _read_block(block: bytes, read_event: ReadEvent | None) -> list[Item]:
    event, number, retry = b"", -1, -1
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id" and value.isdigit():
            number = int(value)
        elif name == b"event":
            event = value
        elif name == b"data":
            data.append(value)
        elif name == b"retry" and value.isdigit():
            retry = int(value)
    if not data:
        if number < 0 and retry < 0:
            return [Item(Kind.COMMENT)]
        return [Item(Kind.HELLO, number, retry_ms=retry)]
    text = b"\n".join(data)
    try:
        if read_event is not None:
            rows = read_event(event.decode("utf-8", "replace"), text)
            return [Item(Kind.UPDATE, number, *row) for row in rows or ()]
        if event == b"update" and number >= 0:
            update = _decode_update(text)
            return [Item(Kind.UPDATE, number, update.user, update.score)]
        if event in (b"reset", b"snapshot"):
            return [Item(Kind(event.decode()), number, top=_decode_top(text))]
    except ValueError:
        pass
    return [Item(Kind.BROKEN, number)]


class Framer:
    """Cuts a listener's bytes into payloads of whole blocks. Exists only while something is left.

    `feed` keeps an incomplete chunk or block until the rest comes. Holds at
    most `MAX_KEPT` bytes; more without an end of block is a broken stream.

    With `gzip`, the content of each HTTP chunk must be readable without those before it
    (`scoreboard.gzipped`); `begins` at the start of such a stream.
    """

    MAX_KEPT = CHUNK_BYTES_MAX

    __slots__ = ("begins", "block", "chunked", "ended", "gzip", "over", "raw")

    def __init__(self, *, chunked: bool = True, gzip: bool = False, begins: bool = False) -> None:
        self.chunked = chunked
        self.gzip = gzip
        self.begins = begins
        self.raw = b""
        self.block = b""
        self.ended = False
        # `over`: the gzip file has ended; the last HTTP chunk may still follow.
        self.over = False

    @property
    def empty(self) -> bool:
        """No state is kept between reads, so equal bytes mean equal content."""
        kept = self.raw or self.block or self.begins or self.over or self.ended
        return self.chunked and not kept

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Payloads that end where a block ends, in order. Raises ValueError on bad framing."""
        for payload in self._payloads(data):
            text = self.block + (self._unpacked(payload) if self.gzip else payload)
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n")
            end = text.rfind(b"\n\n")
            if end < 0:
                self.block = text
            else:
                self.block = text[end + 2 :]
                yield text[: end + 2]
            if len(self.block) > self.MAX_KEPT:
                raise ValueError("no end of a block in 4 MiB")

    def _unpacked(self, payload: bytes) -> bytes:
        if self.over:
            return b""
        if self.begins:
            payload = without_head(payload)
            self.begins = False
        text, trailer = unpacked(payload, self.MAX_KEPT)
        self.over = trailer is not None
        return text

    def _payloads(self, data: bytes) -> Iterator[bytes]:
        if not self.chunked:
            yield data
            return
        raw = self.raw + data if self.raw else data
        position = 0
        while not self.ended and (chunk := chunk_at(raw, position)) is not None:
            start, end = chunk
            position = end + 2
            if start == end:
                self.ended = True
            else:
                yield raw[start:end]
        self.raw = raw[position:]


def framer_of(answer: bytes) -> Framer:
    """The framer for a stream with this response head. Raises ValueError for an unknown coding."""
    chunked = (header_of(answer, "transfer-encoding") or "").lower() == "chunked"
    coding = (header_of(answer, "content-encoding") or "identity").lower()
    if coding == "identity":
        return Framer(chunked=chunked)
    if coding == "gzip" and chunked:
        return Framer(gzip=True, begins=True)
    raise ValueError(f"content-encoding {coding}" + ("" if chunked else " without chunks"))
