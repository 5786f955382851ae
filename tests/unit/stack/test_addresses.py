"""Where the server listens: what is refused is said with its reason, before anything starts."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from stack.__main__ import main
from stack.errors import PortRefused
from stack.ports import free_port, is_free
from stack.settings import StackSettings


class Bound(socket.socket):
    """A socket whose bind only notes what it was asked."""

    asked: tuple[socket.AddressFamily, Any] | None = None

    def bind(self, address: Any) -> None:
        type(self).asked = (socket.AddressFamily(self.family), address)


def test_a_port_that_another_listener_has_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not is_free(taken.getsockname()[1])
    assert is_free(free_port())


def test_an_address_of_another_machine_is_not_called_taken() -> None:
    reason = os.strerror(errno.EADDRNOTAVAIL)

    with pytest.raises(PortRefused, match=f"port 3000 of 203.0.113.9: {reason}"):
        is_free(3000, "203.0.113.9")


def test_a_port_that_needs_root_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(_probe: socket.socket, _address: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Bound, "bind", bind)
    monkeypatch.setattr("stack.ports.socket.socket", Bound)

    with pytest.raises(PortRefused, match=f"port 80 of 127.0.0.1: {os.strerror(errno.EACCES)}"):
        is_free(80)


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("localhost", socket.AF_INET)],
)
def test_a_port_is_tried_in_the_family_that_the_server_binds(
    monkeypatch: pytest.MonkeyPatch, host: str, family: socket.AddressFamily
) -> None:
    monkeypatch.setattr("stack.ports.socket.socket", Bound)

    assert is_free(3000, host)
    assert Bound.asked == (family, (host, 3000))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::1", "http://[::1]:3000"),
        ("::", "http://[::1]:3000"),
    ],
)
def test_the_server_is_found_where_it_listens(host: str, url: str) -> None:
    assert StackSettings(data_dir=Path("data"), host=host).base_url == url


@pytest.mark.parametrize("port", ["abc", "99999", "-1"])
def test_invalid_port_is_reported_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: str,
) -> None:
    monkeypatch.setenv("SCOREBOARD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCOREBOARD_PORT", port)

    assert main(["up"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: SCOREBOARD_PORT must be a port number, 0 to 65535"
    ]


def test_up_names_mistyped_settings_beside_the_wrong_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCOREBOARD_MYSQL_URL", "nonsense")
    monkeypatch.setenv("SCOREBOARD_RATE_LIMT_COUNT", "5")

    assert main(["up"]) == 2

    said = capsys.readouterr().err
    assert "SCOREBOARD_MYSQL_URL must look like" in said
    assert "did you mean SCOREBOARD_RATE_LIMIT_COUNT?" in said
