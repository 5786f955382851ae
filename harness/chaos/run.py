"""Runs one chaos test: stack, clients, faults in turn, drain, final reads, verdict.

Leaves in its folder ``history.jsonl``, ``witness.json`` and the stack's own data with all logs.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from harness.chaos.clients import ClientPool, Probe, Reader
from harness.chaos.drain import drained
from harness.chaos.faults import Injected, injected
from harness.chaos.listeners import Audience
from harness.chaos.schedule import Planned, duration_s, groups_of, plan
from harness.chaos.system import System, UnderTest
from harness.checker import Demands, Finding, Promises, check, gather
from harness.checker.evidence import Evidence
from harness.checker.verdict import not_asked
from harness.evidence.database import (
    Sample,
    board_seq,
    connect_redis,
    read_database_snapshot,
    sample_redis,
    save_database_snapshot,
)
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

LEAST_HOLD_S = 0.3
"""Minimum time in force, also for instantaneous faults: their effect lasts (data that Redis lost is
missing until the rebuild), and requests sent meanwhile must meet it."""

HISTORY_S = 15.0
"""For how long the server remembers changes at a rate that is higher than usual."""

RECOVERY_TIMEOUT_S = 45.0
SAMPLE_INTERVAL_S = 1.0
READERS = 4
PROBE_USER = 3
HOT_USERS = range(4, 7)
FIRST_USER = 8

Say = Callable[[str], None]
Inject = Callable[[Any, Planned], AbstractAsyncContextManager[Injected]]
"""Injects a fault into a system of the caller's own kind; as `harness.chaos.faults.injected`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run's size. `rate` is submissions per second while nothing is broken."""

    seed: int
    short: bool
    users: int = 200
    clients: int = 64
    rate: float = 320.0
    listeners: int = 200
    restless: int = 40
    least_s: float = 0.0
    """Minimum duration of submissions, also when all faults are over."""
    sleepers: int = 8
    """Number of listeners that stay disconnected for longer than the server keeps changes."""
    limit_count: int = 100
    limit_window_s: int = 10
    """The rate limit the stack is started with; hot users go a tenth beyond it."""
    faults: tuple[Planned, ...] = ()
    """Replaces the faults that the seed would plan."""
    temporal_cluster: bool = False
    """Whether Temporal is several processes on PostgreSQL, and each of them is struck."""
    losses: bool = False
    """MySQL loses changes, which HTTP and streams alone cannot tell from a server that lies."""
    lab: bool = False
    """The system has several hosts."""

    @property
    def history_changes(self) -> int:
        """Changes the server remembers: fewer than come while a sleeper is away, so that some
        resumes are resets, and more than come during a fault, so that each change is seen by
        someone: what all were reset past, no listener can witness."""
        return 1500 if self.short else max(5000, int(HISTORY_S * self.rate))

    @property
    def demands(self) -> Demands:
        """The minimum evidence for a verdict other than unknown."""
        if self.lab:
            return Demands(
                accepted_min=2_000,
                unknown_attempts_min=5,
                listeners_min=self.listeners,
                reconnects_min=self.restless,
                faults_min=len(self.faults),
                redis_samples_min=20,
            )
        if self.faults:
            return Demands(
                accepted_min=500,
                unknown_attempts_min=1,
                listeners_min=self.listeners,
                reconnects_min=self.restless,
                faults_min=len(self.faults),
                redis_samples_min=5,
            )
        if self.short:
            return Demands(
                accepted_min=5_000,
                unknown_attempts_min=20,
                listeners_min=self.listeners,
                reconnects_min=self.restless,
                faults_min=15,
                fault_kinds_min=12,
                redis_samples_min=20,
                resets_min=1,
            )
        return Demands(
            accepted_min=100_000,
            unknown_attempts_min=500,
            listeners_min=200,
            reconnects_min=500,
            faults_min=60,
            fault_kinds_min=15,
            redis_samples_min=200,
            resets_min=5,
            healthy_min_s=60,
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """The result of a run."""

    plan: Plan
    evidence: Evidence
    findings: list[Finding]
    black_box: list[Finding]
    """The verdict that HTTP and streams alone would give."""
    counts: Counter[str]
    seconds: float
    load_s: float
    about: dict[str, Any]


async def run_chaos(folder: Path, chosen: Plan, say: Say) -> Run:
    """One whole run. Raises StackFailed when the stack cannot be started or asked."""
    began = time.monotonic()
    system = System(folder / "stack", users=chosen.users, environment=environment_of(chosen))
    async with system:
        say(f"the stack is up after {time.monotonic() - began:.1f} s")
        return await run_on(system, folder, chosen, say)


def environment_of(chosen: Plan) -> dict[str, str]:
    """The settings that a run needs of server and worker."""
    return {
        "SCOREBOARD_HISTORY_CHANGES": str(chosen.history_changes),
        # Held submissions would wait for a reviewer, and this load looks like fraud.
        "SCOREBOARD_FRAUD_LARGE_INCREMENT": "0",
        "SCOREBOARD_FRAUD_WINDOW_POINTS": "0",
        "SCOREBOARD_FRAUD_UNLIKE_HISTORY_Z": "0",
        "SCOREBOARD_RATE_LIMIT_COUNT": str(chosen.limit_count),
        "SCOREBOARD_RATE_LIMIT_WINDOW_S": str(chosen.limit_window_s),
        "SCOREBOARD_TEMPORAL_SERVER": "cluster" if chosen.temporal_cluster else "development",
    }


async def run_on(
    system: UnderTest, folder: Path, chosen: Plan, say: Say, *, inject: Inject = injected
) -> Run:
    """Load and faults on a system that is up, then the verdict. Raises StackFailed."""
    began = time.monotonic()
    with HistoryWriter(
        folder / "history.jsonl", process="chaos", about={"seed": chosen.seed}
    ) as writer:
        coordinator = _Coordinator(system, writer, chosen, say, inject)
        await coordinator.lead()
        about = coordinator.about()
    say("reading the ledger")
    database = await asyncio.to_thread(read_database_snapshot, system.mysql_url())
    save_database_snapshot(database, folder / "witness.json")
    say("checking")
    findings, black_box, evidence = await asyncio.to_thread(judge, folder, chosen.demands)
    return Run(
        plan=chosen,
        evidence=evidence,
        findings=findings,
        black_box=black_box,
        counts=coordinator.counts,
        seconds=time.monotonic() - began,
        load_s=coordinator.load_s,
        about=about,
    )


def judge(folder: Path, demands: Demands) -> tuple[list[Finding], list[Finding], Evidence]:
    """The verdict on a finished run from its files: with the database, and without."""
    from harness.evidence.database import load_database_snapshot

    history = read_history(folder / "history.jsonl")
    promises = Promises(demands=demands, reads_in_one_order=True)
    evidence = gather([history], load_database_snapshot(folder / "witness.json"))
    black_box = [not_asked("all", "the database: it alone knows what MySQL lost")]
    if not evidence.losses:
        black_box = check(gather([history]), Promises(demands=demands, skip=frozenset({"I4"})))
    return check(evidence, promises), black_box, evidence


class _Coordinator:
    """One run in progress."""

    def __init__(
        self, system: UnderTest, writer: HistoryWriter, chosen: Plan, say: Say, inject: Inject
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.load_s = 0.0
        self._system = system
        self._inject = inject
        self._writer = writer
        self._plan = chosen
        self._say = say
        self._faults = list(chosen.faults) or plan(
            chosen.seed,
            short=chosen.short,
            cluster=chosen.temporal_cluster,
            losses=chosen.losses,
        )
        rng = random.Random(f"clients {chosen.seed}")
        client_port = system.proxies["client-server"].port
        self._audience = Audience(
            writer,
            system.proxies["listener-server"].port,
            count=chosen.listeners,
            restless=chosen.restless,
            rng=rng,
            sleepers=chosen.sleepers,
            sleep_s=10.0 if chosen.short else 30.0,
        )
        self._clients = ClientPool(
            writer,
            client_port,
            secret=system.secret.encode(),
            users=range(FIRST_USER, chosen.users + 1),
            hot_users=HOT_USERS,
            clients=chosen.clients,
            rate=chosen.rate,
            hot_rate=chosen.limit_count / chosen.limit_window_s * 1.1,
            rng=rng,
        )
        self.counts = self._clients.counts
        self._readers = [
            Reader(writer, client_port, name=f"r{n}", rng=random.Random(rng.random()))
            for n in range(READERS)
        ]
        self._final_reader = Reader(
            writer, system.server_port, name="final", rng=random.Random(rng.random())
        )
        probe_name = f"User{PROBE_USER:05d}"
        self._probe = Probe(
            writer,
            client_port,
            secret=system.secret.encode(),
            user=PROBE_USER,
            seen=lambda: self._audience.newest_of(probe_name),
        )

    def about(self) -> dict[str, Any]:
        """Facts for the report beyond the history."""
        return {
            "planned_faults": len(self._faults),
            "planned_s": round(duration_s(self._faults), 1),
            "temporal": "cluster" if self._plan.temporal_cluster else "development server",
        }

    async def lead(self) -> None:
        """From the first read of the board to the end record."""
        await self._first_board()
        self._audience.start()
        if not await self._audience.until_all(0, timeout_s=30):
            raise RuntimeError("not all listeners got their stream")
        began = time.monotonic()
        self._clients.start()
        background = [asyncio.create_task(reader.run(0.5)) for reader in self._readers]
        background.append(asyncio.create_task(self._sample()))
        try:
            for group in groups_of(self._faults):
                await _sleep_until(began + group[0].at_s)
                await self._strike(group)
            await _sleep_until(began + self._plan.least_s)
        finally:
            await self._clients.stop(timeout_s=60)
            self.load_s = time.monotonic() - began
            for task in background:
                task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        await self._finish()

    async def _first_board(self) -> None:
        """Read the whole board before the first submission: the baseline of every later check."""
        scores: list[Score] = []
        seq = 0
        while True:
            page = await self._final_reader.read(limit=100, offset=len(scores))
            if page is None:
                raise RuntimeError("the board could not be read before the run")
            seq = page[0]
            scores += page[1]
            if len(page[1]) < 100:
                break
        names = await asyncio.to_thread(_names, self._system.mysql_url())
        self._writer.put(InitialBoard, seq=seq, scores=scores)
        self._writer.put(Roster, users=names)
        self._writer.put(
            ServerLimits,
            count=self._plan.limit_count,
            window_ms=self._plan.limit_window_s * 1000,
            history_changes=self._plan.history_changes,
        )

    async def _strike(self, group: list[Planned]) -> None:
        """Inject faults that strike together, heal them, and time the recovery from the last."""
        held = await asyncio.gather(
            *(self._hold(fault, delay_s=fault.at_s - group[0].at_s) for fault in group)
        )
        recovery_ms = None
        if await self._probe.comes_through(timeout_s=RECOVERY_TIMEOUT_S):
            lifted_ns = max(lifted_ns for lifted_ns, _ in held)
            recovery_ms = (time.monotonic_ns() - lifted_ns) / 1e6
        recovered = "NOT recovered" if recovery_ms is None else f"recovered in {recovery_ms:.0f} ms"
        for fault, (_, proof) in zip(group, held, strict=True):
            self._note(fault, FaultPhase.RECOVERED, recovery_ms=recovery_ms)
            beside = "" if fault.beside is None else f" beside {fault.beside}"
            self._say(
                f"{fault.number:3}/{len(self._faults)} {fault.label} on {fault.target}{beside}: "
                f"{proof or 'did NOT fire'}; {recovered}; {self.counts['accepted']} accepted"
            )

    async def _hold(self, fault: Planned, *, delay_s: float) -> tuple[int, str | None]:
        """One fault from injection to heal; when what it broke might work again, and its proof.

        That is before it does: what is stopped has yet to start, and that belongs to recovery.
        A fault of a moment, as a kill, is over when it has struck.
        """
        await asyncio.sleep(delay_s)
        self._note(fault, FaultPhase.INJECT)
        async with self._inject(self._system, fault) as outcome:
            struck_ns = time.monotonic_ns()
            await asyncio.sleep(max(fault.hold_s, LEAST_HOLD_S))
            heal_ns = time.monotonic_ns()
        self._note(fault, FaultPhase.HEAL, time_ns=heal_ns, fired=outcome.proof)
        while self._system.losses:
            self._writer.put(Loss, **self._system.losses.pop(0))
        return heal_ns if fault.hold_s else struck_ns, outcome.proof

    def _note(self, fault: Planned, phase: FaultPhase, **fields: Any) -> None:
        self._writer.put(
            Fault,
            fault=fault.number,
            kind=fault.label,
            target=fault.target,
            phase=phase,
            **fields,
        )

    async def _sample(self) -> None:
        def sample() -> Sample:
            # The master may be another one each time.
            with contextlib.closing(connect_redis(self._system.redis_url)) as client:
                return sample_redis(client)

        while True:
            # Redis itself may be under a fault.
            with contextlib.suppress(redis.RedisError, OSError):
                (await asyncio.to_thread(sample)).record(self._writer)
            await asyncio.sleep(SAMPLE_INTERVAL_S)

    async def _finish(self) -> None:
        """Heal everything, let accepted work settle, read everything once more."""
        for proxy in self._system.proxies.values():
            await proxy.heal()
        await self._system.until_up()
        left = await drained(self._system)
        seq = await asyncio.to_thread(board_seq, self._system.mysql_url())
        caught_up = await self._audience.until_all(seq, timeout_s=30)
        self._say(
            f"drained: {left or True}; the board stands at {seq}; all listeners there: {caught_up}"
        )
        client = connect_redis(self._system.redis_url)
        (await asyncio.to_thread(sample_redis, client)).record(self._writer)
        client.close()
        for _ in range(5):
            if await self._final_reader.read(limit=100) is not None:
                break
            await asyncio.sleep(0.5)
        self._final_reader.close()
        self._probe.close()
        await self._audience.stop()
        self._writer.end(drained=not left, about=dict(self.counts))


def _names(mysql_url: str) -> list[tuple[int, str]]:
    return [(user.id, user.name) for user in read_database_snapshot(mysql_url).users]


async def _sleep_until(moment: float) -> None:
    delay = moment - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)
