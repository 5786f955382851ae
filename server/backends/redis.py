"""Redis as the API process uses it: every call is bounded and none is repeated by itself."""

import asyncio
import importlib.resources
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

RuntimeError: uvloop's answer to a write on a connection that has just been reset; redis-py
hands it on as it is.
"""


class _Writes:
    """Sends commands without `asyncio.wait_for`.

    Before Python 3.12 that loses a cancellation which arrives just as the write
    has ended, so a loop around a command would never hear that it should stop.
    It also makes a task of each command.
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
            # Half a command may have gone out: nothing can follow it.
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


def connect(url: str) -> Redis:
    """A client that connects at first use; beyond MAX_CONNECTIONS at once it raises.

    redis-py repeats a command up to ten times by default; here the caller knows
    what is safe to repeat.
    """
    return _client(redis.asyncio.ConnectionPool, url, max_connections=MAX_CONNECTIONS)


def connect_readers(url: str) -> Redis:
    """A client for reads that anybody may ask for, as many as they like.

    They wait for a connection (for at most READERS_WAIT_S) and have few, so that they
    take none from what the pipeline needs.
    """
    return _client(
        redis.asyncio.BlockingConnectionPool,
        url,
        max_connections=READERS_MAX,
        timeout=READERS_WAIT_S,
    )


def _client(kind: type[redis.asyncio.ConnectionPool], url: str, **options: Any) -> Redis:
    pool = kind.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        # A subscription only listens: without a ping it would not notice a dead connection.
        health_check_interval=HEALTH_CHECK_S,
        protocol=2,
        **options,
    )
    tls = issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    pool.connection_class = _TlsConnection if tls else _Connection
    return Redis.from_pool(pool)


def script(package: str, name: str) -> str:
    """The text of a Lua script in a package."""
    return importlib.resources.files(package).joinpath(f"{name}.lua").read_text("utf-8")
