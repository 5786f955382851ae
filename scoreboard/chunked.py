"""The chunked transfer coding (RFC 9112, section 7.1), to write it. Not to read it."""

LAST_CHUNK = b"0\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    """One chunk of a body. `payload` must not be empty: that would be the last one."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)
