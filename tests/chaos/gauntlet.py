"""A few seconds of clients and small faults against one API process of the test's own.

Clients, faults and API run in one process, so that a planted bug is a plain patch; MySQL, Redis and
Temporal are real and shared, the database, Redis keys and task queue are the run's own. The
faults are those a planted bug needs to show: lost answers, broken steps, lost Redis data.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest
import redis
import uvloop
from temporalio.client import Client as TemporalClient

from adapters.mysql import Pool
from harness.chaos.clients import ClientPool, Reader
from harness.chaos.drain import at_work
from harness.chaos.listeners import Audience
from harness.chaos.lost_changes import loss_of, replay, take_back
from harness.chaos.schedule import LOSE
from harness.chaos.system import program_output
from harness.chaos.wire import BROKEN, Line, get
from harness.checker import Demands, Finding, Promises, Verdict, check, gather
from harness.evidence.database import board_seq, connect_redis, read_database_snapshot, sample_redis
from harness.evidence.history import (
    Fault,
    FaultPhase,
    HistoryWriter,
    InitialBoard,
    Loss,
    Roster,
    Score,
    ServerLimits,
    read_history,
)
from harness.net.fault_proxy import Mode, Proxy
from scoreboard.addresses import mysql_address
from server.backends.lane import Lane
from server.run import running
from server.settings import ServerSettings
from tests.support.addresses import through
from tests.support.services import Services, flushed_redis, fresh_database
from worker.database.migrate import migrate
from worker.database.seed import seed
from worker.runtime import running_worker
from worker.settings import WorkerSettings

USERS = 40
HOT = range(3, 5)
ORDINARY = range(6, USERS + 1)
LIMIT = 20
WINDOW_S = 2.0
HISTORY = 20_000
RATE = 200.0
RUN_TIMEOUT_S = 90.0
WARM_ACCEPTED = 60
ENOUGH_ACCEPTED = 600
ENOUGH_REFUSED = 5
LANES = 2
LANE_BATCHES = 20
LISTENERS = 12
RESTLESS = 8
HOLD_S = 0.3
"""Shortest time for which a fault is on: some strike again and again as long as they last."""

REST_S = 0.15
"""Between two faults, for what the first broke to come back."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one gauntlet runs: everything here is its own."""

    mysql_url: str
    redis_url: str
    temporal_address: str
    task_queue: str
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
            task_queue=f"gauntlet-{secrets.token_hex(6)}",
            folder=folder,
        )


def run_gauntlet(
    at: Place, *, mutation: str = "", faults: Sequence[str] | None = None, seed: int = 1
) -> list[Finding]:
    """The findings on one run, by the ledger and by all that clients saw.

    In a process of its own, so that a planted bug ends with it. `faults` names those to
    inject (`FAULTS`); all by default.
    """
    asked = {
        **{name: str(value) for name, value in asdict(at).items()},
        "mutation": mutation,
        "faults": faults,
        "seed": seed,
    }
    with (at.folder / "log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "tests.chaos.gauntlet", json.dumps(asked)],
            check=False,
            timeout=RUN_TIMEOUT_S,
            stdout=log,
            stderr=log,
        )
    found = at.folder / "findings.json"
    if not found.exists():
        tail = (at.folder / "log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"the gauntlet came to no end:\n{tail}")
    return msgspec.json.decode(found.read_bytes(), type=list[Finding])


def main(argument: str) -> None:
    """One run, in a process that ends with it."""
    asked = json.loads(argument)
    at = Place(
        mysql_url=asked["mysql_url"],
        redis_url=asked["redis_url"],
        temporal_address=asked["temporal_address"],
        task_queue=asked["task_queue"],
        folder=Path(asked["folder"]),
    )
    patch = pytest.MonkeyPatch()
    patch.setattr("server.backends.temporal.Lane", Lanes)
    patch.setattr("server.backends.lane.BATCHES_MAX", LANE_BATCHES)
    if asked["mutation"]:
        from tests.chaos.mutations import MUTATIONS

        MUTATIONS[asked["mutation"]].plant(patch)
    uvloop.run(_run(at, asked["faults"], asked["seed"]))


class Lanes:
    """Hands batches to lanes by turns, as if several API processes did: two lanes carry batches at
    the same time."""

    def __init__(self, process: str) -> None:
        self._turns = itertools.cycle([Lane(f"{process}-{number}") for number in range(LANES)])

    def take(self, size: int) -> tuple[str, bool]:
        """Like `Lane.take`."""
        return next(self._turns).take(size)


async def _run(at: Place, faults: Sequence[str] | None, seed: int) -> None:
    chosen = [fault for fault in FAULTS if faults is None or fault.name in faults]
    history = at.folder / "history.jsonl"
    writer = HistoryWriter(history, process="gauntlet")
    stack = AsyncExitStack()
    edges = await stack.enter_async_context(_edges(at))
    port = await stack.enter_async_context(_api(at, edges))
    await _exercise(at, edges, port, writer, random.Random(seed), chosen)
    writer.close()
    evidence = gather([read_history(history)], read_database_snapshot(at.mysql_url))
    demands = Demands(
        accepted_min=500,
        unknown_attempts_min=5,
        listeners_min=LISTENERS,
        reconnects_min=RESTLESS,
        faults_min=8,
        redis_samples_min=20,
    )
    promises = Promises(visible_within_s=10, demands=demands, reads_in_one_order=True)
    findings = check(evidence, promises)
    (at.folder / "findings.new").write_bytes(msgspec.json.encode(findings))
    (at.folder / "findings.new").rename(at.folder / "findings.json")
    # All is said. An orderly end of what may be broken on purpose would prove nothing.
    os._exit(0)


def runs_until_convicted(
    services: Services, redis_url: str, folder: Path, name: str, *, runs_max: int
) -> tuple[int, set[str], str]:
    """Run the gauntlet with a planted bug until it is convicted of what it breaks.

    How many runs that took (0: never), of what it was convicted in the last one, and in
    which words.
    """
    from tests.chaos.mutations import MUTATIONS

    mutation = MUTATIONS[name]
    broken: set[str] = set()
    for run in range(1, runs_max + 1):
        with place(services, redis_url, folder / str(run)) as at:
            findings = run_gauntlet(at, mutation=name, faults=mutation.faults, seed=run)
        broken = convicted(findings)
        if broken & mutation.breaks:
            words = next(
                f.explanations[0]
                for f in findings
                if f.invariant.split()[0] in mutation.breaks & broken
            )
            return run, broken, words
    return 0, broken, ""


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
        "mysql": mysql_address(through(at.mysql_url, edges["mysql"].port)),
        "redis": through(at.redis_url, edges["redis"].port),
        "temporal_address": f"127.0.0.1:{edges['temporal'].port}",
        "task_queue": at.task_queue,
    }
    worker = WorkerSettings(**common, failpoints=str(at.folder / "failpoints"), heal_interval_s=0.3)
    server = ServerSettings(
        **common,
        jwt_secret=SECRET,
        port=0,
        rate_limit_count=LIMIT,
        rate_limit_window_s=WINDOW_S,
        history_changes=HISTORY,
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


async def _until_ready(port: int) -> None:
    line = Line(port)
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(*BROKEN):
            if (await line.ask(get("/readyz"), timeout_s=2)).status == 200:
                line.close()
                return
        assert time.monotonic() < deadline, "the API did not become ready"
        await asyncio.sleep(0.05)


async def _exercise(
    at: Place,
    edges: dict[str, Proxy],
    port: int,
    writer: HistoryWriter,
    rng: random.Random,
    faults: Sequence["Small"],
) -> None:
    final = Reader(writer, port, name="final", rng=rng)
    page = None
    began = time.monotonic()
    # On a slow machine a first read may find Redis too slow to answer.
    while page is None:
        assert time.monotonic() - began < 20, "the board could not be read"
        page = await final.read(limit=100)
    await _introduce(at, writer, *page)
    audience = Audience(writer, edges["listener"].port, count=LISTENERS, restless=RESTLESS, rng=rng)
    audience.start()
    assert await audience.until_all(0, timeout_s=10)
    clients = ClientPool(
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
    clients.start()
    try:
        # On a slow machine the same takes longer, but it must have been seen.
        await _until(lambda: clients.counts["accepted"] >= WARM_ACCEPTED, timeout_s=6)
        await _faults(at, edges, writer, faults)
        await _until(
            lambda: (
                clients.counts["accepted"] >= ENOUGH_ACCEPTED
                and clients.counts["refused 429"] >= ENOUGH_REFUSED
            ),
            timeout_s=10,
        )
    finally:
        await clients.stop(timeout_s=4)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    drained = await _drained(at)
    await audience.until_all(board_seq(at.mysql_url), timeout_s=3)
    with connect_redis(at.redis_url) as client:
        sample_redis(client).record(writer)
    await final.read(limit=100)
    await audience.stop()
    writer.end(drained=drained)


async def _until(check: Callable[[], bool], *, timeout_s: float) -> None:
    """Wait for what may never come; whether it came is for the checker to say."""
    deadline = time.monotonic() + timeout_s
    while not check() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _introduce(at: Place, writer: HistoryWriter, seq: int, scores: list[Score]) -> None:
    users = read_database_snapshot(at.mysql_url).users
    writer.put(InitialBoard, seq=seq, scores=scores)
    writer.put(Roster, users=[(user.id, user.name) for user in users])
    writer.put(ServerLimits, count=LIMIT, window_ms=int(WINDOW_S * 1000), history_changes=HISTORY)


async def _sample(at: Place, writer: HistoryWriter) -> None:
    client = connect_redis(at.redis_url)
    try:
        while True:
            with contextlib.suppress(redis.RedisError):
                sample_redis(client).record(writer)
            await asyncio.sleep(0.1)
    finally:
        client.close()


class Small(NamedTuple):
    """A small fault. `times`: connections, trips or changes, 0 for as long as it lasts."""

    where: str
    what: str
    times: int

    @property
    def name(self) -> str:
        """How a planted bug asks for it."""
        return f"{self.where} {self.what}"


FAULTS = (
    Small("failpoint", "record.after_commit raise", 3),
    Small("client", Mode.RESET_AFTER, 12),
    Small("failpoint", "record.before_commit raise", 3),
    Small("redis", Mode.RESET_AFTER, 6),
    Small("failpoint", "publish.before raise", 4),
    Small("listener", Mode.RESET_MID_REPLY, 6),
    Small("temporal", Mode.RESET_AFTER, 1),
    Small("failpoint", "publish.before sleep:400", 4),
    Small("flushall", "redis", 1),
    Small("failpoint", "notify.before raise", 4),
    Small("mysql", Mode.RESET_AFTER, 2),
    Small("redis", Mode.REFUSE, 0),
    Small("redis", Mode.RESET_MID_REPLY, 12),
    Small("client", Mode.RESET_BEFORE, 6),
    # One alone is replaced by the next batch, before a position without identity tells anything.
    Small("mysql", LOSE, 1),
    Small("mysql", LOSE, 10),
)


async def _faults(
    at: Place, edges: dict[str, Proxy], writer: HistoryWriter, faults: Sequence[Small]
) -> None:
    """One after the other, each for a moment. A fault is noted when it took hold."""
    failpoints = at.folder / "failpoints"
    for number, (where, what, count) in enumerate(faults, start=1):
        kind = where if where == "flushall" else what

        def note(phase: FaultPhase, number: int = number, kind: str = kind, **more: Any) -> None:
            writer.put(Fault, fault=number, kind=kind, target="gauntlet", phase=phase, **more)

        note(FaultPhase.INJECT)
        if where == "failpoint":
            name, action = what.split()
            trips = failpoints.with_name("failpoints.fired")
            before = _count(trips, name)
            failpoints.write_text(f"{name} {count} {action}\n")
            await asyncio.sleep(HOLD_S)
            await _until(lambda: _count(trips, name) > before, timeout_s=6)  # noqa: B023
            fired = _count(trips, name) > before
            failpoints.write_text("")
        elif where == "flushall":
            with connect_redis(at.redis_url) as client:
                fired = client.dbsize() > 0
                client.flushdb()
        elif what == LOSE:
            fired = await _lose(at, writer, count)
        else:
            proof = await edges[where].arm(Mode(what), connections=count or None)
            await asyncio.sleep(HOLD_S)
            await _until(lambda: proof.fired, timeout_s=3)  # noqa: B023
            await edges[where].heal()
            fired = proof.fired
        note(FaultPhase.HEAL, fired="observed" if fired else None)
        await asyncio.sleep(REST_S)


async def _lose(at: Place, writer: HistoryWriter, count: int) -> bool:
    """Take the last changes back and replay them; whether there were any."""
    lost_s = time.time()
    kept, rows = await asyncio.to_thread(take_back, at.mysql_url, count)
    if rows:
        writer.put(Loss, **loss_of(kept, rows))
    await asyncio.sleep(HOLD_S)
    environment = {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": at.mysql_url,
        "SCOREBOARD_REDIS_URL": at.redis_url,
        "SCOREBOARD_TEMPORAL_ADDRESS": at.temporal_address,
        "SCOREBOARD_TASK_QUEUE": at.task_queue,
    }
    await replay(
        lambda *words: program_output([sys.executable, "-m", *words], environment), lost_s=lost_s
    )
    return bool(rows)


def _count(trips: Path, name: str) -> int:
    """How often a failpoint has tripped, by its own record."""
    with contextlib.suppress(FileNotFoundError):
        return sum(line.startswith(f"{name} ") for line in trips.read_text().splitlines())
    return 0


async def _drained(at: Place) -> bool:
    """The board has stood still for a while and no workflow of the run has anything to do."""
    client = await TemporalClient.connect(at.temporal_address)
    deadline = time.monotonic() + 6
    last, quiet = -1, 0
    while time.monotonic() < deadline:
        # The namespace is shared, also with workflows that a planted bug left unfinished.
        running_now = await at_work(client, f"TaskQueue = '{at.task_queue}'")
        seq = board_seq(at.mysql_url)
        quiet = quiet + 1 if seq == last and not running_now else 0
        last = seq
        if quiet >= 3:
            return True
        await asyncio.sleep(0.2)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
