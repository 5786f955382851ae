"""Shared and own blocks in any order form one gzip file with the right CRC and length."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from scoreboard.gzipped import HEAD, packed, stored
from server.stream.crc import combine
from server.stream.gzip_trailer import Check, Ending

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, count: unit * count, st.binary(max_size=40), st.integers(0, 4000)),
)
STEPS = st.lists(st.tuples(st.sampled_from(["shared", "own", "missed"]), PAYLOADS), max_size=12)


@given(before=st.lists(PAYLOADS, max_size=3), steps=STEPS)
def test_gzip_trailer_is_right_after_shared_and_missed_blocks(
    before: list[bytes], steps: list[tuple[str, bytes]]
) -> None:
    check, ending = Check(), Ending()
    for payload in before:
        check.add(payload)
    ending.own(b"hello")
    body, content = HEAD + stored(b"hello"), b"hello"

    for what, payload in steps:
        if what == "missed":
            # As the hub does: who missed something gets something of its own before it shares.
            check.add(payload)
            ending.own(b"reset")
            body, content = body + stored(b"reset"), content + b"reset"
            continue
        if what == "shared":
            check.add(payload)
            ending.shared(check)
            body += packed(payload)
        else:
            ending.own(payload)
            body += stored(payload)
        content += payload

    assert gzip.decompress(body + ending.blocks()) == content


@given(first=PAYLOADS, second=PAYLOADS)
def test_combined_crc_is_that_of_the_concatenation(first: bytes, second: bytes) -> None:
    found = combine(zlib.crc32(first), zlib.crc32(second), len(second))

    assert found == zlib.crc32(first + second)


def test_combined_crc_of_long_strings() -> None:
    """Lengths of several bytes, each with a digit of its own."""
    first, second = b"a" * 1000, b"b" * 0x1020304

    found = combine(zlib.crc32(first), zlib.crc32(second), len(second))

    assert found == zlib.crc32(second, zlib.crc32(first))
