"""A moment's look at a stream before any load: how it is framed, and what ids its start bears.

Not a listener: nothing is held against the server here.
"""

import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from harness.capabilities import FAR_FROM_SEQ, EventIds, Framing, StreamGzip
from harness.net.http_wire import BadAnswer, after_interim, header_of, status_of
from harness.net.sse_parser import Item, Kind, Span
from harness.net.stream_framing import GZIP, OWN_GZIP, Framer, decompressor_cost, framer_of

HEAD_S = 1.0
"""A server whose stream has no head by then sends it with the first event."""
MOMENT_S = 0.4
"""How long a stream is read after its head. What a server says at the start comes with the head."""
RECEIVE_BYTES = 65536


class StreamLook(msgspec.Struct, kw_only=True):
    """What a stream showed. `status` 0: no head within HEAD_S, and the connection open."""

    status: int = 0
    http: str = ""
    is_event_stream: bool = False
    location: str = ""
    framing: Framing = Framing.UNSEEN
    gzip: StreamGzip = StreamGzip.NONE
    items: list[Item] = []
    stamps: bool = False


def look_at_stream(
    connect: Callable[[], socket.socket], request: bytes, *, own_gzip: bool = False
) -> StreamLook:
    """Open a stream, read a moment, close it. Raises OSError, and ValueError for no HTTP.

    `own_gzip`: do not expect that each chunk of gzip can be read by itself.
    """
    with connect() as connection:
        connection.sendall(request)
        data = _head(connection)
        if not data:
            return StreamLook()
        head_end = data.find(b"\r\n\r\n")
        look = StreamLook(
            status=status_of(data),
            http=data[5:8].decode("ascii", "replace"),
            location=header_of(data, "location") or "",
            is_event_stream=(header_of(data, "content-type") or "")
            .lower()
            .startswith("text/event-stream"),
        )
        if look.status != 200 or not look.is_event_stream:
            return look
        framer = framer_of(data, own_gzip=own_gzip)
        if framer.chunked:
            look.framing = Framing.CHUNKED
        else:
            look.framing = Framing.CLOSE if framer.left < 0 else Framing.LENGTH
        if framer.coding & (GZIP | OWN_GZIP):
            own = framer.coding & OWN_GZIP
            look.gzip = StreamGzip.ORDINARY if own else StreamGzip.CHUNKS
        _read_start(connection, framer, data[head_end + 4 :], look)
    return look


def _head(connection: socket.socket) -> bytes:
    """The bytes up to a whole head; empty when none comes in time. Raises OSError, BadAnswer."""
    connection.settimeout(HEAD_S)
    data = b""
    while b"\r\n\r\n" not in (data := after_interim(data)):
        try:
            part = connection.recv(RECEIVE_BYTES)
        except TimeoutError:
            return b""
        if not part:
            raise BadAnswer("the connection was closed without an answer")
        data += part
        if len(data) > 4 * RECEIVE_BYTES:
            raise BadAnswer("no end of headers")
    return data


def _read_start(connection: socket.socket, framer: Framer, data: bytes, look: StreamLook) -> None:
    end = time.monotonic() + MOMENT_S
    try:
        while not framer.ended:
            for payload in framer.feed(data):
                span = Span(payload, 0)
                look.items += span.items
                look.stamps |= any(committed for committed, _, _ in span.groups)
            left = end - time.monotonic()
            if left <= 0 or _told(look):
                return
            connection.settimeout(left)
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                return
    except TimeoutError:
        return
    except ValueError:
        if look.gzip is not StreamGzip.CHUNKS:
            raise
        look.gzip = StreamGzip.ORDINARY


def _told(look: StreamLook) -> bool:
    """An event with an id shows all that a start can show."""
    return any(item.id >= 0 and item.kind is not Kind.HELLO for item in look.items)


def of_streams(
    plain: StreamLook, resumed: StreamLook | None, *, seq: int | None, gzip: bool
) -> dict[str, Any]:
    """The capabilities that two looks show: one from now on, one that resumed before `seq`."""
    shown: dict[str, Any] = {
        "early_head": plain.status != 0,
        "stream_http": plain.http,
        "stream_framing": plain.framing,
    }
    if gzip and plain.status:
        # Only the whole contract promises that every chunk can be read by itself.
        shared = seq is not None and plain.gzip is StreamGzip.CHUNKS
        packed = plain.gzip is not StreamGzip.NONE
        shown["stream_gzip"] = StreamGzip.ORDINARY if packed and not shared else plain.gzip
        if packed and not shared:
            shown["gzip_us_per_event"], shown["gzip_kib_per_listener"] = decompressor_cost()
    if seq is None:
        return shown
    items = [*plain.items, *(resumed.items if resumed else ())]
    ids = [item.id for item in items if item.id >= 0]
    if ids:
        counts_changes = all(abs(number - seq) <= FAR_FROM_SEQ for number in ids)
        shown["event_ids"] = EventIds.GAPLESS if counts_changes else EventIds.OPAQUE
    if any(item.kind in (Kind.RESET, Kind.SNAPSHOT) for item in items):
        shown["snapshots"] = True
    if resumed is not None and any(item.id >= 0 for item in resumed.items):
        shown["resumes"] = True
    if any(look is not None and look.stamps for look in (plain, resumed)):
        shown["commit_stamps"] = True
    return shown
