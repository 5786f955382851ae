"""Versions below which a library has a known hole that the code here relies on being closed."""

from importlib.metadata import version

import pytest

FLOORS = {
    # Accepted tokens that RFC 8725 refuses: CVE-2026-32597, CVE-2026-48523.
    "PyJWT": (2, 15, 1),
    # Requests smuggled in trailers; header injection.
    "sanic": (25, 12, 1),
    # A server could read the client's files with LOCAL INFILE.
    "aiomysql": (0, 3, 0),
}


@pytest.mark.parametrize("name", FLOORS)
def test_no_library_is_older_than_its_last_known_hole(name: str) -> None:
    installed = tuple(int(part) for part in version(name).split(".")[:3])

    assert installed >= FLOORS[name]
