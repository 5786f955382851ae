"""A process that is one hostile user: batches of 500 as fast as they are answered. JSON out.

python -m benchmarks.peers.excess '{"port":…, "connections":…, …}'
"""

import asyncio
import json
import os
import time
from collections import Counter

import aiohttp
import msgspec

from benchmarks.peers.processes import answer_task
from scoreboard import contract
from scoreboard.tokens import mint
from stack.ports import HOST

ITEMS = 500
NICE = 10
"""It would take its processor time from the server itself on the same two cores, which no server
can prevent; a hostile user sits elsewhere."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and over how many connections."""

    port: int
    secret: str
    connections: int
    duration_s: float


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What it got: requests, and items by status."""

    requests: int
    items: dict[str, int]


async def _at_full_speed(task: Task) -> Answers:
    token = mint(task.secret.encode(), subject="1", now_s=int(time.time()), ttl_s=3600)
    body = json.dumps([{"userId": 1, "increment": 1}] * ITEMS).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"http://{HOST}:{task.port}{contract.OUTCOMES_PATH}"
    items: Counter[str] = Counter()
    requests = 0
    end = time.monotonic() + task.duration_s

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal requests
        while time.monotonic() < end:
            async with session.post(url, data=body, headers=headers) as answer:
                requests += 1
                if answer.status == 200:
                    items.update(str(item["status"]) for item in await answer.json())
                else:
                    items[str(answer.status)] += ITEMS
                    await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session) for _ in range(task.connections)))
    return Answers(requests=requests, items=dict(items))


def run(task: Task) -> Answers:
    """Ask until the time is over."""
    os.nice(NICE)
    return asyncio.run(_at_full_speed(task))


if __name__ == "__main__":
    answer_task(Task, run)
