"""Leads a run from the first connection to the verdict, wherever Locust placed the users.

The order: users join; listeners connect; submissions flow; they are drained;
every listener is given time to reach the last change; users report for the last
time; the run is judged and written down. Runs on Locust's master or in its
single process, the same way.
"""

import logging
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment

from harness.evidence import board_look
from harness.evidence.history_upload import TIMEOUT_S as HANDOVER_TIMEOUT_S
from harness.evidence.history_upload import Handover
from harness.evidence.history_writer import BoardJournal, history_path
from harness.measure.clocks import this_clock
from harness.measure.histogram import Histogram
from harness.measure.machine import fingerprint
from harness.measure.series import Series
from harness.measure.settings import RunSettings, read_signing_key, settings_from
from harness.net.target import Page, Target, TargetError, find_target, get_scores
from harness.report.document import Ceiling
from harness.run.resources import Sampler
from harness.run.result import RunRecord, write_result
from harness.run.worker_state import Member
from scoreboard.contract import TOP_DEFAULT

log = logging.getLogger(__name__)
NS = 1_000_000_000
JOIN_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 90.0
START_AHEAD_S = 1.0
SETTLE_TIMEOUT_S = 60.0
FINAL_TIMEOUT_S = 30.0
TICK_S = 0.2
IDLE = "idle"  # before a run has begun


class Conductor:
    """One per Locust master or single process; leads one run after the other."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.collect_locally: Callable[[], list[dict[str, Any]]] | None = None
        self.target: Target | None = None
        self.settings = RunSettings()
        self.phase, self.problem = IDLE, ""
        self.record: RunRecord | None = None
        self.result_file: Path | None = None
        self.result_path: Path | None = None
        self.ceiling: Ceiling | None = None
        self.finished = Event()
        self._begin()
        runner = environment.runner
        runner.register_message("scoreboard_join", self._on_join)
        runner.register_message("scoreboard_report", self._on_report_message)
        runner.register_message("scoreboard_broken", self._on_broken)
        runner.register_message("scoreboard_piece", self._on_piece)
        environment.events.worker_report.add_listener(self._on_worker_report)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.spawning_complete.add_listener(self._on_spawned)

    def _begin(self) -> None:
        self.members: dict[str, Member] = {}
        self.series = Series()
        # Kept beside the series, since merging all seconds for each look would cost too much.
        self.so_far: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.notes: list[str] = []
        self.zero_unix_ns = 0
        self.begin_second = 0
        self.backlog: list[tuple[int, int]] = []
        self.samples: list[dict[str, Any]] = []
        self._handover = Handover(self._ask_for_piece)
        self._sampler: gevent.Greenlet | None = None
        self._spawned = Event()
        self._stop = Event()
        self._done = Event()
        self._greenlet: gevent.Greenlet | None = None

    # Locust's events

    def _on_join(self, msg: Any, **_: Any) -> None:
        data = msg.data
        self.members[data["ident"]] = Member(
            ident=data["ident"],
            kind=data["kind"],
            pid=data["pid"],
            host=data["host"],
            client_id=msg.node_id,
        )

    def _on_report_message(self, msg: Any, **_: Any) -> None:
        self._absorb(msg.data)

    def _on_broken(self, msg: Any, **_: Any) -> None:
        self.notes.append(f"an engine broke: {msg.data['error']}")

    def _on_piece(self, msg: Any, **_: Any) -> None:
        data = msg.data
        self._handover.take(data["ident"], data["offset"], data["piece"], data["problem"])

    def _on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        del client_id
        for report in data.get("scoreboard", ()):
            self._absorb(report)

    def _absorb(self, report: dict[str, Any]) -> None:
        member = self.members.get(report["ident"])
        if member is None:
            return
        self.series.absorb(report["series"])
        for _, _, histograms in report["series"]:
            for name, flat in histograms.items():
                self.so_far[name].merge(Histogram.from_wire(flat))
        member.hear(report)

    def _on_test_start(self, **_: Any) -> None:
        # Locust's class picker can choose users that are no part of a run with a verdict.
        if not any(getattr(user, "kind", "") for user in self.environment.user_classes):
            return
        self._begin()
        self.finished.clear()
        self.problem = ""
        self.record = None
        self._greenlet = gevent.spawn(self._lead)

    def _on_spawned(self, **_: Any) -> None:
        self._spawned.set()

    def _on_test_stopping(self, **_: Any) -> None:
        """Locust is about to stop its users: wind up first, they are needed for it."""
        self._stop.set()
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._done.wait()

    # The run

    def _lead(self) -> None:
        try:
            self._run()
        except (TargetError, OSError, ValueError) as error:
            self.problem = str(error)
            log.error("%s", error)
        except Exception as error:
            self.problem = f"the harness broke: {error!r}"
            log.exception("the conductor broke")
        finally:
            self.phase = "done"
            if self.environment.process_exit_code is None or self.problem:
                good = self.record is not None and self.record.good and not self.problem
                self.environment.process_exit_code = 0 if good else 1
            self._done.set()
            self.finished.set()

    def _run(self) -> None:
        self.phase = "preparing"
        options = vars(self.environment.parsed_options) if self.environment.parsed_options else {}
        self.settings = settings = settings_from(options)
        signing_key = read_signing_key(settings.signing_key)
        target = self.target or find_target(
            host=self.environment.host or None,
            mysql_url=settings.mysql_url,
            environ=os.environ,
            folder=Path.cwd(),
        )
        if target is None:
            raise TargetError("no server: start one with `make up`, or name one with --host")
        now_s = int(time.time())
        run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now_s))}-{os.urandom(2).hex()}"
        folder = Path(settings.results).resolve() / run_id
        before = board_look.look(target, settings.players)
        tokens = target.tokens(settings.players, now_s)
        self.journal = BoardJournal(folder)
        self.journal.begin(before.seq, before.scores, before.names)

        self.phase = "joining"
        if not self._until(self._everybody_joined, JOIN_TIMEOUT_S):
            self.notes.append("not every Locust user joined")
        floods, swarms = (_one_per_process(self.members.values(), k) for k in ("flood", "swarm"))
        for kind, found in (("submissions", floods), ("listeners", swarms)):
            if not found:
                log.warning("no Locust user makes %s: start at least two users", kind)

        self.phase = "connecting"
        connect_s = CONNECT_TIMEOUT_S if swarms else 0
        self.zero_unix_ns = time.time_ns()
        common = {
            "address": list(target.address),
            "host_header": target.host_header,
            "run_id": run_id,
            "results": settings.results,
            "clock": this_clock(),
            "seed": settings.seed,
            "zero_unix_ns": self.zero_unix_ns,
        }
        self._send_swarms(swarms, common, tokens if settings.stream_auth else {})
        listeners = settings.listeners if swarms else 0
        self._until(lambda: self.connected >= listeners or self._stop.is_set(), connect_s)
        if self.connected < listeners:
            self.notes.append(f"only {self.connected} of {listeners} listeners connected")

        self._sampler = gevent.spawn(self._sample, target)

        self.phase = "warming up"
        # Whole seconds after zero, so that seconds of the series are seconds of the schedule.
        ahead_ns = time.time_ns() + int(START_AHEAD_S * NS) - self.zero_unix_ns
        self.begin_second = -(-ahead_ns // NS)
        begin_unix_ns = self.zero_unix_ns + self.begin_second * NS
        length_s = settings.warmup_s + settings.duration_s if settings.duration_s else 0.0
        # Secrets travel in Locust's messages, as the tokens do: never in a command line.
        secrets = {
            "tokens": {str(user): token for user, token in tokens.items()},
            "signing_key": signing_key,
        }
        self._send_floods(floods, {**common, **secrets}, begin_unix_ns, length_s)
        self._watch(begin_unix_ns, length_s, target)
        stopped_unix_ns = time.time_ns()

        self.phase = "draining"
        self.environment.runner.send_message("scoreboard_drain", {})
        self._until(lambda: all(m.status.get("finished") for m in floods), settings.timeout_s + 5)
        self._until(lambda: False, 1.2)
        ok = self.series.total("ok")
        final_seq = self._settle(target, before, ok)
        self.phase = "converging"
        converged = final_seq >= 0 and self._until(
            lambda: all(
                m.status.get("cursor_min") == final_seq == m.status.get("cursor_max")
                for m in swarms
            ),
            SETTLE_TIMEOUT_S,
        )
        self.phase = "collecting"
        self.environment.runner.send_message("scoreboard_finish", {"target": final_seq})
        if not self._until(lambda: all(m.final for m in floods + swarms), FINAL_TIMEOUT_S):
            self.notes.append("not every Locust user sent its last report")
        self._bring_histories(folder, floods + swarms)

        self._sampler.kill()
        self.phase = "reconciling"
        after = board_look.look(target, settings.players)
        self.journal.close(drained=converged and after.seq == final_seq)
        self.record = RunRecord(
            run_id=run_id,
            settings=settings,
            base_url=target.base_url,
            machine=fingerprint(),
            started_unix_s=begin_unix_ns / NS,
            series=self.series,
            begin_second=self.begin_second,
            measured_s=self._measured_s(begin_unix_ns, stopped_unix_ns, length_s),
            members=floods + swarms,
            final_seq=final_seq,
            converged=converged,
            before=before,
            after=after,
            backlog=self.backlog,
            samples=self.samples,
            notes=self.notes,
            folder=folder,
            mysql_url=target.mysql_url,
            ceiling=self.ceiling,
        )
        self.record.judge()
        self.result_path = write_result(self.record, self.result_file)

    def _send_swarms(
        self, swarms: list[Member], common: dict[str, Any], tokens: dict[int, str]
    ) -> None:
        assignments, first = {}, 0
        for index, member in enumerate(swarms):
            share = _share(self.settings.listeners, index, len(swarms))
            assignments[member.ident] = {
                **common,
                "name": member.name,
                "listeners": share,
                "first_number": first,
                "listener_tokens": _in_turn(list(tokens.values()), first, share),
                "gzip": self.settings.stream_gzip,
            }
            first += share
        self.environment.runner.send_message("scoreboard_assign", assignments)

    def _send_floods(
        self,
        floods: list[Member],
        common: dict[str, Any],
        begin_unix_ns: int,
        length_s: float,
    ) -> None:
        settings = self.settings
        assignments = {
            member.ident: {
                **common,
                "name": member.name,
                "slice_index": index,
                "slice_count": len(floods),
                "begin_unix_ns": begin_unix_ns,
                "length_s": length_s,
                "rate": settings.rate,
                "arrivals": settings.arrivals,
                "players": settings.players,
                "connections": max(1, _share(settings.connections, index, len(floods))),
                "timeout_s": settings.timeout_s,
            }
            for index, member in enumerate(floods)
        }
        self.environment.runner.send_message("scoreboard_assign", assignments)

    def _bring_histories(self, folder: Path, members: list[Member]) -> None:
        """Have every history in our own folder; a load process on another machine sends its."""
        for member in members:
            if member.final:
                self._handover.expect(
                    member.ident,
                    history_path(folder, member.name),
                    size=member.history_bytes,
                    host=member.host,
                )
        self._until(lambda: self._handover.ended, HANDOVER_TIMEOUT_S)
        self.notes += self._handover.give_up()

    def _ask_for_piece(self, ident: str, offset: int) -> None:
        self.environment.runner.send_message(
            "scoreboard_fetch",
            {"ident": ident, "offset": offset},
            client_id=self.members[ident].client_id,
        )

    def _watch(self, begin_unix_ns: int, length_s: float, target: Target) -> None:
        """Let time pass until the schedule ends or somebody stops; meanwhile see the backlog."""
        end_unix_ns = begin_unix_ns + int(length_s * NS) if length_s else None
        next_look = begin_unix_ns
        while not self._stop.is_set():
            now = time.time_ns()
            if end_unix_ns is not None and now >= end_unix_ns:
                break
            if now >= begin_unix_ns + int(self.settings.warmup_s * NS):
                self.phase = "measuring"
            if now >= next_look:
                next_look = now + NS
                self._look_at_backlog(target, (now - begin_unix_ns) // NS)
            self._until(lambda: False, TICK_S)

    def _sample(self, target: Target) -> None:
        """Watch the processes until killed; every sample belongs to the second it ends in."""
        own: dict[str, list[int]] = {"harness conductor": [os.getpid()]}
        here = socket.gethostname()
        for member in self.members.values():
            if member.host == here and member.pid != os.getpid():
                pids = own.setdefault(f"harness {member.kind}", [])
                if member.pid not in pids:
                    pids.append(member.pid)
        # Workers are children of the conductor, counted by themselves.
        sampler = Sampler(target, own, {pid for group in own.values() for pid in group})
        try:
            while True:
                gevent.sleep(1.0)
                second = (time.time_ns() - self.zero_unix_ns) // NS - self.begin_second
                self.samples.append({"t": int(second), **sampler.sample()})
        finally:
            sampler.close()

    def _look_at_backlog(self, target: Target, second: int) -> None:
        try:
            self.backlog.append((int(second), self._read_board(target).seq))
        except OSError as error:
            log.debug("no look at the backlog: %s", error)

    def _read_board(self, target: Target) -> Page:
        return self.journal.read(lambda limit: get_scores(target, limit=limit), TOP_DEFAULT)

    def _settle(self, target: Target, before: board_look.Look, ok: int) -> int:
        """Wait until every acknowledged submission should be on the board; the last seq."""
        expected = before.seq + ok
        seen = -1
        steady_since = time.monotonic()
        end = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < end:
            try:
                page: Page | None = self._read_board(target)
            except OSError:
                page = None
            now = time.monotonic()
            if page is not None:
                if page.seq != seen:
                    seen, steady_since = page.seq, now
                # Lost answers may still be applied a moment later, so even the expected
                # number must stand for a while.
                if now - steady_since > (1.0 if seen >= expected else 15.0):
                    break
            self._until(lambda: False, TICK_S)
        return seen

    def _measured_s(self, begin_unix_ns: int, stopped_unix_ns: int, length_s: float) -> int:
        """Whole seconds between the warm-up and the end."""
        ran_s = (stopped_unix_ns - begin_unix_ns) / NS
        if length_s:
            ran_s = min(ran_s, length_s)
        return max(0, int(ran_s - self.settings.warmup_s + 0.001))

    @property
    def stopping(self) -> bool:
        """Locust was told to stop before the run ended by itself."""
        return bool(self._stop.is_set())

    def _everybody_joined(self) -> bool:
        wanted: int = self.environment.runner.target_user_count
        return self._spawned.is_set() and len(self.members) >= wanted > 0

    @property
    def connected(self) -> int:
        """Streams open now, over all swarms."""
        return sum(int(m.status.get("streaming", 0)) for m in self.members.values())

    def _until(self, check: Callable[[], bool], timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not check():
            if time.monotonic() >= end:
                return False
            gevent.sleep(TICK_S)
            if self.collect_locally is not None:
                for report in self.collect_locally():
                    self._absorb(report)
        return True


def _one_per_process(members: Iterable[Member], kind: str) -> list[Member]:
    """Those that get work, named: a second engine in a process would only share its CPU."""
    chosen: dict[tuple[str, int], Member] = {}
    for member in sorted(members, key=lambda m: (m.host, m.pid, m.ident)):
        if member.kind == kind:
            chosen.setdefault((member.host, member.pid), member)
    for index, member in enumerate(chosen.values()):
        member.name = f"{kind}-{index}"
    return list(chosen.values())


def _share(total: int, index: int, count: int) -> int:
    return total // count + (1 if index < total % count else 0)


def _in_turn(tokens: list[str], first: int, count: int) -> list[str]:
    """What listeners `first` onward carry, so that all swarms together use all players evenly."""
    return [tokens[(first + i) % len(tokens)] for i in range(min(count, len(tokens)))]
