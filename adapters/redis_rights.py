"""Whether Redis does this process's work: every command and channel that it uses, once, for real.

A ping is answered by a replica, by a full Redis, to a user without rights and by a cluster's node
that owns other slots. Not what the work is.
"""

from collections.abc import Sequence

import redis.exceptions
import structlog

from adapters.files import script
from adapters.redis import Redis
from scoreboard import contract

log = structlog.get_logger()

SERVER_COMMANDS = (
    *("set", "get", "mget", "incr", "expire", "pexpire", "getdel", "unlink", "del", "time"),
    *("hset", "hget", "hmget", "hexists", "hincrby", "hdel"),
    *("zadd", "zcard", "zcount", "zrange", "zrangebyscore", "zrank", "zscore", "zremrangebyscore"),
    *("xread", "xrevrange"),
)
"""What an API process uses, besides SUBSCRIBE."""

WORKER_COMMANDS = (
    *("set", "exists", "expire", "persist", "rename", "del", "unlink"),
    *("hset", "hget", "hmget", "hvals", "hlen", "hincrby", "hdel"),
    *("zadd", "zcard", "zrange", "zscore", "zrem", "zremrangebyrank"),
    *("xadd", "xlen", "xrange", "xrevrange", "publish"),
)

OPTIONAL = frozenset({"publish"})
"""Without it the API processes look finished batches up in Temporal."""

_KEYS = tuple(
    contract.PROBE_PREFIX + name for name in ("text", "hash", "set", "stream", "from", "to")
)


class CannotWork(redis.exceptions.RedisError):
    """Redis answers and refuses a command that is needed; the message has command and reason."""


class RedisProbe:
    """The check, for one process's commands."""

    def __init__(self, client: Redis, commands: Sequence[str]) -> None:
        self._commands = commands
        self._script = client.register_script(script(__package__, "probe"))
        self._lacking: tuple[str, ...] = ()

    async def check(self) -> None:
        """One call. Raises REDIS_ERRORS, of which CannotWork tells what is refused and why."""
        answer: list[bytes] = await self._script(
            keys=_KEYS, args=(contract.DONE_CHANNEL, *self._commands)
        )
        failed = {
            command.decode(): reason.decode(errors="replace")
            for command, reason in zip(answer[::2], answer[1::2], strict=True)
        }
        if needed := [command for command in failed if command not in OPTIONAL]:
            first = needed[0]
            others = f" (and {len(needed) - 1} more commands)" if needed[1:] else ""
            raise CannotWork(f"{first.upper()}{others}: {failed[first]}")
        lacking = tuple(failed)
        if lacking != self._lacking:
            # Each once: the work goes on without.
            for command in lacking:
                log.warning(
                    "redis_right_missing",
                    command=command,
                    channel=contract.DONE_CHANNEL,
                    error=failed[command],
                )
        self._lacking = lacking
