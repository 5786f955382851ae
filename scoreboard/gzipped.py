"""gzip of a stream whose blocks many listeners share: every block can be decompressed on its own.

A listener gets the head, then blocks, then the trailer, which together are one gzip file
(RFC 1952) like any other. A block ends at a byte and looks back at nothing (RFC 1951), so that
equal blocks may follow different ones. Pure. Not a compressor: zlib is. The trailer of a
listener is computed in `server.stream.gzip_trailer`.
"""

import re
import struct
import zlib
from collections.abc import Iterable

HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflate, no name, no time, unknown system."""

LEVEL = 1
"""A quarter of the time of zlib's usual 6, for events an eighth larger."""

SHORT_BYTES = 100
"""Up to here compression saves nothing: about one event."""

LAST_BLOCK = b"\x03\0"
"""An empty final block."""

_STORED_MAX_BYTES = 0xFFFF
_LENGTHS = struct.Struct("<HH")

_CODING = re.compile(r"\s*(?:x-)?gzip\s*(?:;\s*q\s*=\s*(?P<weight>[0-9.]+)\s*)?", re.IGNORECASE)


class HasHistory(ValueError):
    """A block looks back at earlier ones, or does not end at a byte: it cannot be shared."""


def accepts_gzip(fields: Iterable[str]) -> bool:
    """Whether Accept-Encoding fields name gzip (RFC 9110, section 12.5.3); `*` does not."""
    codings = (_CODING.fullmatch(part) for field in fields for part in field.split(","))
    return any(match is not None and _weight(match["weight"]) > 0 for match in codings)


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def packed(payload: bytes) -> bytes:
    """A compressed block."""
    if len(payload) <= SHORT_BYTES:
        return stored(payload)
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)


def stored(payload: bytes) -> bytes:
    """A block as it is, at the cost of a copy: for what only one listener gets."""
    size = len(payload)
    if size <= _STORED_MAX_BYTES:
        return b"\0" + _LENGTHS.pack(size, size ^ 0xFFFF) + payload
    return b"".join(
        stored(payload[start : start + _STORED_MAX_BYTES])
        for start in range(0, size, _STORED_MAX_BYTES)
    )


def without_head(data: bytes) -> bytes:
    """What follows the head at a stream's beginning. Raises ValueError for none, or a long one.

    Not for heads with a file's name or other fields, which no server sends.
    """
    if data[:4] != HEAD[:4] or len(data) < len(HEAD):
        raise ValueError("no gzip head")
    return data[len(HEAD) :]


def unpacked(block: bytes, max_bytes: int) -> tuple[bytes, bytes | None]:
    """The content of whole blocks, and the trailer if they were the last, else None.

    Raises HasHistory, and ValueError for more than `max_bytes` or what is not deflate.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = inflate.decompress(block, max_bytes)
        if len(payload) == max_bytes and inflate.unconsumed_tail:
            raise ValueError(f"a block of more than {max_bytes} bytes")
        if inflate.eof:
            return payload, inflate.unused_data
        # Only where a block may begin does the last one end the stream, with nothing left over.
        payload += inflate.decompress(LAST_BLOCK)
    except zlib.error as error:
        if "too far back" in str(error):
            raise HasHistory("a block looks back at those before it") from None
        raise ValueError(f"not deflate: {error}") from None
    if not inflate.eof or inflate.unused_data:
        raise HasHistory("a block does not end at a byte")
    return payload, None
