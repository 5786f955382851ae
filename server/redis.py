"""Redis as the API process uses it: every call is bounded and none is repeated by itself."""

import importlib.resources

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

Redis = redis.asyncio.Redis

SOCKET_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 2.0
MAX_CONNECTIONS = 64
HEALTH_CHECK_S = 5

REDIS_ERRORS = (redis.exceptions.RedisError, OSError, TimeoutError, RuntimeError)
"""What a Redis that is away, loading or restarting raises.

RuntimeError: uvloop's answer to a write on a connection that has just been reset; redis-py
hands it on as it is.
"""


def connect(url: str) -> Redis:
    """A client that connects at first use.

    redis-py repeats a command up to ten times by default; here the caller knows
    what is safe to repeat.
    """
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        # A subscription only listens: without a ping it would not notice a dead connection.
        health_check_interval=HEALTH_CHECK_S,
        max_connections=MAX_CONNECTIONS,
        protocol=2,
    )


def script(name: str) -> str:
    """The text of a Lua script beside this module."""
    return importlib.resources.files("server").joinpath(f"{name}.lua").read_text("utf-8")
