"""Which address a request is counted under. Pure."""

import ipaddress
from collections.abc import Sequence

IPV6_PREFIX = 64
"""One customer's network: each of its addresses costs nothing, so they count as one."""


def client_address(peer: str, forwarded_for: Sequence[str], *, proxies: int) -> str:
    """The address that is answerable for a connection.

    `peer` is the socket's other end. X-Forwarded-For says what its sender likes,
    so only the entry that the outermost of `proxies` own proxies has added is
    believed; one that is missing or no address leaves the peer.
    """
    if proxies:
        entries = ",".join(forwarded_for).split(",")
        if len(entries) >= proxies:
            told = _parsed(entries[-proxies].strip())
            if told is not None:
                return _counted(told)
    parsed = _parsed(peer)
    return peer if parsed is None else _counted(parsed)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _counted(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
