"""Addresses and limits of sockets, for engines that bypass gevent's and asyncio's."""

import resource
import socket


def resolve(address: tuple[str, int]) -> tuple[int, tuple[str, int]]:
    """Family and numeric address, IPv4 first. Raises OSError when the name is unknown."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    # "localhost" often names ::1 first while servers bind to 127.0.0.1 only.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, target = found[0]
    return family, (str(target[0]), int(target[1]))


def raise_descriptor_limit() -> int:
    """Allow as many open descriptors as the hard limit does; returns that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
