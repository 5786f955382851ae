"""Names of submissions and batches: 16 bytes, shown as UUIDs. Not who may use them."""

import hashlib
import uuid


def keyed_submission_id(principal: str, idempotency_key: str) -> bytes:
    """The id that a client's own key names: the same for the same principal and key.

    A UUID of version 8 (RFC 9562, section 5.8) over 122 bits of BLAKE2b, so two
    different keys share an id with a chance of about 2**-61 per pair of 2**30 keys.
    """
    size = len(principal.encode()).to_bytes(2, "big")
    digest = hashlib.blake2b(
        size + principal.encode() + idempotency_key.encode(), digest_size=16, person=b"submission"
    ).digest()
    return _stamped(digest, version=8)


def time_ordered_id(now_ms: int, random_bytes: bytes) -> bytes:
    """A UUID of version 7 (RFC 9562, section 5.7): sorts by time, so inserts stay local.

    `random_bytes` must hold at least 10 bytes.
    """
    assert len(random_bytes) >= 10
    return _stamped(now_ms.to_bytes(6, "big") + random_bytes[:10], version=7)


def text(identifier: bytes) -> str:
    """The UUID in its usual form of 36 characters."""
    # A fifth of the time that uuid.UUID takes; each answer has two of them.
    digits = identifier.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse(value: str) -> bytes:
    """The 16 bytes of a UUID in its usual form, either case. Raises ValueError on anything else."""
    parsed = uuid.UUID(value)
    # UUID() also takes braces, "urn:uuid:", underscores and digits of other scripts.
    if str(parsed) != value.lower():
        raise ValueError("not a UUID in its usual form")
    return parsed.bytes


def _stamped(raw: bytes, *, version: int) -> bytes:
    marked = bytearray(raw)
    marked[6] = (marked[6] & 0x0F) | (version << 4)
    marked[8] = (marked[8] & 0x3F) | 0x80
    return bytes(marked)
