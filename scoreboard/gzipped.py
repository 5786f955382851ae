"""gzip of a stream whose blocks many listeners share: every block can be decompressed on its own.

A listener gets the head, then blocks, then the trailer, which together are one gzip file
(RFC 1952) like any other. A block ends at a byte and looks back at nothing (RFC 1951), so that
equal blocks may follow different ones. Pure. Not a compressor: zlib is.
"""

import re
import struct
import zlib
from collections.abc import Iterable
from functools import cache

HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflate, no name, no time, unknown system."""

LEVEL = 1
"""A quarter of the time of zlib's usual 6, for events an eighth larger."""

SHORT_BYTES = 100
"""Up to here compression saves nothing: about one event."""

_STORED_MAX_BYTES = 0xFFFF
_LAST_BLOCK = b"\x03\0"
_LENGTHS = struct.Struct("<HH")
_TRAILER = struct.Struct("<II")
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_X_TO_THE_8TH = 1 << 23

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
        payload += inflate.decompress(_LAST_BLOCK)
    except zlib.error as error:
        if "too far back" in str(error):
            raise HasHistory("a block looks back at those before it") from None
        raise ValueError(f"not deflate: {error}") from None
    if not inflate.eof or inflate.unused_data:
        raise HasHistory("a block does not end at a byte")
    return payload, None


class Check:
    """CRC and length of all that a group was sent, as a value for each moment.

    Listeners that are sent the same need not each count it: see `Ending`.
    """

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before = self.after = (0, 0)

    def add(self, payload: bytes) -> None:
        """Count the next payload."""
        self.before = crc, size = self.after
        self.after = zlib.crc32(payload, crc), size + len(payload)


class Ending:
    """What a listener's trailer must say. `shared` costs two assignments, `own` a CRC."""

    __slots__ = ("_crc", "_first", "_last", "_size")

    def __init__(self) -> None:
        self._crc = self._size = 0
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)

    def shared(self, check: Check) -> None:
        """It was sent what its group was sent last."""
        if self._first is None:
            self._first = check.before
        self._last = check.after

    def own(self, payload: bytes) -> None:
        """It was sent a payload of its own."""
        self._settle()
        self._crc = zlib.crc32(payload, self._crc)
        self._size += len(payload)

    def blocks(self) -> bytes:
        """The last block, and the trailer."""
        self._settle()
        return _LAST_BLOCK + _TRAILER.pack(self._crc, self._size & 0xFFFFFFFF)

    def _settle(self) -> None:
        """Count what came with the group, from what the group's CRC was before and after it."""
        if self._first is None:
            return
        (crc_before, size_before), (crc_after, size_after) = self._first, self._last
        self._first = None
        size = size_after - size_before
        # A CRC is linear: how two beginnings differ decides how the ends do, whatever
        # the same bytes are that follow.
        self._crc = _times(_zeros(size), self._crc ^ crc_before) ^ crc_after
        self._size += size


def _times(one: int, other: int) -> int:
    """Product of two polynomials modulo the CRC's, bits reflected as in the CRC."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = (one << 1) & 0xFFFFFFFF
        other = (other >> 1) ^ _POLYNOMIAL if other & 1 else other >> 1
    return product


def _zeros(size: int) -> int:
    """What `size` bytes of zeros multiply a CRC with: x to the 8 * `size`."""
    power, byte = _ONE, 0
    while size:
        size, digit = divmod(size, 256)
        if digit:
            power = _times(_power(byte, digit), power)
        byte += 1
    return power


@cache
def _power(byte: int, digit: int) -> int:
    """x to the 8 * digit * 256 ** byte."""
    if digit > 1:
        return _times(_power(byte, 1), _power(byte, digit - 1))
    return _X_TO_THE_8TH if not byte else _times(_power(byte - 1, 255), _power(byte - 1, 1))
