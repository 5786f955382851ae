"""Sends the corpus over raw sockets and judges the answers. Counts what it tried."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.security.corpus import (
    ADDRESSES,
    BATCHES,
    BODIES,
    CHUNKS,
    EVENT_IDS,
    METHODS,
    TARGETS,
    Case,
    syntax,
    tokens,
)
from tests.support.api import token

DEADLINE_S = 10.0
TELLTALE = (b"Traceback", b'File "', b"sanic", b"site-packages", b"SQL", b"aiomysql", b"redis")
"""What no answer to an attack may hold: it would tell of the inside, or repeat the input."""


@dataclass
class Tally:
    """What was sent, how often the server failed (any 5xx), and what it answered wrongly."""

    inputs: int = 0
    server_errors: int = 0
    unexpected: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another count to this one."""
        self.inputs += other.inputs
        self.server_errors += other.server_errors
        self.unexpected += other.unexpected


async def exchange(port: int, data: bytes) -> bytes:
    """All that comes back until the server closes. TimeoutError when it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(DEADLINE_S):
                while more := await reader.read(65_536):
                    received += more
        return received
    finally:
        writer.close()


async def attack(port: int) -> Tally:
    """Everything in the corpus, one connection each, a few at a time."""
    bearer = token(1)
    cases: dict[str, Case] = {f"syntax: {n}": case for n, case in syntax(bearer).items()}
    cases |= _named("body", {n: (_post(body, bearer), s) for n, (body, s) in BODIES.items()})
    forged = tokens(int(time.time()))
    good = b'{"userId":1,"increment":7}'
    cases |= _named("token", {n: (_post(good, text), 401) for n, text in forged.items()})
    cases |= _named("address", {n: (_get(path), s) for n, (path, s) in ADDRESSES.items()})
    cases |= _named("event id", {n: (HEAD % text.encode(), 200) for n, text in EVENT_IDS.items()})
    cases |= _named(
        "batch",
        {n: (_post(body, bearer, "/scores/updates"), s) for n, (body, s) in BATCHES.items()},
    )
    cases |= _named("target", {n: (GET % target, s) for n, (target, s) in TARGETS.items()})
    cases |= _named(
        "chunks", {n: (_chunked(form % good, bearer), 400) for n, form in CHUNKS.items()}
    )
    cases |= _named(
        "method", {n: (GET.replace(b"GET", n.encode()) % b"/scores", 405) for n in METHODS}
    )
    tally = Tally()
    slots = asyncio.Semaphore(8)

    async def one(name: str, case: Case) -> None:
        async with slots:
            await _judge(port, name, case, tally)

    await asyncio.gather(*(one(name, case) for name, case in cases.items()))
    return tally


def _named(kind: str, cases: Mapping[str, tuple[bytes, int]]) -> dict[str, Case]:
    return {
        f"{kind}: {name}": Case(data=data, statuses=frozenset({status}))
        for name, (data, status) in cases.items()
    }


GET = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD /scores/stream?lastEventId=%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _chunked(body: bytes, bearer: str) -> bytes:
    return _post(b"", bearer).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + body


def _post(body: bytes, bearer: str, path: str = "/scores/update") -> bytes:
    return b"POST %b" % path.encode() + (
        b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (bearer.encode("utf-8", "surrogatepass"), len(body), body)
    )


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()


async def _judge(port: int, name: str, case: Case, tally: Tally) -> None:
    tally.inputs += 1
    try:
        answer = await exchange(port, case.data)
    except TimeoutError:
        tally.unexpected.append(f"{name}: the connection stays open")
        return
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    tally.server_errors += sum(status >= 500 for status in statuses)
    if len(statuses) != 1 or statuses[0] not in case.statuses:
        tally.unexpected.append(f"{name}: {statuses} instead of {sorted(case.statuses)}")
    elif statuses[0] >= 400 and (fault := _fault(answer, statuses[0])):
        tally.unexpected.append(f"{name}: {fault}")


def _fault(answer: bytes, status: int) -> str:
    """What is wrong with a refusal's form, if anything."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"\r\ncontent-type: application/problem+json\r\n" not in head.lower() + b"\r\n":
        return "no problem document"
    if json.loads(body)["status"] != status:
        return "another status in the body"
    told = [word for word in TELLTALE if word.lower() in body.lower()]
    return f"tells {told}" if told else ""
