"""Engines reach a server by whichever address of its name it listens at."""

import errno
import socket
from typing import Any

import pytest

from harness.net.sockets import resolve

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


@pytest.mark.parametrize(
    ("listens", "reached"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("", "127.0.0.1")]
)
def test_name_of_both_families_is_reached_where_the_server_listens(
    listens: str, reached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def addresses(_host: str, port: int, **_: Any) -> list[Any]:
        return [
            (FAMILIES[host], socket.SOCK_STREAM, 6, "", (host, port))
            for host in ("::1", "127.0.0.1")
        ]

    class Tried:
        """A connection that only the address that listens accepts."""

        def __init__(self, *_: Any) -> None: ...
        def __enter__(self) -> "Tried":
            return self

        def __exit__(self, *_: object) -> None: ...
        def settimeout(self, _: float) -> None: ...
        def connect_ex(self, target: tuple[str, int]) -> int:
            return 0 if target[0] == listens else errno.ECONNREFUSED

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    monkeypatch.setattr(socket, "socket", Tried)

    assert resolve(("name", 80)) == (FAMILIES[reached], (reached, 80))
