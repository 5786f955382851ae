"""Locust users that own an engine each: open-loop submitters and pools of listeners.

An `OpenLoopSubmitters` sends a slice of the offered load, a `ListenerPool` holds a slice of all
listeners. A user joins, is told its slice or stays idle, and reports every second; it decides
nothing about the run. How Locust is set up for them is `harness.run.locust_setup`.
"""

import contextlib
import gc
import logging
import os
import socket
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import gevent
import psutil
from gevent.event import Event
from locust import User, task
from locust.env import Environment

from harness.engines.churn import Churn
from harness.engines.increments import LEAST, MOST, Increments
from harness.engines.listener_stats import ListenerTotals
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence.history_upload import read_piece
from harness.evidence.history_writer import (
    ListenerJournal,
    SubmissionJournal,
    closed_at_the_end,
)
from harness.measure.clocks import shift_ns, this_clock
from harness.measure.schedule import Profile, arrivals, parse_profile
from harness.measure.settings import signing_key
from harness.measure.terminal import reason_of
from harness.net.sockets import prefer_this_process, raise_descriptor_limit
from harness.net.sse_parser import Reading
from harness.net.tls import wrapper
from harness.run import locust_stats, messages
from harness.run.messages import (
    Final,
    ListenerAssignment,
    ListenerStatus,
    SubmitterAssignment,
    SubmitterStatus,
)
from harness.traffic.board_reader import BoardReader
from harness.traffic.hooks import StreamHooks, SubmissionHooks, board_reads
from harness.traffic.slow_readers import TURN_S, SlowReaders

NS = 1_000_000_000
FLUSH_RECORDS = 64
FLUSH_EVERY_NS = NS // 2
FOR_EVER_S = 1e6

log = logging.getLogger(__name__)
active: dict[str, "EngineUser"] = {}
"""The users of this process that were started, by ident."""


class EngineUser(User):
    """A Locust user that drives an engine instead of issuing requests."""

    abstract = True
    kind: ClassVar[str] = ""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.ident = uuid.uuid4().hex
        self._work: SubmitterAssignment | ListenerAssignment | None = None
        self._assigned = Event()
        self._finishing = Event()
        self._target = -1
        self._history = Path()
        self._history_bytes = 0

    def on_start(self) -> None:
        """Join the run."""
        active[self.ident] = self
        join = messages.Join(
            ident=self.ident,
            kind=self.kind,
            pid=os.getpid(),
            host=socket.gethostname(),
            descriptors=raise_descriptor_limit(),
        )
        self._send(messages.JOIN, join)

    def on_stop(self) -> None:
        """Leave the run."""
        active.pop(self.ident, None)

    def assign(self, work: SubmitterAssignment | ListenerAssignment) -> None:
        """What to do, from the coordinator."""
        self._work = work
        self._assigned.set()

    def finish(self, target: int) -> None:
        """Wind up, from the coordinator."""
        self._target = target
        self._finishing.set()

    def drain(self) -> None:
        """Begin nothing new, from the coordinator."""

    def storm(self) -> None:
        """Cut all streams, from the coordinator."""

    def send_report(self, final: Final | None = None) -> None:
        """Tell the coordinator what happened since the last report."""
        series, status = self.take_figures()
        report = messages.Report(
            ident=self.ident, series=messages.series_of(series), status=status, final=final
        )
        self._send(messages.REPORT, report)

    def take_figures(self) -> tuple[list[list[Any]], SubmitterStatus | ListenerStatus | None]:
        """The series since the last time and how the engine stands; nothing before it runs."""
        return [], None

    @task
    def serve(self) -> None:
        """Wait for the assignment, run the engine to the end, then only wait to be stopped."""
        self._assigned.wait()
        assert self._work is not None
        try:
            self.run_engine(self._work)
        except gevent.GreenletExit:
            if not self._finishing.is_set():
                # Fewer users were asked for, or the process is told to end.
                self._send(messages.BROKEN, messages.Broken(ident=self.ident, stopped=True))
            raise
        except OSError as error:
            # The coordinator says it; where in our code it came up helps nobody.
            self._send(messages.BROKEN, messages.Broken(ident=self.ident, error=reason_of(error)))
        except Exception as error:
            log.exception("the engine broke")
            self._send(messages.BROKEN, messages.Broken(ident=self.ident, error=repr(error)))
        gevent.sleep(FOR_EVER_S)

    @abstractmethod
    def run_engine(self, work: Any) -> None:
        """Do the assigned work. Returns when told to finish."""

    def hand_over(self, offset: int) -> None:
        """Send a piece of the history to the coordinator, which does not see the file."""
        piece, problem = b"", ""
        try:
            piece = read_piece(self._history, offset)
        except OSError as error:
            problem = str(error)
        self._send(
            messages.PIECE,
            messages.Piece(ident=self.ident, offset=offset, piece=piece, problem=problem),
        )

    def _send(self, name: str, message: messages.Message) -> None:
        self.environment.runner.send_message(name, messages.pack(message))

    def _pump(self, engine: Submitter | Swarm, flush: Callable[[], None]) -> None:
        """Run an engine until told to finish; `flush` is called between its turns."""
        hub = gevent.get_hub()
        watcher = hub.loop.io(engine.fileno(), 1)
        try:
            while not self._finishing.is_set():
                engine.pump()
                flush()
                hub.wait(watcher)
        finally:
            watcher.close()


class OpenLoopSubmitters(SubmissionHooks, EngineUser):
    """Sends submissions on schedule, in open loop, over many connections."""

    abstract = True
    kind = "submitters"

    def __init__(self, environment: Environment) -> None:
        EngineUser.__init__(self, environment)
        SubmissionHooks.__init__(self)
        self._engine: Submitter | None = None
        self._board_reader: BoardReader | None = None
        self._seed = 1
        self._players = 1
        self._increments = Increments(seed=1, players=1)

    def choose(self, number: int) -> tuple[int, int]:
        """User id and increment of submission `number`: override to shape the traffic."""
        return self._increments.choose(number)

    def drain(self) -> None:
        for engine in (self._engine, self._board_reader):
            if engine is not None:
                engine.stop()

    def take_figures(self) -> tuple[list[list[Any]], SubmitterStatus | None]:
        engine = self._engine
        if engine is None:
            return [], None
        series = engine.series.drain()
        locust_stats.log_submissions(self.environment.stats, series)
        if self._board_reader is not None:
            series += self._board_reader.take_figures()
        return series, SubmitterStatus(
            busy=engine.busy_count,
            connections=engine.open_connections,
            finished=engine.finished,
            cpu_s=time.process_time(),
        )

    def run_engine(self, work: SubmitterAssignment) -> None:
        self._seed, self._players = work.seed, work.workload.players
        popularity = work.workload.popularity()
        self._increments = Increments(
            seed=work.seed,
            players=self._players,
            visit_length=work.workload.visit_length,
            popularity=popularity.user if popularity else None,
            gains=(work.server and work.server.submit.increments) or (LEAST, MOST),
            trace=work.workload.played,
        )
        request, read_answer = self.bind(
            server=work.server,
            users=work.users,
            tokens=work.tokens,
            host_header=work.host_header,
            run_id=work.run_id,
            signing_key=signing_key(work.signing_key),
        )
        monotonic_offset = time.time_ns() - time.monotonic_ns()
        settings = SubmitterSettings(
            address=work.address,
            start_ns=work.begin_unix_ns - monotonic_offset,
            zero_ns=work.zero_unix_ns - monotonic_offset,
            wrap=wrapper(work.server),
            connections=work.connections,
            timeout_ns=int(work.timeout_s * NS),
            drop_after_ns=int(work.timeout_s * NS),
        )
        journal = SubmissionJournal(
            _folder(work),
            name=work.name,
            run_id=work.run_id,
            shift_ns=shift_ns(this_clock(), work.clock),
        )
        self._history = journal.path
        self._engine = engine = Submitter(
            settings,
            work.workload.schedule(
                work.length_s, slice_index=work.slice_index, slice_count=work.slice_count
            ),
            self.choose,
            request,
            read_answer=read_answer,
        )
        opened = contextlib.ExitStack()
        opened.callback(engine.close)
        if (profile := parse_profile(work.reads)).submits:
            reads = board_reads(work.server, work.users.values(), work.host_header)
            self._board_reader = reader = BoardReader(settings, _schedule(work, profile), reads)
            opened.callback(reader.close)
            opened.callback(gevent.spawn(self._pump, reader, lambda: None).kill)
        prefer_this_process()
        # What exists now lives as long as the run; the collector need not look at it again.
        gc.freeze()
        next_flush = 0

        def flush() -> None:
            nonlocal next_flush
            now = time.monotonic_ns()
            if engine.record_count >= FLUSH_RECORDS or now > next_flush:
                journal.write(*engine.take_records())
                next_flush = now + FLUSH_EVERY_NS

        def close() -> None:
            journal.write(*engine.take_records())
            self._history_bytes = journal.close(drained=engine.finished)

        with opened, closed_at_the_end(close):
            self._pump(engine, flush)
        self.send_report(Final(history_bytes=self._history_bytes, signs=engine.signs))


class ListenerPool(StreamHooks, EngineUser):
    """Holds open SSE streams and accounts for every event."""

    abstract = True
    kind = "listeners"

    def __init__(self, environment: Environment) -> None:
        EngineUser.__init__(self, environment)
        StreamHooks.__init__(self)
        self._engine: Swarm | None = None
        self._slow: SlowReaders | None = None
        self._grown_kib: int | None = None
        self._last: ListenerTotals | None = None
        self._logs_events = False

    def take_figures(self) -> tuple[list[list[Any]], ListenerStatus | None]:
        engine = self._engine
        if engine is None:
            return [], None
        series = engine.series.drain()
        locust_stats.log_deliveries(self.environment.stats, series, events=self._logs_events)
        if self._slow is not None:
            series += self._slow.series.drain()
        return series, ListenerStatus(
            account=self._last or engine.account(),
            cpu_s=time.process_time(),
            grown_kib=self._grown_kib,
        )

    def storm(self) -> None:
        if self._engine is not None:
            self._engine.storm()

    def run_engine(self, work: ListenerAssignment) -> None:
        process = psutil.Process()
        rss_before = process.memory_info().rss
        self._logs_events = work.first_number == 0
        request, read_event = self.bind(
            server=work.server,
            users=work.users,
            tokens=work.tokens,
            host_header=work.host_header,
            gzip=work.gzip,
            labels=work.labels,
        )
        journal = ListenerJournal(
            _folder(work),
            name=work.name,
            shift_ns=shift_ns(this_clock(), work.clock),
            by_content=not work.capabilities.follows_ids,
        )
        self._history = journal.path
        self._engine = engine = Swarm(
            SwarmSettings(
                address=work.address,
                host_header=work.host_header,
                listeners=work.listeners,
                first_number=work.first_number,
                start_unix_ns=work.zero_unix_ns,
                seed=work.seed,
                tokens=work.tokens,
                gzip_every=1 if work.gzip else 0,
                capabilities=work.capabilities,
                events_max=work.events_max,
                wrap=wrapper(work.server),
                request=request,
                reading=Reading(read_event, work.labels),
                **_comings(work),
            )
        )
        slow_reading = gevent.spawn(self._read_slowly, work) if work.slow else None
        next_flush = 0

        def flush() -> None:
            nonlocal next_flush
            unmeasured = self._grown_kib is None and not work.ramp_s
            if unmeasured and engine.streaming == work.listeners:
                self._grown_kib = (process.memory_info().rss - rss_before) // 1024
            now = time.monotonic_ns()
            if now > next_flush:
                journal.write(*engine.take_records())
                next_flush = now + FLUSH_EVERY_NS

        def close() -> None:
            engine.stop()
            if slow_reading is not None:
                slow_reading.kill()
            journal.write(*engine.take_records())
            self._history_bytes = journal.close(
                drained=self._finishing.is_set(), about=engine.deliveries.beyond()
            )

        with contextlib.closing(engine):
            with closed_at_the_end(close):
                self._pump(engine, flush)
                # While the streams are still open: closing them says nothing of the server.
                self._last = engine.account(self._target)
            self.send_report(
                Final(
                    history_bytes=self._history_bytes,
                    latest=engine.table.latest,
                    reach=engine.table.to_delivery_spread().to_wire(),
                    signs=engine.signs.signs,
                )
            )

    def _read_slowly(self, work: ListenerAssignment) -> None:
        """Hold the slow listeners until killed; they are numbered after the others."""
        self._slow = slow = SlowReaders(
            work.address,
            listeners=work.slow,
            bytes_per_s=work.slow_bytes_per_s,
            request=lambda index: self.request(work.listeners + index, None),
            start_unix_ns=work.zero_unix_ns,
            first_number=work.first_number + work.listeners,
            wrap=wrapper(work.server),
        )
        try:
            while True:
                slow.turn()
                gevent.sleep(TURN_S)
        finally:
            slow.close()


def _comings(work: ListenerAssignment) -> dict[str, Any]:
    """How listeners come and go. The first of each pool comes at once and stays, so that somebody
    saw everything."""
    found: dict[str, Any] = {}
    if work.ramp_s:
        found["connect_per_s"] = work.listeners / work.ramp_s
    if work.stay_s:
        stays_s = (0.5 * work.stay_s, 1.5 * work.stay_s)
        others = range(1, work.listeners)
        found["churn"] = (
            Churn(listeners=others, stays_s=stays_s, away_s=(0.0, 0.0), others_come=True),
        )
    return found


def _schedule(work: SubmitterAssignment, profile: Profile) -> Iterator[tuple[int, int]]:
    if work.length_s:
        profile = profile.cut(work.length_s)
    return arrivals(
        profile,
        seed=work.seed,
        poisson=work.workload.arrivals == "poisson",
        slice_index=work.slice_index,
        slice_count=work.slice_count,
    )


def _folder(work: messages.Assignment) -> Path:
    """The run's folder as this process sees it: the coordinator's only where they share it."""
    return Path(work.results).resolve() / work.run_id
