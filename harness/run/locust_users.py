"""Locust users that own an engine each, and the messages between them and the conductor.

One `Flood` sends a slice of all submissions, one `Swarm` holds a slice of all
listeners. A user joins, is told its slice, and reports every second through
Locust's own worker reports; it decides nothing about the run.
"""

import gc
import logging
import os
import socket
import time
import uuid
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import gevent
import psutil
from gevent.event import Event
from locust import User, events, runners, task
from locust.env import Environment

from harness.engines.listener_stats import Account
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm as SwarmEngine
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence.history_upload import read_piece
from harness.evidence.history_writer import ListenerJournal, SubmissionJournal
from harness.measure.clocks import Clock, shift_ns, this_clock
from harness.measure.schedule import arrivals, mix, parse_profile
from harness.measure.settings import add_options, signing_key
from harness.net.http_wire import SubmissionRequests
from harness.net.sockets import prefer_this_process, raise_descriptor_limit
from harness.run import locust_stats, web_tab
from harness.run.coordinator import Conductor
from harness.run.dispatch import RoleDispatcher
from harness.run.roles import users_for

NS = 1_000_000_000
REPORT_EVERY_S = 1.0
FLUSH_RECORDS = 64
LARGEST_INCREMENT = 97
"""Prime, so consecutive submissions of one user differ in their increment."""

PARENT_VARIABLE = "SCOREBOARD_LOAD_PARENT"

log = logging.getLogger(__name__)
_active: dict[str, "EngineUser"] = {}


class EngineUser(User):
    """A Locust user that drives an engine instead of issuing requests."""

    abstract = True
    kind: ClassVar[str] = ""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.ident = uuid.uuid4().hex
        self._assignment: dict[str, Any] | None = None
        self._assigned = Event()
        self._finishing = Event()
        self._finish: dict[str, Any] = {}
        self._history = Path()
        self._history_bytes = 0

    def on_start(self) -> None:
        """Join the run."""
        _active[self.ident] = self
        self.environment.runner.send_message(
            "scoreboard_join",
            {
                "ident": self.ident,
                "kind": self.kind,
                "pid": os.getpid(),
                "host": socket.gethostname(),
            },
        )

    def on_stop(self) -> None:
        """Leave the run."""
        _active.pop(self.ident, None)

    def assign(self, assignment: dict[str, Any]) -> None:
        """What to do, from the conductor."""
        self._assignment = assignment
        self._assigned.set()

    def finish(self, message: dict[str, Any]) -> None:
        """Wind up, from the conductor."""
        self._finish = message
        self._finishing.set()

    def drain(self) -> None:
        """Begin nothing new, from the conductor."""

    def report(self) -> dict[str, Any]:
        """What happened since the last report; empty series before the engine runs."""
        return {"ident": self.ident, "kind": self.kind, "series": [], "status": {}}

    @task
    def serve(self) -> None:
        """Wait for the assignment, run the engine to the end, then only wait to be stopped."""
        self._assigned.wait()
        assert self._assignment is not None
        try:
            self.run_engine(self._assignment)
        except gevent.GreenletExit:
            raise
        except Exception as error:
            log.exception("the engine broke")
            self.environment.runner.send_message(
                "scoreboard_broken", {"ident": self.ident, "error": repr(error)}
            )
        gevent.sleep(1e6)

    @abstractmethod
    def run_engine(self, assignment: dict[str, Any]) -> None:
        """Do the assigned work. Returns when told to finish."""

    def hand_over(self, offset: int) -> None:
        """Send a piece of the history to the conductor, which does not see the file."""
        piece, problem = b"", ""
        try:
            piece = read_piece(self._history, offset)
        except OSError as error:
            problem = str(error)
        self.environment.runner.send_message(
            "scoreboard_piece",
            {"ident": self.ident, "offset": offset, "piece": piece, "problem": problem},
        )

    def _send_final(self, report: dict[str, Any]) -> None:
        report["final"] = True
        report["history_bytes"] = self._history_bytes
        self.environment.runner.send_message("scoreboard_report", report)


class Flood(EngineUser):
    """Sends submissions on schedule over many connections."""

    abstract = True
    kind = "flood"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._engine: Submitter | None = None
        self._seed = 1
        self._players = 1

    def choose(self, number: int) -> tuple[int, int]:
        """User id and increment of submission `number`: override to shape the traffic."""
        return 1 + mix(self._seed, number) % self._players, 1 + number % LARGEST_INCREMENT

    def drain(self) -> None:
        if self._engine is not None:
            self._engine.stop()

    def report(self) -> dict[str, Any]:
        engine = self._engine
        if engine is None:
            return super().report()
        series = engine.series.drain()
        locust_stats.log_submissions(self.environment.stats, series)
        return {
            "ident": self.ident,
            "kind": self.kind,
            "series": series,
            "status": {
                "busy": engine.busy_count,
                "connections": engine.open_connections,
                "finished": engine.finished,
                "cpu_s": time.process_time(),
            },
        }

    def run_engine(self, assignment: dict[str, Any]) -> None:
        self._seed, self._players = assignment["seed"], assignment["players"]
        requests = SubmissionRequests(
            host_header=assignment["host_header"],
            tokens={int(user): token for user, token in assignment["tokens"].items()},
            run_id=assignment["run_id"],
            signing_key=signing_key(assignment["signing_key"]),
        )
        profile = parse_profile(assignment["rate"])
        if assignment["length_s"]:
            profile = profile.cut(assignment["length_s"])
        monotonic_offset = time.time_ns() - time.monotonic_ns()
        engine = Submitter(
            SubmitterSettings(
                address=tuple(assignment["address"]),
                start_ns=assignment["begin_unix_ns"] - monotonic_offset,
                zero_ns=assignment["zero_unix_ns"] - monotonic_offset,
                connections=assignment["connections"],
                timeout_ns=int(assignment["timeout_s"] * NS),
                drop_after_ns=int(assignment["timeout_s"] * NS),
            ),
            arrivals(
                profile,
                seed=self._seed,
                poisson=assignment["arrivals"] == "poisson",
                slice_index=assignment["slice_index"],
                slice_count=assignment["slice_count"],
            ),
            self.choose,
            requests.make,
        )
        self._engine = engine
        prefer_this_process()
        # What exists now lives as long as the run; the collector need not look at it again.
        gc.freeze()
        journal = SubmissionJournal(
            _folder(assignment),
            name=assignment["name"],
            run_id=assignment["run_id"],
            shift_ns=shift_ns(this_clock(), Clock(*assignment["clock"])),
        )
        self._history = journal.path
        next_flush = 0
        hub = gevent.get_hub()
        watcher = hub.loop.io(engine.fileno(), 1)
        try:
            while not self._finishing.is_set():
                engine.pump()
                now = time.monotonic_ns()
                if engine.record_count >= FLUSH_RECORDS or now > next_flush:
                    journal.write(*engine.take_records())
                    next_flush = now + NS // 2
                hub.wait(watcher)
        finally:
            watcher.close()
            journal.write(*engine.take_records())
            self._history_bytes = journal.close(drained=engine.finished)
            engine.close()
        self._send_final(self.report())


class Swarm(EngineUser):
    """Holds open SSE streams and accounts for every event."""

    abstract = True
    kind = "swarm"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._engine: SwarmEngine | None = None
        self._grown_kib: int | None = None

    def report(self) -> dict[str, Any]:
        engine = self._engine
        if engine is None:
            return super().report()
        series = engine.series.drain()
        locust_stats.log_deliveries(self.environment.stats, series)
        return {
            "ident": self.ident,
            "kind": self.kind,
            "series": series,
            "status": self._status(engine.account()),
        }

    def _status(self, account: Account) -> dict[str, Any]:
        """`grown_kib`: what this process took to connect all its listeners; None before."""
        return {
            **account.to_json(),
            "cpu_s": time.process_time(),
            "grown_kib": self._grown_kib,
        }

    def run_engine(self, assignment: dict[str, Any]) -> None:
        raise_descriptor_limit()
        process = psutil.Process()
        rss_before = process.memory_info().rss
        engine = SwarmEngine(
            SwarmSettings(
                address=tuple(assignment["address"]),
                host_header=assignment["host_header"],
                listeners=assignment["listeners"],
                first_number=assignment["first_number"],
                start_unix_ns=assignment["zero_unix_ns"],
                seed=assignment["seed"],
                tokens=assignment["listener_tokens"],
                gzip_every=1 if assignment["gzip"] else 0,
            )
        )
        self._engine = engine
        journal = ListenerJournal(
            _folder(assignment),
            name=assignment["name"],
            shift_ns=shift_ns(this_clock(), Clock(*assignment["clock"])),
        )
        self._history = journal.path
        next_flush = 0
        hub = gevent.get_hub()
        watcher = hub.loop.io(engine.fileno(), 1)
        try:
            while not self._finishing.is_set():
                engine.pump()
                if self._grown_kib is None and engine.streaming == assignment["listeners"]:
                    self._grown_kib = (process.memory_info().rss - rss_before) // 1024
                now = time.monotonic_ns()
                if now > next_flush:
                    journal.write(*engine.take_records())
                    next_flush = now + NS // 2
                hub.wait(watcher)
            account = engine.account(self._finish.get("target"))
            latest = {user: list(pair) for user, pair in engine.table.latest.items()}
        finally:
            watcher.close()
            engine.stop()
            reach = engine.table.to_reach()
            journal.write(*engine.take_records())
            self._history_bytes = journal.close(drained=self._finishing.is_set())
        report = self.report()
        report["status"] = self._status(account)
        report["latest"] = latest
        report["reach"] = reach.to_wire()
        engine.close()
        self._send_final(report)


def _folder(assignment: dict[str, Any]) -> Path:
    """The run's folder as this process sees it: the conductor's own only where they share it."""
    return Path(assignment["results"]).resolve() / str(assignment["run_id"])


# Wiring


def collect_reports() -> list[dict[str, Any]]:
    """Reports of all users in this process."""
    return [user.report() for user in list(_active.values())]


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    add_options(parser)


@events.init.add_listener
def _init(environment: Environment, web_ui: Any = None, **_: Any) -> None:
    runner = environment.runner
    if isinstance(runner, runners.WorkerRunner | runners.LocalRunner):
        runner.register_message("scoreboard_assign", _on_assign)
        runner.register_message("scoreboard_drain", _on_drain)
        runner.register_message("scoreboard_finish", _on_finish)
        runner.register_message("scoreboard_fetch", _on_fetch)
    if isinstance(runner, runners.WorkerRunner):
        if PARENT_VARIABLE in os.environ:
            gevent.spawn(_die_with_parent, int(os.environ[PARENT_VARIABLE]))
        # A second is the grain of every figure here; Locust's own interval is three.
        runners.WORKER_REPORT_INTERVAL = REPORT_EVERY_S
        environment.events.report_to_master.add_listener(_report_to_master)
        return
    engines = [user for user in environment.user_classes if issubclass(user, EngineUser)]
    if not engines:
        return
    for other in set(environment.user_classes) - set(engines):
        # What others submit would be changes that the verdict cannot explain.
        log.info("%s does not run beside the flood: name its file instead", other.__name__)
    environment.user_classes[:] = engines
    options = environment.parsed_options
    if options is not None and options.num_users is None:
        _suggest_users(environment)
    environment.dispatcher_class = RoleDispatcher
    conductor = Conductor(environment)
    environment.scoreboard = conductor
    if web_ui is not None:
        web_tab.install(web_ui, conductor)
    elif options is not None and options.headless:
        gevent.spawn(_quit_when_judged, runner, conductor)
    if isinstance(runner, runners.LocalRunner):
        conductor.collect_locally = collect_reports


def _suggest_users(environment: Environment) -> None:
    """As many users as give every connected worker work, until a person says how many."""
    options = environment.parsed_options
    kinds = [user.kind for user in environment.user_classes if issubclass(user, EngineUser)]
    options.num_users = users_for(1, kinds)
    options.spawn_rate = options.spawn_rate or 10

    def count_again(client_id: str, **_: Any) -> None:
        clients = environment.runner.clients
        known = {node.id for node in clients.ready + clients.spawning + clients.running}
        options.num_users = users_for(len(known | {client_id}), kinds)

    environment.events.worker_connect.add_listener(count_again)


def _quit_when_judged(runner: Any, conductor: Conductor) -> None:
    """Without a web form nobody else ends Locust when the run has."""
    conductor.finished.wait()
    # Where Locust began to stop (a time limit), stopping its users twice would raise.
    while conductor.stopping and runner.state != runners.STATE_STOPPED:
        gevent.sleep(0.1)
    runner.quit()


def _die_with_parent(parent: int) -> None:
    """A load process must not outlive a master that was killed; Locust would wait for it."""
    while os.getppid() == parent:
        gevent.sleep(1)
    os._exit(1)


def _report_to_master(client_id: str, data: dict[str, Any], **_: Any) -> None:
    del client_id
    data["scoreboard"] = collect_reports()


def _on_assign(environment: Environment, msg: Any, **_: Any) -> None:
    del environment
    for ident, assignment in msg.data.items():
        if ident in _active:
            _active[ident].assign(assignment)


def _on_drain(environment: Environment, msg: Any, **_: Any) -> None:
    del environment, msg
    for user in list(_active.values()):
        user.drain()


def _on_finish(environment: Environment, msg: Any, **_: Any) -> None:
    del environment
    for user in list(_active.values()):
        user.finish(msg.data or {})


def _on_fetch(environment: Environment, msg: Any, **_: Any) -> None:
    del environment
    if msg.data["ident"] in _active:
        _active[msg.data["ident"]].hand_over(msg.data["offset"])
