"""Shared blocks in any company make one gzip file, and what cannot be shared is found out."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard.gzipped import (
    HEAD,
    HasHistory,
    accepts_gzip,
    packed,
    stored,
    unpacked,
    without_head,
)
from server.stream.gzip_trailer import Ending

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, count: unit * count, st.binary(max_size=40), st.integers(0, 4000)),
)


@given(PAYLOADS)
def test_block_decompresses_on_its_own(payload: bytes) -> None:
    assert unpacked(packed(payload), 1 << 20) == (payload, None)
    assert unpacked(stored(payload) + packed(payload), 1 << 20) == (payload * 2, None)


def test_the_end_of_a_stream_is_noticed() -> None:
    ending = Ending()
    ending.own(b"hello")
    end = ending.blocks()

    assert unpacked(stored(b"hello") + end, 1 << 20) == (b"hello", end[2:])


def test_a_block_that_looks_back_is_refused() -> None:
    events = b"id: 17\nevent: update\n" * 40
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = deflate.compress(events) + deflate.flush(zlib.Z_SYNC_FLUSH)
    second = deflate.compress(events) + deflate.flush(zlib.Z_SYNC_FLUSH)

    assert unpacked(first, 1 << 20) == (events, None)
    with pytest.raises(HasHistory):
        unpacked(second, 1 << 20)


def test_a_block_that_is_cut_or_does_not_end_at_a_byte_is_refused() -> None:
    with pytest.raises(HasHistory):
        unpacked(packed(b"a" * 1000)[:-4], 1 << 20)
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    with pytest.raises(HasHistory):
        unpacked(deflate.compress(b"abc") + deflate.flush(zlib.Z_PARTIAL_FLUSH)[:-1], 1 << 20)


def test_gzip_bombs_and_invalid_deflate_are_errors() -> None:
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        unpacked(packed(b"a" * 100_000), 1000)
    with pytest.raises(ValueError, match="not deflate"):
        unpacked(b"\xff\xff\xff", 1000)


def test_a_head_is_taken_off_and_anything_else_is_an_error() -> None:
    assert without_head(HEAD + b"rest") == b"rest"
    for data in (b"", HEAD[:5], b"id: 1\nevent: update\n", b"\x1f\x8b\x08\x08" + HEAD[4:]):
        with pytest.raises(ValueError, match="no gzip head"):
            without_head(data)


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        (["gzip, deflate, br, zstd"], True),
        (["deflate", "br, GZip;q=0.5"], True),
        (["x-gzip"], True),
        ([], False),
        (["identity"], False),
        (["*"], False),
        (["gzip;q=0"], False),
        (["gzip; q=0.000, br"], False),
        (["gzip;q=1.2.3"], False),
        (["notgzip, gzipped"], False),
    ],
)
def test_gzip_is_used_only_when_accept_encoding_names_it(fields: list[str], accepted: bool) -> None:
    assert accepts_gzip(fields) is accepted
