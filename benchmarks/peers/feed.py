"""A process that publishes changes at a steady rate into whatever a peer listens to. JSON out.

    python -m benchmarks.peers.feed '{"kind":"nchan"|"centrifugo"|"pubsub"|"board", …}'

One message per change, at its time, to every kind of peer: nginx and Centrifugo
get a POST, the queues a Redis PUBLISH, ours an entry in the board's Redis stream. A peer
that takes messages slower than they are due gets fewer; the answer says how many.
"""

import http.client
import time
from collections.abc import Callable
from typing import Any

import msgspec
import redis

from benchmarks.peers.apps import CHANNEL
from benchmarks.peers.processes import answer_task
from scoreboard import contract
from scoreboard.domain import Change
from stack.ports import HOST

_USERS = 2000
POSTED = {
    "nchan": ("/publish", b"%b"),
    "centrifugo": ("/api/publish", b'{"channel":"scores","data":%b}'),
}
"""Path and body of a change, for peers that are published to over HTTP."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` changes per second for `duration_s`; `first_seq` numbers ours."""

    kind: str
    rate: float
    duration_s: float
    port: int = 0
    redis_url: str = ""
    first_seq: int = 1


def publisher(task: Task) -> Callable[[int, int], None]:
    """A function that publishes changes number `first` to `last`, numbers from 0."""

    def texts(first: int, last: int) -> list[bytes]:
        return [
            b'{"user":"User%05d","score":%d}' % (3 + n % _USERS, 1000 + n)
            for n in range(first, last + 1)
        ]

    if task.kind in POSTED:
        connection = http.client.HTTPConnection(HOST, task.port)
        path, form = POSTED[task.kind]
        headers = {"X-EventSource-Event": "update", "Content-Type": "application/json"}

        def by_post(first: int, last: int) -> None:
            for text in texts(first, last):
                connection.request("POST", path, form % text, headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (200, 201, 202), answer.status

        return by_post
    client = redis.Redis.from_url(task.redis_url)
    if task.kind == "pubsub":

        def to_channel(first: int, last: int) -> None:
            with client.pipeline(transaction=False) as pipeline:
                for text in texts(first, last):
                    pipeline.publish(CHANNEL, text)
                pipeline.execute()

        return to_channel

    def to_board(first: int, last: int) -> None:
        committed_us = time.time_ns() // 1000
        with client.pipeline(transaction=True) as pipeline:
            for number in range(first, last + 1):
                seq = task.first_seq + number
                change = Change(
                    seq=seq,
                    user_id=3 + number % _USERS,
                    name=f"User{3 + number % _USERS:05d}",
                    score=1000 + number,
                    committed_us=committed_us,
                )
                # The type says that every kind of key may occur, so none alone fits.
                entry: Any = {contract.STREAM_FIELD: contract.encode_changes([change])}
                pipeline.xadd(contract.STREAM_KEY, entry, id=f"{seq}-0", maxlen=4096)
            last_seq = task.first_seq + last
            pipeline.hset(contract.META_KEY, mapping={"seq": last_seq, "tail": last_seq})
            pipeline.execute()

    return to_board


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """How many changes were published."""

    published: int


def run(task: Task) -> Published:
    """Publish until the time is over."""
    publish = publisher(task)
    started = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - started) < task.duration_s:
        due = int(elapsed * task.rate) + 1
        if due > sent:
            # At most a tenth of a second of arrears at once, so that time is looked at.
            due = min(due, sent + max(1, int(task.rate / 10)))
            publish(sent, due - 1)
            sent = due
        else:
            time.sleep(max(0.0, started + sent / task.rate - time.monotonic()))
    return Published(published=sent)


if __name__ == "__main__":
    answer_task(Task, run)
