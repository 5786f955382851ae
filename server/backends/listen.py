"""Listening sockets for the addresses of a setting: both address families, and Unix sockets."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

UNIX = "unix:"
ANY = "*"


def listen_addresses(value: str) -> str:
    """Check the setting: addresses separated by commas. Raises ValueError."""
    parts = [part.strip() for part in value.split(",")]
    paths = [part.removeprefix(UNIX) for part in parts if part.startswith(UNIX)]
    names = [part for part in parts if not part.startswith(UNIX)]
    if (
        len(set(parts)) != len(parts)
        or not all(path.startswith("/") for path in paths)
        or any(not name or "/" in name or " " in name for name in names)
    ):
        raise ValueError("must be addresses like 127.0.0.1, ::1, * or unix:/path, with commas")
    return ",".join(parts)


def bind(addresses: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Bound sockets, which do not listen yet: a listening one would already get connections.

    Port 0: any free port, the same for every address. `shared`: other processes may bind it too.
    Raises OSError.
    """
    bound: list[socket.socket] = []
    try:
        for address in addresses.split(","):
            if address.startswith(UNIX):
                bound.append(_unix(address.removeprefix(UNIX), shared=shared))
                continue
            for family, where in _resolved(address):
                made = _tcp(family, where, port, shared=shared)
                bound.append(made)
                port = made.getsockname()[1]
    except BaseException:
        for made in bound:
            made.close()
        raise
    return bound


def address_of(bound: list[socket.socket]) -> tuple[int, list[str]]:
    """The TCP port (0 without one), and all addresses as text for the log."""
    ports = [made.getsockname()[1] for made in bound if made.family != socket.AF_UNIX]
    names = [
        f"{UNIX}{made.getsockname()}"
        if made.family == socket.AF_UNIX
        else str(made.getsockname()[0])
        for made in bound
    ]
    return (ports[0] if ports else 0), names


def _resolved(address: str) -> Iterator[tuple[int, str]]:
    if address in (ANY, "::"):
        # One socket for both families where IPv6 is there.
        yield (socket.AF_INET6, "::") if _has_ipv6() else (socket.AF_INET, "0.0.0.0")
        return
    seen = set()
    for family, *_, where in socket.getaddrinfo(
        address.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        found = (int(family), str(where[0]))
        if found not in seen and (family != socket.AF_INET6 or _has_ipv6()):
            seen.add(found)
            yield found


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


def _tcp(family: int, where: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(where != "::"))
        made.bind((where, port))
    except BaseException:
        made.close()
        raise
    return made


def _unix(path: str, *, shared: bool) -> socket.socket:
    """A socket at a path, in place of one that a dead process has left.

    `shared`: in place of a living one too, which keeps the connections it has.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise FileExistsError(errno.EEXIST, "the path is no socket")
        if not shared and _answers(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        Path(path).unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(path)
        # Whoever may enter the folder may connect: a proxy has another user as a rule.
        Path(path).chmod(0o666)
    except BaseException:
        made.close()
        raise
    return made


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        try:
            made.connect(path)
        except OSError:
            return False
    return True
