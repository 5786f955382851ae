"""A process that asks as fast as it is answered: N connections, one request on each. JSON out.

    python -m benchmarks.peers.closed_loop '{"port":…, "connections":…, …}'

Lean, since the generator shares the machine with what it measures: about 20 µs
of CPU per request. It counts answers; whether their effect is there is judged
elsewhere. Not for latencies: a closed loop hides the waiting it causes.
"""

import random
import select
import socket
import time
from collections import Counter

import msgspec

from benchmarks.peers.processes import answer_task
from harness.net.http_wire import answer_end, submission_head
from scoreboard.contract import SCORES_PATH
from scoreboard.tokens import SCOPE_ANY_USER, mint
from stack.ports import HOST

ANSWER_TIMEOUT_S = 30.0
_DRAWN_REQUESTS = 200_000
"""They repeat after so many."""

_FIRST_USER = 3
"""Alice and Bob have points from the start; the others make sums simple."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask: submissions of one point round the users, or reads of the board.

    With `drawn_from` one principal submits for users drawn from 3 to that number.
    It goes on until both `duration_s` are over and `at_least` requests were sent.
    Without `keyed` a submission has no Idempotency-Key, as in the specification's example.
    """

    port: int
    connections: int
    duration_s: float
    at_least: int = 0
    what: str = "submit"
    secret: str = ""
    users: int = 0
    keyed: str = ""
    drawn_from: int = 0
    seed: int = 0


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """Counts by status until the last answer; times in seconds since the first request.

    `started_unix` and `ended_unix` are wall clock. `lost` requests had no answer.
    """

    statuses: dict[str, int]
    lost: int
    elapsed_s: float
    started_unix: float
    cpu_s: float

    @property
    def good(self) -> int:
        """Answers of 200 or 202."""
        return self.statuses.get("200", 0) + self.statuses.get("202", 0)

    @property
    def clean(self) -> bool:
        """Whether every request was answered well."""
        return not self.lost and self.good == sum(self.statuses.values())


def requests_of(task: Task) -> list[bytes]:
    """The requests to repeat, built once; a submission each for users 3 to `users`."""
    host = f"{HOST}:{task.port}"
    if task.what == "read":
        return [f"GET {SCORES_PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]
    # The same tokens in the warm-up and in the round: clients keep theirs for long.
    now_s = int(time.time()) // 600 * 600
    if task.drawn_from:
        return _drawn_requests(task, host, now_s)
    built = []
    for user in range(_FIRST_USER, task.users + 1):
        token = mint(task.secret.encode(), subject=str(user), now_s=now_s, ttl_s=3600)
        body = f'{{"userId":{user},"increment":1}}'
        key = f"Idempotency-Key: {task.keyed}-{user}-#########\r\n" if task.keyed else ""
        built.append(
            (
                f"{submission_head(host, token)}Content-Length: {len(body)}\r\n{key}\r\n{body}"
            ).encode()
        )
    return built


def _drawn_requests(task: Task, host: str, now_s: int) -> list[bytes]:
    draw = random.Random(task.seed)
    secret = task.secret.encode()
    token = mint(secret, subject="load", now_s=now_s, ttl_s=3600, scopes=(SCOPE_ANY_USER,))
    head = f"{submission_head(host, token)}Content-Length: "
    bodies = [
        f'{{"userId":{draw.randint(_FIRST_USER, task.drawn_from)},"increment":1}}'
        for _ in range(_DRAWN_REQUESTS)
    ]
    # One principal for all rounds, so the round's seed keeps its keys apart.
    key = f"Idempotency-Key: {task.keyed}-{task.seed}-#########\r\n" if task.keyed else ""
    return [f"{head}{len(body)}\r\n{key}\r\n{body}".encode() for body in bodies]


def _connected(port: int, poller: select.epoll) -> socket.socket:
    connection = socket.create_connection((HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    poller.register(connection.fileno(), select.EPOLLIN)
    return connection


def _received(connection: socket.socket) -> bytes:
    """Bytes that have arrived; none when the connection is lost."""
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def run(task: Task) -> Answers:
    """Ask until the time is over, then wait for the answers under way."""
    requests = requests_of(task)
    poller = select.epoll()
    opened = [_connected(task.port, poller) for _ in range(task.connections)]
    sockets = {connection.fileno(): connection for connection in opened}
    partial: dict[int, bytes] = {}
    statuses: Counter[bytes] = Counter()
    lost = number = 0
    count = len(requests)
    numbered = bool(task.keyed)

    def send(fd: int) -> None:
        nonlocal number
        request = requests[number % count]
        if numbered:
            request = request.replace(b"#########", b"%09d" % number)
        number += 1
        # A request fits into an empty socket buffer whole.
        sockets[fd].send(request)

    cpu_before = time.process_time()
    started_unix, started = time.time(), time.monotonic()
    for fd in sockets:
        send(fd)
    ends = started + task.duration_s
    waiting = len(sockets)
    heard = started
    while waiting:
        ready = poller.poll(0.5)
        now = time.monotonic()
        if ready:
            heard = now
        elif now - heard > ANSWER_TIMEOUT_S:
            lost += waiting
            break
        for fd, _ in ready:
            data = _received(sockets[fd])
            if not data:
                poller.unregister(fd)
                lost += 1
                waiting -= 1
                continue
            data = partial.pop(fd, b"") + data
            if answer_end(data) is None:
                partial[fd] = data
                continue
            statuses[data[9:12]] += 1
            if now < ends or number < task.at_least:
                send(fd)
            else:
                waiting -= 1
    elapsed_s = heard - started
    for connection in opened:
        connection.close()
    poller.close()
    return Answers(
        statuses={status.decode(): n for status, n in statuses.items()},
        lost=lost,
        elapsed_s=elapsed_s,
        started_unix=started_unix,
        cpu_s=time.process_time() - cpu_before,
    )


if __name__ == "__main__":
    answer_task(Task, run)
