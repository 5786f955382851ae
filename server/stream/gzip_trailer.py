"""The gzip trailer of each listener, although events are compressed once for a whole group. Pure.

A trailer needs the CRC and the length of everything that one listener was sent: what its group
shared while it was there, and what it was sent alone. Not the blocks: see `scoreboard.gzipped`.
"""

import struct
import zlib

from scoreboard.gzipped import LAST_BLOCK
from server.stream.crc import combine

_TRAILER = struct.Struct("<II")


class Check:
    """CRC and length of everything a group was sent, before and after the last payload.

    One count serves all listeners of the group: see `Ending`.
    """

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before = self.after = (0, 0)

    def add(self, payload: bytes) -> None:
        """Count the next payload."""
        self.before = crc, size = self.after
        self.after = zlib.crc32(payload, crc), size + len(payload)


class Ending:
    """The end of one listener's stream. `shared` costs two assignments, `own` a CRC."""

    __slots__ = ("_crc", "_first", "_last", "_size")

    def __init__(self) -> None:
        self._crc = self._size = 0
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)

    def shared(self, check: Check) -> None:
        """The listener was sent the last payload of its group."""
        if self._first is None:
            self._first = check.before
        self._last = check.after

    def own(self, payload: bytes) -> None:
        """The listener was sent a payload of its own."""
        self._settle()
        self._crc = zlib.crc32(payload, self._crc)
        self._size += len(payload)

    def blocks(self) -> bytes:
        """The last block, and the trailer."""
        self._settle()
        return LAST_BLOCK + _TRAILER.pack(self._crc, self._size & 0xFFFFFFFF)

    def _settle(self) -> None:
        """Count the group's payloads, from the group's CRC before and after them."""
        if self._first is None:
            return
        (crc_before, size_before), (crc_after, size_after) = self._first, self._last
        self._first = None
        size = size_after - size_before
        # A CRC is linear: two prefixes that differ by d end, after the same bytes, in CRCs that
        # differ by d times a factor of the length alone.
        self._crc = combine(self._crc ^ crc_before, crc_after, size)
        self._size += size
