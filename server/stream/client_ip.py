"""The client address that connection limits count. Pure."""

import ipaddress
from collections.abc import Sequence

IPV6_PREFIX = 64
"""One customer's network: its addresses are free, so they count as one."""


def client_address(peer: str, forwarded_for: Sequence[str], *, proxies: int) -> str:
    """The address that a connection counts for.

    `peer` is the socket's other end. Clients can forge X-Forwarded-For, so only the
    entry added by the outermost of our `proxies` proxies is trusted; without a valid
    entry the peer counts.
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
