"""zlib's `crc32_combine`, which Python's `zlib` does not offer. Pure.

The CRC of two concatenated strings from the CRC of each and the length of the second: polynomial
arithmetic over GF(2), as in zlib's crc32.c (`multmodp`, `x2nmodp`). Delete this module once every
supported Python has `zlib.crc32_combine`.
"""

from functools import cache

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_X_TO_THE_8TH = 1 << 23


def combine(first: int, second: int, second_bytes: int) -> int:
    """The CRC-32 of A + B from those of A and B and the length of B; a few microseconds."""
    return _times(_zeros(second_bytes), first) ^ second


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
    """The factor by which `size` zero bytes multiply a CRC: x to the 8 * `size`."""
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
