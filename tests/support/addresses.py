"""The URL of a store for another user, or by way of a proxy."""

from urllib.parse import urlsplit


def through(url: str, port: int) -> str:
    """The same store and login by way of a proxy at this port of this machine."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}127.0.0.1:{port}").geturl()


def as_user(url: str, name: str, password: str) -> str:
    """The same store for another user."""
    parts = urlsplit(url)
    _, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{name}:{password}@{place}").geturl()
