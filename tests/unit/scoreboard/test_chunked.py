"""Chunks are framed to the byte."""

from scoreboard.chunked import chunk


def test_a_chunk_says_its_size_in_hexadecimal() -> None:
    assert chunk(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
