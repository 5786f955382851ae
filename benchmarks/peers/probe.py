"""A process that submits one at a time on an idle machine and waits for the event. JSON out.

    python -m benchmarks.peers.probe '{"port":…, …}'

From the first byte of the POST to the event on an open stream.
"""

import random
import socket
import time

import msgspec

from benchmarks.peers.processes import answer_task
from harness.net.http_wire import SUBMISSION_BODY, submission_head
from scoreboard.contract import STREAM_PATH
from scoreboard.tokens import mint
from stack.ports import HOST

USER = 3
TIMEOUT_S = 20.0
PAUSE_S = (0.05, 0.15)
"""Between submissions, drawn anew each time so that no timer is met in step."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """`count` submissions after `warm_up` others."""

    port: int
    secret: str
    count: int
    warm_up: int
    seed: int


def run(task: Task) -> list[float]:
    """Milliseconds of each. Raises RuntimeError when a submission is refused."""
    draw = random.Random(task.seed)
    stream = socket.create_connection((HOST, task.port), TIMEOUT_S)
    stream.sendall(f"GET {STREAM_PATH} HTTP/1.1\r\nHost: {HOST}:{task.port}\r\n\r\n".encode())
    opening = b""
    # A literal stream sends its head alone.
    while b"\r\n\r\n" not in opening:
        opening += stream.recv(65536)
    token = mint(task.secret.encode(), subject=str(USER), now_s=int(time.time()), ttl_s=3600)
    head, body = submission_head(f"{HOST}:{task.port}", token), SUBMISSION_BODY % (USER, 1)
    request = b"%bContent-Length: %d\r\n\r\n%b" % (head.encode(), len(body), body)
    posts = socket.create_connection((HOST, task.port), TIMEOUT_S)
    posts.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times_ms = []
    for number in range(task.warm_up + task.count):
        time.sleep(draw.uniform(*PAUSE_S))
        began = time.perf_counter()
        posts.sendall(request)
        while b"{" not in stream.recv(65536):
            pass
        elapsed_ms = (time.perf_counter() - began) * 1000
        answer = posts.recv(65536)
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            raise RuntimeError(answer[:200])
        if number >= task.warm_up:
            times_ms.append(elapsed_ms)
    return times_ms


if __name__ == "__main__":
    answer_task(Task, run)
