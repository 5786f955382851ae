"""Peer "naive": the worker process. Default settings, as the SDK's samples start one."""

import asyncio

import redis.asyncio
import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.peers.apps.common import mysql_pool, peer_settings
from benchmarks.peers.apps.naive_activities import Activities
from benchmarks.peers.apps.naive_workflow import ScoreUpdate


async def main() -> None:
    """Polls until the process is ended."""
    settings = peer_settings()
    pool = await mysql_pool(settings.mysql, minsize=10, maxsize=50)
    activities = Activities(pool, redis.asyncio.Redis.from_url(settings.redis))
    worker = Worker(
        await Client.connect(settings.temporal_address),
        task_queue=settings.task_queue,
        workflows=[ScoreUpdate],
        activities=[
            activities.validate_update,
            activities.update_database,
            activities.publish_to_redis,
            activities.notify_clients,
        ],
    )
    async with worker:
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
