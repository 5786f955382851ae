"""Cuts the bytes of a stream's body into whole blocks of lines that end in LF. No I/O.

HTTP framing (RFC 9112: chunks, a length, or until the connection closes), gzip (RFC 1952) and the
line ends of the WHATWG event stream: LF, CRLF and CR, also mixed. What the blocks say is
`harness.net.sse_parser`.
"""

import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness.net.http_wire import CHUNK_BYTES_MAX, chunk_at, header_of, status_of
from scoreboard.gzipped import unpacked, without_head

UNCHUNKED, GZIP, OWN_GZIP = 1, 2, 4
"""Bits of a stream's coding: no HTTP chunks; gzip of which every chunk can be read by itself; gzip
that needs a decompressor for each listener. Listeners of equal coding can share what they read."""
BOM = b"\xef\xbb\xbf"
PIECES_MAX = 64
COST_EVENTS, COST_LISTENERS = 1100, 64
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


HEAD_BYTES_MAX = 65536


class Framer:
    """Cuts a listener's bytes into payloads of whole blocks. Exists only while something is left.

    `feed` keeps an incomplete chunk or block until the rest comes. Holds at
    most `MAX_KEPT` bytes; more without an end of block is a broken stream. A block that is
    unfinished when the stream ends is no event.

    With `GZIP` the content of each HTTP chunk must be readable without those before it
    (`scoreboard.gzipped`); with `OWN_GZIP` it is any gzip. `begins` at the start of a stream,
    where gzip's head or a byte order mark may stand; `length` is the body's, where the head told.
    """

    MAX_KEPT = CHUNK_BYTES_MAX

    __slots__ = (
        "after_cr",
        "begins",
        "block",
        "coding",
        "ended",
        "inflate",
        "left",
        "over",
        "raw",
        "start",
    )

    def __init__(self, coding: int = 0, *, begins: bool = False, length: int = -1) -> None:
        self.coding = coding
        self.begins = begins and bool(coding & GZIP)
        self.start = begins
        self.after_cr = False
        self.inflate = zlib.decompressobj(_GZIP_WINDOW) if coding & OWN_GZIP else None
        self.left = length
        self.raw = b""
        # Pieces of an unfinished block, joined at its end.
        self.block: tuple[bytes, ...] = ()
        self.ended = length == 0
        # `over`: the gzip file has ended; the last HTTP chunk may still follow.
        self.over = False

    @property
    def chunked(self) -> bool:
        """The body comes in HTTP chunks."""
        return not self.coding & UNCHUNKED

    @property
    def empty(self) -> bool:
        """No state is kept between reads, so equal bytes mean equal content."""
        kept = self.raw or self.block or self.start or self.after_cr or self.over or self.ended
        return not kept and self.inflate is None and self.left < 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Payloads that end where a block ends, in order. Raises ValueError on bad framing."""
        for payload in self._payloads(data):
            fresh = self._unpacked(payload) if self.coding > UNCHUNKED else payload
            if self.start:
                fresh = self._begun(fresh)
            if self.after_cr or b"\r" in fresh:
                fresh = self._in_lf(fresh)
            if self.block:
                fresh = self._joined(fresh)
            end = fresh.rfind(b"\n\n")
            if end + 2 == len(fresh) and end >= 0:
                yield fresh
            elif end < 0:
                self._keep(fresh)
            else:
                self._keep(fresh[end + 2 :])
                yield fresh[: end + 2]

    def _joined(self, fresh: bytes) -> bytes:
        """The unfinished block with what follows; nothing, and all kept, while it has no end."""
        if b"\n\n" not in self.block[-1][-1:] + fresh:
            self._keep(fresh)
            return b""
        text = b"".join((*self.block, fresh))
        self.block = ()
        return text

    def _keep(self, text: bytes) -> None:
        if not text:
            return
        self.block = (*self.block, text)
        if len(self.block) > PIECES_MAX:
            self.block = (b"".join(self.block),)
        if sum(map(len, self.block)) > self.MAX_KEPT:
            raise ValueError("no end of a block in 4 MiB")

    def _begun(self, text: bytes) -> bytes:
        """The text without a byte order mark at the start of the stream; nothing while unknown."""
        text = b"".join((*self.block, text))
        self.block = ()
        if BOM.startswith(text) and text != BOM:
            # It may still become a whole one.
            self._keep(text)
            return b""
        self.start = False
        return text.removeprefix(BOM)

    def _in_lf(self, text: bytes) -> bytes:
        """The text with every line end as LF. A CR ends its line, whether or not an LF follows."""
        if not text:
            return text
        if self.after_cr:
            text = text.removeprefix(b"\n")
        self.after_cr = text.endswith(b"\r") or (self.after_cr and not text)
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _unpacked(self, payload: bytes) -> bytes:
        if self.inflate is not None:
            return self._inflated(payload)
        if self.over:
            return b""
        if self.begins:
            payload = without_head(payload)
            self.begins = False
        text, trailer = unpacked(payload, self.MAX_KEPT)
        self.over = trailer is not None
        return text

    def _inflated(self, data: bytes) -> bytes:
        """The text of gzip data, which may be of several gzip files one after the other."""
        parts = []
        kept = 0
        assert self.inflate is not None
        while data:
            if self.inflate.eof:
                self.inflate = zlib.decompressobj(_GZIP_WINDOW)
            try:
                part = self.inflate.decompress(data, self.MAX_KEPT + 1 - kept)
            except zlib.error as error:
                raise ValueError(f"not gzip: {error}") from None
            kept += len(part)
            if kept > self.MAX_KEPT or self.inflate.unconsumed_tail:
                raise ValueError("more than 4 MiB of gzip in one read")
            parts.append(part)
            data = self.inflate.unused_data
        return b"".join(parts)

    def _payloads(self, data: bytes) -> Iterator[bytes]:
        if self.coding & UNCHUNKED:
            if self.left >= 0:
                data = data[: self.left]
                self.left -= len(data)
                self.ended = self.left == 0
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


def head_of(data: bytes, *, own_gzip: bool) -> "tuple[int, Framer | None, bytes] | None":
    """Status, the framer of a 200, and what follows the head; None until the head is whole.

    Raises ValueError for an answer that cannot be read.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEAD_BYTES_MAX:
            raise ValueError("no end of headers in 64 KiB")
        return None
    status = status_of(data)
    framer = framer_of(data, own_gzip=own_gzip) if status == 200 else None
    return status, framer, data[end + 4 :]


def framer_of(answer: bytes, *, own_gzip: bool = False) -> Framer:
    """The framer for a stream with this response head. Raises ValueError for an unknown coding.

    `own_gzip`: chunks of gzip cannot be read by themselves.
    """
    transfer = (header_of(answer, "transfer-encoding") or "").lower()
    if transfer not in ("", "chunked", "identity"):
        raise ValueError(f"transfer-encoding {transfer}")
    coding = 0 if transfer == "chunked" else UNCHUNKED
    length = header_of(answer, "content-length") if coding else None
    content = (header_of(answer, "content-encoding") or "identity").lower()
    if content in ("gzip", "x-gzip"):
        coding |= OWN_GZIP if own_gzip or coding else GZIP
    elif content != "identity":
        raise ValueError(f"content-encoding {content}")
    bounded = length is not None and length.isdigit() and len(length) < 19
    return Framer(coding, begins=True, length=int(length) if length and bounded else -1)


def decompressor_cost() -> tuple[float, float]:
    """What a decompressor for each listener costs here: µs an event, KiB a listener. About 5 ms."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW)
    events = [
        deflate.compress(b'event: update\ndata: {"user":"User%05d","score":%d}\n\n' % (n, 37 * n))
        + deflate.flush(zlib.Z_SYNC_FLUSH)
        for n in range(COST_EVENTS)
    ]
    before = _resident_pages()
    framers = [Framer(OWN_GZIP | UNCHUNKED) for _ in range(COST_LISTENERS)]
    for framer in framers:
        list(framer.feed(b"".join(events[:100])))
    kib = (_resident_pages() - before) * os.sysconf("SC_PAGE_SIZE") / 1024 / COST_LISTENERS
    began = time.thread_time_ns()
    for event in events[100:]:
        list(framers[0].feed(event))
    return (time.thread_time_ns() - began) / 1000 / (COST_EVENTS - 100), max(0.0, kib)


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1])
