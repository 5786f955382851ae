"""Peer "naive": the activities, with a MySQL pool and a Redis client as everybody has them."""

import json
from dataclasses import dataclass
from typing import Any

import pymysql
import redis.asyncio
from temporalio import activity
from temporalio.exceptions import ApplicationError

from benchmarks.peers.apps import CHANNEL

MAX_INCREMENT = 1_000_000


@dataclass
class Update:
    """What the handler gives to the workflow."""

    submission_id: str
    user_id: int
    increment: int


class Activities:
    """The four steps."""

    def __init__(self, pool: Any, client: "redis.asyncio.Redis") -> None:
        self._pool = pool
        self._redis = client

    @activity.defn
    async def validate_update(self, update: Update) -> str:
        """The user's name. Fails for good when there is no such user."""
        if not 0 < abs(update.increment) <= MAX_INCREMENT:
            raise ApplicationError("increment out of range", non_retryable=True)
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT name FROM users WHERE id = %s", (update.user_id,))
            row = await cursor.fetchone()
            await connection.rollback()
        if row is None:
            raise ApplicationError("unknown user", non_retryable=True)
        return str(row[0])

    @activity.defn
    async def update_database(self, update: Update) -> int:
        """Ledger and score in one transaction; a repetition finds its ledger row."""
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            try:
                await cursor.execute(
                    "INSERT INTO ledger (submission_id, user_id, increment)"
                    " VALUES (UNHEX(%s), %s, %s)",
                    (update.submission_id, update.user_id, update.increment),
                )
                await cursor.execute(
                    "UPDATE users SET score = score + %s WHERE id = %s",
                    (update.increment, update.user_id),
                )
            except pymysql.err.IntegrityError:
                await connection.rollback()
            await cursor.execute("SELECT score FROM users WHERE id = %s", (update.user_id,))
            (score,) = await cursor.fetchone()
            await connection.commit()
        return int(score)

    @activity.defn
    async def publish_to_redis(self, name: str, score: int) -> None:
        """The leaderboard's sorted set."""
        await self._redis.zadd("leaderboard", {name: score})

    @activity.defn
    async def notify_clients(self, name: str, score: int) -> None:
        """Tells the API process, which tells its SSE clients."""
        await self._redis.publish(CHANNEL, json.dumps({"user": name, "score": score}))
