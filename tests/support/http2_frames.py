"""HTTP/2 by hand, for requests that no library would send (RFC 9113).

Header fields go out as literals without compression, so any byte can stand in them.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = Sequence[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Section 4.1."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def block(fields: Fields) -> bytes:
    """Header fields, each a literal without indexing (RFC 7541, section 6.2.2)."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, digits = len(text) - 127, b""
    while rest >= 128:
        digits += bytes((rest % 128 + 128,))
        rest //= 128
    return b"\x7f" + digits + bytes((rest,)) + text


async def exchange(
    port: int, fields: Fields, body: bytes = b"", *, patience_s: float = 2.0
) -> tuple[bytes, set[int]]:
    """The data that comes back for one request, and the kinds of frames that came.

    Ends with the stream or the connection, else when patience does: some requests get no answer.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    data, kinds = b"", set()
    with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        writer.write(frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), 1, block(fields)))
        if body:
            writer.write(frame(DATA, END_STREAM, 1, body))
        async with asyncio.timeout(patience_s):
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                kinds.add(kind)
                if kind == SETTINGS and not flags & ACK:
                    writer.write(frame(SETTINGS, ACK, 0))
                if kind == DATA:
                    data += payload
                ended = kind in (DATA, HEADERS) and flags & END_STREAM
                if ended or kind in (RST_STREAM, GOAWAY):
                    break
    # An orderly end of TLS waits for the other side, which may wait for the rest of a request.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return data, kinds
