"""A few seconds of flood and small faults against one API process of the test's own.

Everything runs in this process, so that a planted bug is a plain patch; MySQL, Redis and
Temporal are real and shared, the database, Redis keys and task queue are the run's own. The
faults are those a planted bug needs to show: lost answers, broken steps, lost Redis data.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis
from temporalio.client import Client as TemporalClient

from harness.chaos.flood import Flood, Reader
from harness.chaos.listeners import Audience
from harness.checker import Demands, Finding, Promises, Verdict, check, gather
from harness.history import (
    Board,
    Fault,
    FaultPhase,
    HistoryWriter,
    Limits,
    Roster,
    Score,
    read_history,
)
from harness.proxy import Mode, Proxy
from harness.transcript import Canon
from harness.witness import board_seq, connect_redis, read_witness, sample_redis
from scoreboard.settings import mysql_address
from server.run import running
from server.settings import ServerSettings
from tests.support.services import Services, flushed_redis, fresh_database
from worker.migrate import migrate
from worker.mysql import Pool
from worker.runtime import running_worker
from worker.seed import seed
from worker.settings import WorkerSettings

USERS = 40
HOT = range(3, 5)
ORDINARY = range(6, USERS + 1)
LIMIT = 25
WINDOW_S = 2.0
RATE = 250.0
LISTENERS = 12
RESTLESS = 8


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one gauntlet runs: everything here is its own."""

    mysql_url: str
    redis_url: str
    temporal_address: str
    folder: Path


@contextlib.contextmanager
def place(services: Services, redis_url: str, folder: Path) -> Iterator[Place]:
    """A fresh database and emptied Redis database."""
    with fresh_database(services.mysql_url) as mysql_url, flushed_redis(redis_url) as emptied:
        folder.mkdir(parents=True, exist_ok=True)
        yield Place(
            mysql_url=mysql_url,
            redis_url=emptied,
            temporal_address=services.temporal_address,
            folder=folder,
        )


async def run_gauntlet(at: Place, *, seed_number: int = 1) -> list[Finding]:
    """The findings on one run, by the ledger and by all that clients saw."""
    history = at.folder / "history.jsonl"
    with HistoryWriter(history, process="gauntlet") as writer:
        async with _edges(at) as edges, _api(at, edges) as port:
            await _exercise(at, edges, port, writer, random.Random(seed_number))
    evidence = gather([read_history(history)], read_witness(at.mysql_url))
    demands = Demands(
        accepted_min=500,
        unknown_attempts_min=5,
        listeners_min=LISTENERS,
        reconnects_min=RESTLESS,
        faults_min=8,
    )
    return check(evidence, Promises(visible_within_s=10, demands=demands))


def convicted(findings: list[Finding]) -> set[str]:
    """The invariants that do not hold, by their short names."""
    return {f.invariant.split()[0] for f in findings if f.verdict is Verdict.FALSE}


@asynccontextmanager
async def _edges(at: Place) -> AsyncIterator[dict[str, Proxy]]:
    mysql, redis_parts = urlsplit(at.mysql_url), urlsplit(at.redis_url)
    host, _, port = at.temporal_address.partition(":")
    upstream = {
        "mysql": (mysql.hostname or "", mysql.port or 3306),
        "redis": (redis_parts.hostname or "", redis_parts.port or 6379),
        "temporal": (host, int(port)),
    }
    edges = {name: Proxy(name, *address) for name, address in upstream.items()}
    for proxy in edges.values():
        await proxy.start()
    try:
        yield edges
    finally:
        for proxy in edges.values():
            await proxy.close()


@asynccontextmanager
async def _api(at: Place, edges: dict[str, Proxy]) -> AsyncIterator[int]:
    """An API process' inside with its embedded worker, ready; its port, behind two proxies."""
    pool = Pool(mysql_address(at.mysql_url), size=1)
    await migrate(pool)
    await seed(pool, USERS)
    await pool.close()
    common: dict[str, Any] = {
        "mysql": mysql_address(_through(at.mysql_url, edges["mysql"])),
        "redis": _through(at.redis_url, edges["redis"]),
        "temporal_address": f"127.0.0.1:{edges['temporal'].port}",
        "task_queue": f"gauntlet-{secrets.token_hex(6)}",
    }
    worker = WorkerSettings(**common, failpoints=str(at.folder / "failpoints"), heal_interval_s=0.3)
    server = ServerSettings(
        **common,
        jwt_secret=SECRET,
        port=0,
        rate_limit_count=LIMIT,
        rate_limit_window_s=WINDOW_S,
        # Small batches, so that several are under way at a time.
        batch_max=8,
        batches_in_flight=4,
    )
    async with running(server, lambda client: running_worker(client, worker)) as api:
        for name in ("client", "listener"):
            edges[name] = Proxy(name, "127.0.0.1", api.port)
            await edges[name].start()
        await _until_ready(api.port)
        yield api.port


SECRET = b"a secret of the gauntlet, 32 bytes or more"


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    at = f"{user}@" if user else ""
    return urlunsplit(parts._replace(netloc=f"{at}127.0.0.1:{proxy.port}"))


async def _until_ready(port: int) -> None:
    from harness.chaos.wire import BrokenReply, Connection, get

    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError, BrokenReply):
            connection = await Connection.open(port)
            connection.send(get("/readyz"))
            reply = await connection.reply(timeout_s=2)
            connection.close()
            if reply.status == 200:
                return
        assert time.monotonic() < deadline, "the API did not become ready"
        await asyncio.sleep(0.05)


async def _exercise(
    at: Place, edges: dict[str, Proxy], port: int, writer: HistoryWriter, rng: random.Random
) -> None:
    canon = Canon(writer)
    final = Reader(writer, port, name="final", rng=rng)
    page = await final.read(limit=100)
    assert page is not None, "the board could not be read"
    await _introduce(at, writer, *page)
    audience = Audience(canon, edges["listener"].port, count=LISTENERS, restless=RESTLESS, rng=rng)
    audience.start()
    assert await audience.until_all(0, timeout_s=10)
    flood = Flood(
        writer,
        edges["client"].port,
        secret=SECRET,
        users=ORDINARY,
        hot_users=HOT,
        clients=24,
        rate=RATE,
        hot_rate=LIMIT / WINDOW_S * 1.3,
        rng=rng,
        attack_share=0.04,
    )
    readers = [Reader(writer, edges["client"].port, name=f"r{n}", rng=rng) for n in range(3)]
    tasks = [asyncio.create_task(reader.run(0.05)) for reader in readers]
    tasks.append(asyncio.create_task(_sample(at, writer)))
    flood.start()
    try:
        await _faults(at, edges, writer)
    finally:
        await flood.stop(timeout_s=10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    drained = await _drained(at)
    await audience.until_all(board_seq(at.mysql_url), timeout_s=3)
    with connect_redis(at.redis_url) as client:
        sample_redis(client, writer)
    await final.read(limit=100)
    await audience.stop()
    writer.end(drained=drained)


async def _introduce(at: Place, writer: HistoryWriter, seq: int, scores: list[Score]) -> None:
    users = read_witness(at.mysql_url).users
    writer.put(Board, seq=seq, scores=scores)
    writer.put(Roster, users=[(user.id, user.name) for user in users])
    writer.put(Limits, count=LIMIT, window_ms=int(WINDOW_S * 1000))


async def _sample(at: Place, writer: HistoryWriter) -> None:
    client = connect_redis(at.redis_url)
    try:
        while True:
            with contextlib.suppress(redis.RedisError):
                sample_redis(client, writer)
            await asyncio.sleep(0.1)
    finally:
        client.close()


FAULTS: list[tuple[str, str, int]] = [
    ("failpoint", "record.after_commit raise", 3),
    ("client", Mode.RESET_AFTER, 12),
    ("failpoint", "record.before_commit raise", 3),
    ("redis", Mode.RESET_AFTER, 6),
    ("failpoint", "publish.before raise", 4),
    ("listener", Mode.RESET_MID_REPLY, 6),
    ("temporal", Mode.RESET_AFTER, 1),
    ("failpoint", "publish.before sleep:400", 4),
    ("flushall", "redis", 1),
    ("failpoint", "notify.before raise", 4),
    ("mysql", Mode.RESET_AFTER, 2),
    ("redis", Mode.REFUSE, 0),
    ("client", Mode.RESET_BEFORE, 6),
]


async def _faults(at: Place, edges: dict[str, Proxy], writer: HistoryWriter) -> None:
    """One after the other, each for a moment. A fault is noted when it took hold."""
    failpoints = at.folder / "failpoints"
    await asyncio.sleep(0.4)
    for number, (where, what, count) in enumerate(FAULTS, start=1):
        kind = where if where == "flushall" else what

        def note(phase: FaultPhase, number: int = number, kind: str = kind, **more: Any) -> None:
            writer.put(Fault, fault=number, kind=kind, target="gauntlet", phase=phase, **more)

        note(FaultPhase.INJECT)
        if where == "failpoint":
            name, action = what.split()
            failpoints.write_text(f"{name} {count} {action}\n")
            await asyncio.sleep(0.3)
            fired = failpoints.with_name("failpoints.fired").exists()
            failpoints.write_text("")
        elif where == "flushall":
            with connect_redis(at.redis_url) as client:
                fired = client.dbsize() > 0
                client.flushdb()
        else:
            proof = await edges[where].arm(Mode(what), connections=count or None)
            await asyncio.sleep(0.3)
            await edges[where].heal()
            fired = proof.fired
        note(FaultPhase.HEAL, fired="observed" if fired else None)
        await asyncio.sleep(0.15)


async def _drained(at: Place) -> bool:
    """The board has stood still for a while and no workflow of the run is left."""
    client = await TemporalClient.connect(at.temporal_address)
    deadline = time.monotonic() + 15
    last, quiet = -1, 0
    while time.monotonic() < deadline:
        running_count = (await client.count_workflows("ExecutionStatus = 'Running'")).count
        seq = board_seq(at.mysql_url)
        quiet = quiet + 1 if seq == last and running_count == 0 else 0
        last = seq
        if quiet >= 3:
            return True
        await asyncio.sleep(0.2)
    return False
