"""Clients of Redis: every call is bounded, and none is repeated by the client itself."""

import asyncio
from typing import Any

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

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


class _Writes:
    """Sends commands without `asyncio.wait_for`.

    Before Python 3.12 `wait_for` loses a cancellation that arrives just as the write
    completes, so a loop around a command would never learn that it should stop.
    It also creates a task for each command.
    """

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


class _Connection(_Writes, redis.asyncio.Connection):
    pass


class _TlsConnection(_Writes, redis.asyncio.SSLConnection):
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
    pool = kind.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        # A subscription only listens: without a ping it would not notice a dead connection.
        health_check_interval=HEALTH_CHECK_S,
        protocol=2,
        **options,
    )
    tls = issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    pool.connection_class = _TlsConnection if tls else _Connection
    return Redis.from_pool(pool)
