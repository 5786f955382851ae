"""The client address that connection limits count. Pure but for one line in the log.

Behind proxies the socket's other end is a proxy. `X-Forwarded-For` (with or without ports and
brackets, as balancers write it) or `Forwarded` (RFC 7239) names the client; which of the two the
proxies write is a setting, since a client may send the other one.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

import structlog

log = structlog.get_logger()

IPV6_PREFIX = 64
"""One customer's network: its addresses are free, so they count as one."""

FORWARDED = "forwarded"
X_FORWARDED_FOR = "x-forwarded-for"

_V4_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[^\]]*)?\](?::[0-9]{1,5})?")
_PAIR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"[^\"\\]*\")"
_ELEMENT = rf"[ \t]*(?:{_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*)?[ \t]*"
# The whole list: a quote that a client left open would swallow what a proxy added.
_ELEMENTS = re.compile(rf"{_ELEMENT}(?:,{_ELEMENT})*")
_SPLIT = re.compile(r"(?:[^,\"]|\"[^\"]*\")+")
_FOR = re.compile(r"(?:^|;)[ \t]*for=\"?([^;\" \t]+)", re.IGNORECASE)


class Proxies:
    """Our own `count` proxies in front; each adds an entry to `header`."""

    def __init__(self, count: int, *, header: str) -> None:
        self._count = count
        self._header = header
        self._told = False

    def client_address(self, peer: str, headers: Any) -> str:
        """The address that a connection counts for; `headers` are those of a request."""
        return self._client(peer, headers)[0]

    def foreign_address(self, peer: str, headers: Any) -> str | None:
        """The same; None for a connection of this machine itself whose client nobody names.

        Such a connection is a test's, or that of a proxy which speaks for everybody.
        """
        counted, told = self._client(peer, headers)
        return counted if told or not _is_own(peer) else None

    def _client(self, peer: str, headers: Any) -> tuple[str, bool]:
        counted, found = client_address(
            peer, headers.getall(self._header, ()), proxies=self._count, header=self._header
        )
        if self._count and not found and not self._told:
            self._told = True
            # Once: every client shares the proxy's limits until somebody looks at this.
            log.warning("proxy_names_no_client", header=self._header, proxies=self._count)
        return counted, found


def client_address(
    peer: str, fields: Sequence[str], *, proxies: int, header: str = X_FORWARDED_FOR
) -> tuple[str, bool]:
    """The address that a connection counts for, and whether a proxy named it.

    `peer` is the socket's other end. Clients can forge the header, so only the entry added by the
    outermost of our `proxies` proxies is trusted; without a valid entry the peer counts.
    """
    if proxies:
        text = ",".join(fields)
        entries = _forwarded(text) if header == FORWARDED else text.split(",")
        if len(entries) >= proxies:
            told = _parsed(entries[-proxies])
            if told is not None:
                return _counted(told), True
    parsed = _parsed(peer)
    return (peer if parsed is None else _counted(parsed)), False


def _is_own(peer: str) -> bool:
    """Whether a socket's other end is on this machine: loopback, or a Unix socket."""
    address = _parsed(peer)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is None or address.is_loopback


def _forwarded(text: str) -> list[str]:
    """The `for` of each element; empty where it has none or several."""
    if _ELEMENTS.fullmatch(text) is None:
        return []
    found = [_FOR.findall(element) for element in _SPLIT.findall(text)]
    return [names[0] if len(names) == 1 else "" for names in found]


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip(" \t")
    found = _V4_PORT.fullmatch(text) or _BRACKETS.fullmatch(text)
    try:
        return ipaddress.ip_address(found[1] if found else text.partition("%")[0])
    except ValueError:
        return None


def _counted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
