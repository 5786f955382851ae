"""Where Redis is now: at a fixed address, the master that Sentinels name, or the node of a cluster
that owns our keys' slot. Not what is asked of it: see `redis`.

All keys have one hash tag, so one node has them all and the commands need no routing; what is
needed is to follow when another node takes over.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from scoreboard import contract
from scoreboard.addresses import redis_hosts

LOOK_UP_TIMEOUT_S = 1.0
LOOK_AGAIN_S = 1.0
"""How often the Sentinels are asked again: a master that they have replaced while it was away may
come back and take writes, until they make it a replica ten seconds later."""


@dataclass(frozen=True, kw_only=True)
class RedisPlace:
    """A Redis URL taken apart. `kind`: "" for a fixed address, "sentinel" or "cluster"."""

    kind: str
    hosts: Sequence[tuple[str, int]]
    master_name: str
    prefix: str
    options: dict[str, Any] = field(repr=False)
    """Arguments of a connection to the Redis that has the data."""
    sentinel_options: dict[str, Any] = field(repr=False)
    """Arguments of a connection to a Sentinel."""

    @property
    def tag(self) -> str:
        """The hash tag of all keys."""
        return f"scores:{self.prefix}" if self.prefix else contract.HASH_TAG


def redis_place(url: str) -> RedisPlace:
    """Take a URL apart that `scoreboard.addresses.redis_url` has let pass."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    given = dict(parse_qsl(parts.query))
    tls: dict[str, Any] = {}
    if scheme == "rediss":
        check = given.get("ssl_check_hostname", "true").lower() == "true"
        tls = {
            "ssl_check_hostname": check,
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            **{
                name: given[name]
                for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
                if name in given
            },
        }
    path = parts.path.strip("/").split("/")
    master_name = path.pop(0) if kind == "sentinel" else ""
    login = parts.netloc.rpartition("@")[0]
    user, _, password = login.partition(":")
    options = {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "db": int(path[0]) if path and path[0] else 0,
        "client_name": given.get("client_name"),
        **tls,
    }
    sentinel_options = {
        "username": given.get("sentinel_username"),
        "password": given.get("sentinel_password"),
        **tls,
    }
    return RedisPlace(
        kind=kind,
        hosts=redis_hosts(parts),
        master_name=unquote(master_name),
        prefix=given.get("prefix", ""),
        options=options,
        sentinel_options=sentinel_options,
    )


class Locator:
    """Finds the Redis that has the data; shared by the connections of one client."""

    def __init__(self, place: RedisPlace) -> None:
        self._place = place
        self._hosts = list(place.hosts)
        self.moves = 0
        """Counts the times that Redis said it is another one; connections from before are old."""
        self._found: tuple[str, int] | None = None
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    def moved(self) -> None:
        """A Redis has answered that it is not, or no longer, the right one."""
        self.moves += 1

    def look_again(self) -> None:
        """Ask the Sentinels once in a while, beside the command that is sent; connections to a
        master that they no longer name are old."""
        now = time.monotonic()
        if self._found is None or now < self._look_at or self._looking is not None:
            return
        self._look_at = now + LOOK_AGAIN_S
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            # Who can ask nobody stays: what it is connected to may still be right.
            with suppress(redis.exceptions.RedisError, OSError, RuntimeError):
                await self.locate()
        finally:
            self._looking = None

    async def locate(self) -> tuple[str, int]:
        """Host and port, as they are now. Raises REDIS_ERRORS when nobody can tell."""
        if not self._place.kind:
            return self._hosts[0]
        found = await self._located()
        if self._place.kind == "sentinel":
            if self._found not in (None, found):
                self.moved()
            self._found = found
        return found

    async def _located(self) -> tuple[str, int]:
        reasons = []
        for host, port in list(self._hosts):
            try:
                async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                    found = await self._ask(host, port)
            except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                reasons.append(f"{host}:{port}: {error or 'no answer in time'}")
                continue
            if found is not None:
                # Who knew the answer is asked first next time.
                self._hosts.remove((host, port))
                self._hosts.insert(0, (host, port))
                return found
            reasons.append(f"{host}:{port}: knows none")
        what = (
            f"the master {self._place.master_name}"
            if self._place.kind == "sentinel"
            else f"the node of {{{self._place.tag}}}"
        )
        raise redis.exceptions.ConnectionError(f"no one knows {what} ({'; '.join(reasons)})")

    async def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        if self._place.kind == "sentinel":
            answer = await self._query(
                host,
                port,
                self._place.sentinel_options,
                "SENTINEL",
                "GET-MASTER-ADDR-BY-NAME",
                self._place.master_name,
            )
            return (_text(answer[0]), int(answer[1])) if answer else None
        slot = key_slot(f"{{{self._place.tag}}}".encode())
        options = {name: v for name, v in self._place.options.items() if name != "db"}
        for first, last, owner, *_ in await self._query(host, port, options, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                # A node that does not know its own name leaves it out.
                return (_text(owner[0]) or host, int(owner[1]))
        return None

    async def _query(self, host: str, port: int, options: dict[str, Any], *command: str) -> Any:
        kind = (
            redis.asyncio.SSLConnection if "ssl_cert_reqs" in options else redis.asyncio.Connection
        )
        connection = kind(
            host=host,
            port=port,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=LOOK_UP_TIMEOUT_S,
            socket_timeout=LOOK_UP_TIMEOUT_S,
            protocol=2,
            **options,
        )
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command(*command)
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else (value or "")
