"""Clients of Redis: every call is bounded, and none is repeated by the client itself."""

import asyncio
from typing import Any

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.redis_places import Locator, redis_place
from scoreboard import contract

Redis = redis.asyncio.Redis

SOCKET_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 2.0
MAX_CONNECTIONS = 64
READERS_MAX = 16
READERS_WAIT_S = 0.5
HEALTH_CHECK_S = 5

REDIS_ERRORS = (redis.exceptions.RedisError, OSError, TimeoutError, RuntimeError)
"""What a Redis that is away, loading or restarting raises.

RuntimeError: uvloop's answer to a write on a connection that has just been reset, which
redis-py passes on unchanged.
"""


_NOT_HERE = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MovedError,
    redis.exceptions.AskError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
)
"""Answers of a Redis that is not, or no longer, the one with the data."""


class _Connected:
    """A connection that goes where the data is, and sends without `asyncio.wait_for`.

    Before Python 3.12 `wait_for` loses a cancellation that arrives just as the write
    completes, so a loop around a command would never learn that it should stop.
    It also creates a task for each command.
    """

    def __init__(self, *, locator: Locator, tag: str, **options: Any) -> None:
        super().__init__(**options)
        self._locator = locator
        self._moves = locator.moves
        self._tag = None if tag == contract.HASH_TAG else f"{{{tag}}}"

    async def connect(self: Any) -> None:
        """As in redis-py; leaves a Redis that some connection has found to be the wrong one, or
        that the Sentinels do not name any more."""
        self._locator.look_again()
        if self._moves != self._locator.moves:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            self._moves = self._locator.moves
            self.host, self.port = await self._locator.locate()
        await super().connect()  # type: ignore[misc]

    async def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        """As in redis-py; a wrong Redis is left before the next command."""
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc]
        except _NOT_HERE:
            self._locator.moved()
            raise

    def pack_command(self: Any, *words: Any) -> Any:
        """As in redis-py, with this deployment's hash tag in every key."""
        if self._tag is not None:
            words = tuple(_tagged(word, self._tag) for word in words)
        return super().pack_command(*words)  # type: ignore[misc]

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        """As in redis-py 8.1. Raises its ConnectionError or TimeoutError."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([command] if type(command) is bytes else command)
        except BaseException as error:
            # Half a command may have been sent: nothing can follow it.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise redis.exceptions.TimeoutError("Timeout writing to socket") from None
            if isinstance(error, OSError):
                raise redis.exceptions.ConnectionError("Error while writing to socket") from error
            raise


_OUR_TAG = f"{{{contract.HASH_TAG}}}:"
_OUR_TAG_BYTES = _OUR_TAG.encode()


def _tagged(word: Any, tag: str) -> Any:
    """A word of a command; names of ours, and no data, begin with the hash tag."""
    if isinstance(word, str) and word.startswith(_OUR_TAG):
        return f"{tag}:{word[len(_OUR_TAG) :]}"
    if isinstance(word, bytes) and word.startswith(_OUR_TAG_BYTES):
        return tag.encode() + b":" + word[len(_OUR_TAG_BYTES) :]
    return word


class _Connection(_Connected, redis.asyncio.Connection):
    pass


class _TlsConnection(_Connected, redis.asyncio.SSLConnection):
    pass


def connect(
    url: str,
    *,
    connections_max: int = MAX_CONNECTIONS,
    socket_timeout_s: float = SOCKET_TIMEOUT_S,
) -> Redis:
    """A client that connects at first use; with `connections_max` in use it raises.

    redis-py repeats a command up to ten times by default; here only the caller knows
    what is safe to repeat.
    """
    return _client(
        redis.asyncio.ConnectionPool,
        url,
        max_connections=connections_max,
        socket_timeout=socket_timeout_s,
    )


async def clock(client: Redis) -> float:
    """The server's time. Raises REDIS_ERRORS."""
    seconds, micros = await client.time()
    return float(int(seconds) + int(micros) / 1e6)


def connect_readers(url: str) -> Redis:
    """A client for reads that anybody may ask for, as many as they like.

    Callers wait for one of a few connections (for at most READERS_WAIT_S), so that they
    take none from the submission pipeline.
    """
    return _client(
        redis.asyncio.BlockingConnectionPool,
        url,
        max_connections=READERS_MAX,
        timeout=READERS_WAIT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
    )


def _client(kind: type[redis.asyncio.ConnectionPool], url: str, **options: Any) -> Redis:
    place = redis_place(url)
    pool = kind(
        connection_class=_TlsConnection if "ssl_cert_reqs" in place.options else _Connection,
        locator=Locator(place),
        tag=place.tag,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        # A subscription only listens: without a ping it would not notice a dead connection.
        health_check_interval=HEALTH_CHECK_S,
        protocol=2,
        **place.options,
        **options,
    )
    return Redis.from_pool(pool)
