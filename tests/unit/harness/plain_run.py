"""A simulated run against a server of the specification, honest or with one lie, for the judge.

The clock is simulated, the accounts of the listeners and the history are the real ones.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from harness.checker import Evidence, Finding, Promises, check, gather, promises_of
from harness.engines.by_content.deliveries import ContentDeliveries
from harness.engines.increments import Increments
from harness.engines.span_figures import NumberedSpan
from harness.evidence.history import (
    BY_CONTENT,
    AnyRecord,
    Done,
    End,
    Event,
    Header,
    HistoryFile,
    Listen,
    Outcome,
    Read,
    Submit,
)
from harness.net.sse_parser import Item, Kind

MS = 1_000_000
S = 1_000 * MS
TOP = 10


@dataclass(kw_only=True)
class Plan:
    """What happens in a run. Shares are of the submissions."""

    seed: int = 1
    users: int = 20
    submissions: int = 200
    every_ms: float = 10.0
    listeners: int = 5
    processes: int = 1
    refused: float = 0.0
    unknown: float = 0.0
    reconnects: int = 0
    slow_listener_ms: float = 0.0
    shuffled: bool = False
    """Listeners receive events of different users in different orders."""
    losses: float = 0.0
    slower_ms: float = 0.0
    """By how much later each submission is applied than the one before it."""
    stalled_from: int = 1 << 30
    """The first submission that is acknowledged and not applied before the end."""
    amounts: tuple[int, ...] = ()
    """The increments, drawn evenly, where they are not the harness's own."""
    same_names: int = 0
    """So many users are called alike."""
    alike: str = "Alice"
    """How they are called."""
    spelled: Callable[[int], str] | None = None
    """Names of all users by their numbers, where they are no usual ones."""
    renamed: str = ""
    """How user 3 is called from a second after the first submission on."""
    silent: tuple[int, ...] = ()
    """The first users never submit, and have these scores."""
    bases: Callable[[random.Random], int] = lambda _: 0
    lie: str = ""
    lie_at: int = 60
    """The first submission that is lied about; standing lies last from it on."""
    lies: int = 1
    foreign: int = 0
    """Events of users that others write to."""
    roster: bool = False


@dataclass
class Told:
    """One event as the server sends it, and to whom."""

    time_ns: int
    name: str
    score: int
    to: tuple[int, ...]
    times: int = 1
    broken: bool = False
    sent_ns: int = 0


Step: TypeAlias = tuple[int, int, int, list[Told]]
"""When, 0 for a cut and 1 for a batch, which listener, and what it receives."""


@dataclass
class Simulation:
    """One run, from the plan to the evidence."""

    plan: Plan
    records: dict[str, list[AnyRecord]] = field(default_factory=lambda: defaultdict(list))
    told: list[Told] = field(default_factory=list)
    lied_about: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        self.random = random.Random(plan.seed)
        self.names = {
            user: plan.alike if user <= plan.same_names else f"User{user:05d}"
            for user in range(1, plan.users + 1)
        }
        if plan.spelled is not None:
            self.names = {user: plan.spelled(user) for user in self.names}
        self.scores = {user: plan.bases(self.random) for user in self.names}
        self.scores[1] += 1500
        self.scores |= dict(enumerate(plan.silent, start=1))
        self.gained: dict[int, int] = {}
        self.held: dict[int, list[Told]] = defaultdict(list)
        self.busy_until: dict[int, int] = {}
        self.frozen: list[tuple[str, int]] | None = None
        self.standing = False
        self.postponed = 0
        self._put(
            "coordinator",
            Header,
            0,
            version=1,
            process="coordinator",
            unix_us=1,
            about={"kind": "load"},
        )
        self._put("submitters-0", Header, 0, version=1, process="submitters-0", unix_us=1)
        self._read(S // 2)
        self._submit_all()
        self._listen_all()
        self._read(self.end_ns)
        self._finish()

    def _put(self, process: str, kind: type[AnyRecord], time_ns: int, /, **fields: Any) -> int:
        records = self.records[process]
        records.append(kind(index=len(records), time_ns=time_ns, **fields))
        return len(records) - 1

    # The server

    def _submit_all(self) -> None:
        plan = self.plan
        increments = Increments(seed=plan.seed, players=plan.users)
        now_ns = 2 * S
        for number in range(plan.submissions):
            now_ns += int(self.random.expovariate(1) * plan.every_ms * MS)
            user, increment = increments.choose(number)
            if plan.amounts:
                increment = self.random.choice(plan.amounts)
            if user <= len(plan.silent):
                continue
            if self.random.random() < plan.losses and self.scores[user] > 200:
                increment = -increment
            self._submit(number, user, increment, now_ns)
            if number % 100 == 99:
                self._read(now_ns)
        self.end_ns = max([now_ns, *(told.time_ns for told in self.told)]) + 20 * S
        for number in range(plan.foreign):
            self._tell(2 * S + number * 50 * MS, f"Guest{number % 3}", 100 + number)

    def _submit(self, number: int, user: int, increment: int, now_ns: int) -> None:
        plan = self.plan
        first = plan.lie_at + self.postponed
        lie = plan.lie if first <= number < first + plan.lies else ""
        if lie == "lost-update" and user not in self.gained:
            # Only an earlier update can be lost.
            lie, self.postponed = "", self.postponed + 1
        self.standing |= bool(lie)
        answered_ns = now_ns + int(self.random.uniform(1, 30) * MS)
        status: int | None = 200
        outcome, applied = Outcome.OK, True
        chance = self.random.random()
        if lie == "refused-but-applied":
            outcome, status = Outcome.FAIL, 422
        elif not lie and chance < plan.refused:
            outcome, status, applied = (
                Outcome.FAIL,
                503 if chance < plan.refused / 2 else 429,
                False,
            )
            outcome = Outcome.UNKNOWN if status == 503 else Outcome.FAIL
        elif not lie and chance < plan.refused + plan.unknown:
            outcome, status, applied = Outcome.UNKNOWN, None, self.random.random() < 0.5
        of = self._put(
            "submitters-0",
            Submit,
            now_ns,
            client="submitters-0",
            principal=str(user),
            user=user,
            increment=increment,
            digest="",
            key=f"run-{number}",
        )
        self._put("submitters-0", Done, answered_ns, of=of, outcome=outcome, status=status)
        if applied and number < plan.stalled_from:
            if lie:
                self.lied_about.append((self.names[user], increment))
            seen_ns = now_ns + int(self.random.uniform(2, 60) * MS + number * plan.slower_ms * MS)
            # One user's submissions are applied one after the other.
            seen_ns = max(seen_ns, self.busy_until.get(user, 0) + MS)
            self.busy_until[user] = seen_ns
            self._apply(user, increment, lie, seen_ns)

    def _apply(self, user: int, increment: int, lie: str, now_ns: int) -> None:
        another = user - 1 if user > 1 else 2
        if lie == "lose-accepted":
            return
        if lie == "apply-twice":
            self._apply(user, increment, "", now_ns - MS // 2)
        if lie == "wrong-user":
            user = another
        if lie == "lost-update":
            self.scores[user] -= self.gained.get(user, 0)
        self.gained[user] = increment + (lie == "wrong-amount")
        self.scores[user] += self.gained[user]
        told = Told(now_ns, self.names[user], self.scores[user], ())
        self._show(user, another, told, lie)

    def _show(self, user: int, another: int, told: Told, lie: str) -> None:
        match lie:
            case "never-shown":
                return
            case "reordered":
                self.held[user].append(told)
                return
            case "shown-for-another":
                told.name = self.names[another]
            case "shown-wrong-score":
                told.score += 1
            case "torn-event":
                told.broken = True
        now_ns = told.time_ns
        self._tell(now_ns, told.name, told.score, lie=lie, broken=told.broken)
        if lie == "shown-twice":
            self._tell(now_ns + 1, told.name, told.score)
        if lie == "invented-event":
            self._tell(now_ns + 1, self.names[another], self.scores[another] + 1)
        while self.held[user]:
            held = self.held[user].pop()
            self._tell(now_ns + 2, held.name, held.score)

    def _tell(
        self, time_ns: int, name: str, score: int, *, lie: str = "", broken: bool = False
    ) -> None:
        name = self._called(name, time_ns)
        to = tuple(range(self.plan.listeners))
        if lie == "one-listener-misses" or (self.standing and self.plan.lie == "silent-listener"):
            to = to[1:]
        self.told.append(Told(time_ns, name, score, to, broken=broken))
        if lie == "one-listener-twice":
            self.told.append(Told(time_ns, name, score, (0,)))

    def _called(self, name: str, time_ns: int) -> str:
        renamed = self.plan.renamed and time_ns >= 3 * S and name == self.names[3]
        return self.plan.renamed if renamed else name

    def _board(self) -> list[tuple[str, int]]:
        rows = [(self.names[user], score) for user, score in self.scores.items()]
        rows = sorted(rows, key=lambda row: -row[1])[: TOP + 1]
        if self.standing:
            if self.plan.lie == "stale-board":
                rows = self.frozen = self.frozen or rows
            if self.plan.lie == "board-leaves-out":
                del rows[0]
        rows = rows[:TOP]
        if self.standing and self.plan.lie == "board-wrong-score":
            rows[0] = (rows[0][0], rows[0][1] + 1)
        if self.standing and self.plan.lie == "board-wrong-order":
            rows[0], rows[-1] = rows[-1], rows[0]
        return rows

    def _read(self, now_ns: int) -> None:
        of = self._put("coordinator", Read, now_ns, client="coordinator")
        self._put(
            "coordinator",
            Done,
            now_ns + MS,
            of=of,
            outcome=Outcome.OK,
            status=200,
            seq=-1,
            scores=[(self._called(name, now_ns), score) for name, score in self._board()],
        )

    # The listeners

    def _listen_all(self) -> None:
        plan = self.plan
        self.now_ns = S
        swarms = [
            ContentDeliveries(plan.listeners, limit=10_000, clock_ns=lambda: self.now_ns)
            for _ in range(plan.processes)
        ]
        cuts = {
            (
                self.random.randrange(plan.listeners),
                self.random.randrange(3 * S, self.end_ns - 18 * S),
            )
            for _ in range(plan.reconnects)
        }
        steps = [step for index in range(plan.listeners) for step in self._batches(index)]
        steps += [(cut_ns, 0, index, []) for index, cut_ns in cuts]
        for index in range(plan.listeners):
            swarms[index % plan.processes].opened(index)
        self._play(swarms, sorted(steps, key=lambda step: step[:3]))
        for number, swarm in enumerate(swarms):
            self._write(f"listeners-{number}", swarm)

    def _batches(self, index: int) -> Iterator[Step]:
        """What one listener receives, and when: what comes within 5 ms comes together."""
        plan = self.plan
        delay_ns = int(plan.slow_listener_ms * MS) if index == 0 else index * MS // 10
        batches: dict[int, list[Told]] = defaultdict(list)
        last: dict[str, int] = {}
        for told in sorted(self.told, key=lambda told: told.time_ns):
            if index not in told.to:
                continue
            at_ns = told.time_ns + delay_ns
            if plan.shuffled:
                at_ns = max(at_ns + self.random.randrange(40 * MS), last.get(told.name, 0) + 1)
                last[told.name] = at_ns
            batches[at_ns // (5 * MS)].append(replace(told, time_ns=at_ns, sent_ns=told.time_ns))
        for batch in batches.values():
            batch.sort(key=lambda told: told.time_ns)
            yield batch[-1].time_ns, 1, index, batch

    def _play(self, swarms: Sequence[ContentDeliveries], steps: Sequence[Step]) -> None:
        processes = len(swarms)
        away: dict[int, int] = {}
        since = [S] * self.plan.listeners
        spans: dict[tuple[int, bytes], NumberedSpan] = {}
        for at_ns, kind, index, batch in steps:
            self.now_ns = at_ns
            swarm = swarms[index % processes]
            if index in away and at_ns >= away[index]:
                del away[index]
                since[index] = at_ns
                swarm.opened(index)
            if index in away:
                continue
            if kind == 0:
                swarm.closed(index, "closed")
                away[index] = at_ns + 300 * MS
                continue
            # What was sent before it came back, a slow listener would have had late.
            kept = [told for told in batch if told.sent_ns >= since[index]]
            if kept:
                swarm.deliver(index, self._span(spans, index % processes, kept), at_ns)
        self.now_ns = self.end_ns
        for index in range(self.plan.listeners):
            if index in away:
                swarms[index % processes].opened(index)
            swarms[index % processes].closed(index, "stopped")

    def _span(
        self, spans: dict[tuple[int, bytes], NumberedSpan], process: int, batch: Sequence[Told]
    ) -> NumberedSpan:
        payload = repr([(told.name, told.score, told.broken) for told in batch]).encode()
        span = spans.get((process, payload))
        if span is None:
            span = spans[process, payload] = NumberedSpan(b"", 0)
            span.items = [
                Item(Kind.BROKEN, user='{"user"')
                if told.broken
                else Item(Kind.UPDATE, user=told.name, score=told.score)
                for told in batch
            ]
        return span

    def _write(self, process: str, swarm: ContentDeliveries) -> None:
        self._put(
            process, Header, 0, version=1, process=process, unix_us=1, about={"events": BY_CONTENT}
        )
        sightings, stretches = swarm.take_records()
        for seen in sightings:
            self._put(
                process,
                Event,
                seen.time_ns,
                seq=seen.number,
                user=seen.user,
                score=seen.score,
                listener=f"listener-{seen.listener}",
            )
        for stretch in stretches:
            detail = "end of run" if stretch.detail == "stopped" else stretch.detail
            self._put(
                process,
                Listen,
                stretch.time_ns,
                listener=f"listener-{stretch.listener}",
                what=stretch.what,
                first=stretch.first,
                last=stretch.last,
                detail=detail or None,
            )

    def _finish(self) -> None:
        processes = [name for name in self.records if name != "coordinator"]
        for name in processes:
            self._put(name, End, self.end_ns + S, drained=True)
        self._put("coordinator", End, self.end_ns + S, drained=True, about={"processes": processes})

    # The judgement

    def evidence(self) -> Evidence:
        return gather(
            HistoryFile(name=name, records=records) for name, records in self.records.items()
        )

    def findings(self) -> list[Finding]:
        evidence = self.evidence()
        if self.plan.roster:
            evidence.names.update(self.names)
        return check(evidence, promises_of(evidence, Promises()))
