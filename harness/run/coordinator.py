"""Leads a run from the first connection to the verdict, wherever Locust placed the users.

The order: users join; listeners connect; submissions flow; they are drained;
every listener is given time to reach the last change; users report for the last
time; the run is judged and written down. Runs on Locust's master or in its
single process, the same way. Messages and figures are `harness.run.fleet`'s.
"""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import LocalRunner

from harness.capabilities import Capabilities, refined
from harness.checker import Verdict
from harness.engines.delivery_spread import DeliverySpread
from harness.evidence import board_look
from harness.evidence.history_writer import BoardJournal
from harness.judge.judgement import Judgement
from harness.judge.record import RunRecord
from harness.judge.result import judge_and_write, write_unfinished
from harness.measure.clocks import this_clock
from harness.measure.histogram import Histogram
from harness.measure.machine import fingerprint
from harness.measure.schedule import parse_profile
from harness.measure.series import Series
from harness.measure.settings import (
    BadSettings,
    RunSettings,
    read_signing_key,
    settings_from,
)
from harness.measure.terminal import reason_of
from harness.measure.workload import parse_storms
from harness.net.target import Target, TargetError
from harness.report.document import Ceiling
from harness.run.board_watch import NOWHERE, BoardWatch, refused_alike, shown_to
from harness.run.fleet import TICK_S, Fleet
from harness.run.resources import Sampler, foreign_processes, sample_until_killed
from harness.run.seeding import look_before, seed_users
from harness.traffic.credentials import credentials, target_of_run
from harness.traffic.hooks import own_requests
from harness.wrong_use import connections_that_fit

log = logging.getLogger(__name__)
NS = 1_000_000_000
JOIN_TIMEOUT_S = 60.0
START_AHEAD_S = 1.0
DRAIN_MARGIN_S = 5.0
"""What users have beyond the timeout of their last submissions to tell that they are done."""
LAST_REPORT_S = 1.2
"""A report interval and a moment: after it everything that was counted is here."""
SETTLE_TIMEOUT_S = 60.0
FINAL_TIMEOUT_S = 30.0
PATIENCE_S = 5.0
"""How long a run that has sent everything goes on waiting after a Ctrl-C."""
KEEP_EVERY_NS = 10 * NS
"""Between two results so far on disk. A single process writes one when the load ends."""
UNOFFERED = {
    "submitters": "no Locust user submits: start users of both classes (-u 2), or give --rate 0",
    "listeners": "no Locust user listens: start users of both (-u 2), or give --listeners 0",
}
"""Why load that was asked for is not offered, so that the run says nothing."""
IDLE = "idle"
"""The phase before a run has begun."""


class Coordinator:
    """One per Locust master or single process; leads one run after the other."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.target: Target | None = None
        self.settings = RunSettings()
        self.phase, self.problem = IDLE, ""
        self.judgement: Judgement | None = None
        self.outcomes: list[Verdict] = []
        """Of every run of this process: a good run does not make up for an earlier one."""
        self.result_file: Path | None = None
        self.result_path: Path | None = None
        self.ceiling: Ceiling | None = None
        self.adds_users = True
        self.misused = False
        """A run was asked for that its load processes cannot do."""
        self.interrupted = False
        self.say: Callable[[str], None] = log.info
        """Tells people what the server shows, before any load."""
        self.finished = Event()
        self.ended = Event()
        """Like `finished`, for whoever waits for one run after the other."""
        self.stopping = False
        """Locust was told to stop before the run ended by itself."""
        self._stop = Event()
        self.fleet = Fleet(environment, self._stop.set)
        self._begin()
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.spawning_complete.add_listener(self._on_spawned)

    def _begin(self) -> None:
        self.fleet.begin()
        self.zero_unix_ns = 0
        self.begin_second = 0
        self.samples: list[dict[str, Any]] = []
        self._sampler: gevent.Greenlet | None = None
        self._spawned = Event()
        self.stopping = False
        self._stop.clear()
        self._done = Event()
        self._greenlet: gevent.Greenlet | None = None
        self._record: Callable[..., RunRecord] | None = None
        self._stopped_unix_ns = 0

    @property
    def running(self) -> bool:
        """Whether a run has begun that has no verdict yet."""
        return self.phase not in (IDLE, "done")

    def end_early(self) -> None:
        """Send nothing new, and judge what was sent. Asked for when nothing is sent any more, the
        run waits only a little longer for users and server."""
        self._stop.set()
        if self._stopped_unix_ns:
            self.fleet.hurry(PATIENCE_S)

    def hurry(self) -> None:
        """Judge what is there, without waiting for users or the server any more."""
        self._stop.set()
        self.fleet.hurry()

    # What views show

    @property
    def series(self) -> Series:
        """Everything reported so far, by second."""
        return self.fleet.series

    @property
    def so_far(self) -> defaultdict[str, Histogram]:
        """The histograms over all seconds so far."""
        return self.fleet.so_far

    # Locust's events

    def _on_test_start(self, **_: Any) -> None:
        # Locust's class picker can choose users that are no part of such a run.
        if not any(getattr(user, "kind", "") for user in self.environment.user_classes):
            return
        self._begin()
        self.finished.clear()
        self.problem = ""
        self.judgement = None
        self._greenlet = gevent.spawn(self._lead)

    def _on_spawned(self, **_: Any) -> None:
        self._spawned.set()

    def _on_test_stopping(self, **_: Any) -> None:
        """Locust is about to stop its users: wind up first, they are needed for it."""
        self.stopping = True
        self._stop.set()
        if self._greenlet is not None and self._greenlet is not gevent.getcurrent():
            self._done.wait()

    # The run

    def _lead(self) -> None:
        try:
            self._run()
        except (TargetError, OSError, ValueError) as error:
            self.problem = reason_of(error)
            self.misused |= isinstance(error, BadSettings)
        except Exception as error:
            self.problem = f"the harness broke: {error!r}"
            log.exception("the coordinator broke")
        finally:
            self.phase = "done"
            if self.judgement is None:
                self._keep(self.problem or "the run was broken off")
            told = Verdict.UNKNOWN if self.judgement is None else self.judgement.outcome
            self.outcomes.append(
                told if told is Verdict.FALSE or not self.problem else Verdict.UNKNOWN
            )
            self.environment.process_exit_code = self.exit_code()
            self._done.set()
            self.finished.set()
            self.ended.set()

    def exit_code(self) -> int:
        """0 good, 1 bad (or Locust's `--exit-code-on-error`), 2 wrong use, 3 could not tell; the
        worst run's."""
        options = self.environment.parsed_options
        bad = getattr(options, "exit_code_on_error", 1)
        if Verdict.FALSE in self.outcomes:
            return int(bad)
        if self.misused:
            return 2
        return 3 if Verdict.UNKNOWN in self.outcomes else 0

    def _run(self) -> None:
        self.phase = "preparing"
        options = vars(self.environment.parsed_options) if self.environment.parsed_options else {}
        self.settings = settings = settings_from(options)
        signing_key = read_signing_key(settings.signing_key)
        target = self.target or target_of_run(self.environment.host or None, settings)
        now_s = int(time.time())
        run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now_s))}-{os.urandom(2).hex()}"
        folder = Path(settings.results).resolve() / run_id
        known = credentials(target, settings, now_s)
        target, self.settings = known.target, known.settings
        settings = known.settings
        if self.adds_users:
            seed_users(target, settings.players, Path.cwd(), stopped=self._stop.is_set)
        shown = look_before(
            known, signing_key, own_requests(self.environment.user_classes), say=self.say
        )
        target = target.as_shown(shown)
        before = board_look.look(target, settings.players) if shown.follows_ids else NOWHERE
        target = target.with_labels(before.labels)
        journal = BoardJournal(folder, capabilities=shown, own_page=target.described)
        names = before.names if shown.follows_ids else known.names
        journal.begin(before.seq, before.scores, names)
        watch, fleet = BoardWatch(target, journal), self.fleet

        self.phase = "joining"
        self._join()
        settings = self.settings

        self.phase = "connecting"
        self.zero_unix_ns = time.time_ns()
        common = {
            "address": target.address,
            "host_header": target.host_header,
            "run_id": run_id,
            "results": settings.results,
            "clock": this_clock(),
            "seed": settings.seed,
            "zero_unix_ns": self.zero_unix_ns,
            "server": target.server,
        }
        streams = {**common, "capabilities": shown, "labels": before.labels}
        first = fleet.assign_listeners(settings, streams, known)
        early = len(fleet.working("listeners")) if settings.listeners_ramp_s else first
        fleet.wait_for_streams(early, self._stop.is_set)
        self._sampler = gevent.spawn(self._sample, target)

        machine = fingerprint()
        if not shown.follows_ids:
            # What scores the run begins with, as late as it can be known.
            watch.look(0)
        self.phase = "warming up"
        # Whole seconds after zero, so that seconds of the series are seconds of the schedule.
        ahead_ns = time.time_ns() + int(START_AHEAD_S * NS) - self.zero_unix_ns
        self.begin_second = -(-ahead_ns // NS)
        begin_unix_ns = self.zero_unix_ns + self.begin_second * NS
        length_s = settings.warmup_s + settings.duration_s if settings.duration_s else 0.0
        fleet.assign_submissions(
            settings,
            {
                **common,
                "signing_key": signing_key,
                "begin_unix_ns": begin_unix_ns,
                "length_s": length_s,
            },
            known,
            say=self.say,
        )
        self._record = lambda **end: RunRecord(
            run_id=run_id,
            settings=settings,
            base_url=target.base_url,
            machine=machine,
            started_unix_s=begin_unix_ns / NS,
            series=fleet.series,
            begin_second=self.begin_second,
            measured_s=self._measured_s(begin_unix_ns, length_s),
            members=[member.to_document() for member in fleet.crew],
            spreads=[DeliverySpread.from_wire(m.reach, m.name) for m in fleet.working("listeners")],
            before=before,
            backlog=watch.backlog,
            samples=self.samples,
            notes=fleet.notes,
            folder=folder,
            capabilities=refined(shown, (member.signs for member in fleet.crew)),
            ceiling=self.ceiling,
            **end,
        )
        self._watch(begin_unix_ns, length_s, watch)
        if settings.listeners_ramp_s:
            fleet.wait_for_streams(first, self._stop.is_set)
        self._stopped_unix_ns = time.time_ns()
        self._keep("the run was broken off before its end was judged")

        self.phase = "draining"
        fleet.drain()
        fleet.until(
            lambda: all(m.status.get("finished") for m in fleet.working("submitters")),
            settings.timeout_s + DRAIN_MARGIN_S,
        )
        self._pause(LAST_REPORT_S)
        final_seq, converged = self._settle(shown, before.seq, watch)
        self.phase = "collecting"
        fleet.finish(final_seq)
        if not fleet.until(
            lambda: all(m.final or m in fleet.lost for m in fleet.crew), FINAL_TIMEOUT_S, own=True
        ):
            fleet.notes.append("not every Locust user sent its last report")
        fleet.bring_histories(folder)

        self._sampler.kill()
        self.phase = "reconciling"
        after = watch.close(
            fleet.crew,
            settings.players,
            final_seq,
            converged=converged,
            by_content=not shown.follows_ids,
            pause=self._still_waits,
        )
        if journal.problem:
            fleet.trouble(journal.problem)
        self.judgement, self.result_path = judge_and_write(
            self._record(final_seq=final_seq, converged=converged, after=after),
            mysql_url=target.mysql_url,
            path=self.result_file,
        )

    def _settle(self, shown: Capabilities, seq: int, watch: BoardWatch) -> tuple[int, bool]:
        """Wait until all that was acknowledged is on the board and with every listener: the last
        seq, -1 where the server shows none, and whether all came to rest there."""
        fleet = self.fleet
        if not shown.follows_ids:
            settled = watch.settle_by_content(
                lambda: shown_to(fleet.working("listeners"), fleet.series),
                timeout_s=SETTLE_TIMEOUT_S,
                pause=self._still_waits,
            )
            return -1, settled
        final_seq = watch.settle(
            seq + fleet.series.total("ok"), timeout_s=SETTLE_TIMEOUT_S, pause=self._still_waits
        )
        self.phase = "converging"
        return final_seq, final_seq >= 0 and fleet.until(
            lambda: all(
                m.status.get("cursor_min") == final_seq == m.status.get("cursor_max")
                for m in fleet.working("listeners")
            ),
            SETTLE_TIMEOUT_S,
        )

    def _still_waits(self) -> bool:
        return self._pause(TICK_S) and not self.fleet.hurried

    def _join(self) -> None:
        """Wait for the users, and give each process its role."""
        fleet = self.fleet
        if not fleet.until(lambda: self._everybody_joined() or self._stop.is_set(), JOIN_TIMEOUT_S):
            fleet.notes.append("not every Locust user joined")
        if self._stop.is_set():
            raise TargetError("; ".join(fleet.notes) or "the run was ended before it began")
        # Users without work stay idle, so a run of listeners or submissions alone is whole.
        submits = parse_profile(self.settings.rate).submits
        listens = self.settings.listeners > 0
        fleet.choose({*(("submitters",) if submits else ()), *(("listeners",) if listens else ())})
        for asked, kind in ((submits, "submitters"), (listens, "listeners")):
            if asked and not fleet.working(kind):
                fleet.trouble(UNOFFERED[kind])
        self.settings = replace(
            self.settings,
            connections=connections_that_fit(
                self.settings,
                workers=max(1, len(fleet.working("listeners"))),
                descriptors=min((m.descriptors for m in fleet.crew), default=-1),
                together=len({(m.host, m.pid) for m in fleet.crew}) < len(fleet.crew),
            ),
        )

    def _watch(self, begin_unix_ns: int, length_s: float, watch: BoardWatch) -> None:
        """Let time pass until the schedule ends or somebody stops; meanwhile see the backlog."""
        end_unix_ns = begin_unix_ns + int(length_s * NS) if length_s else None
        next_look = begin_unix_ns
        next_keep = begin_unix_ns + KEEP_EVERY_NS
        alone = isinstance(self.environment.runner, LocalRunner)
        storms = [begin_unix_ns + int(s * NS) for s in parse_storms(self.settings.reconnect_storm)]
        while not self._stop.is_set():
            now = time.time_ns()
            if end_unix_ns is not None and now >= end_unix_ns:
                break
            if now >= begin_unix_ns + int(self.settings.warmup_s * NS):
                self.phase = "measuring"
            if storms and now >= storms[0]:
                storms.pop(0)
                self.fleet.storm()
            if now >= next_look:
                next_look = now + NS
                watch.look((now - begin_unix_ns) // NS)
                if watch.problem:
                    self.fleet.trouble(watch.problem)
                if now >= next_keep and not alone:
                    self._keep("the run had not ended when this was written")
                    # At most a hundredth of the time goes into it, however long the run.
                    next_keep = now + max(KEEP_EVERY_NS, 100 * (time.time_ns() - now))
                if refused := refused_alike(
                    self.fleet.series, signed=bool(self.settings.signing_key)
                ):
                    self.fleet.notes.append(refused)
                    break
            self._pause(TICK_S)

    def _pause(self, duration_s: float) -> bool:
        """Let time pass; reports go on coming in, and lost users are noticed. Always true."""
        self.fleet.until(lambda: False, duration_s)
        return True

    def _sample(self, target: Target) -> None:
        """Watch the processes until killed; every sample belongs to the second it ends in."""
        own = {**self.fleet.processes(), **foreign_processes(target, self.settings)}
        sampler = Sampler(target, own, {pid for group in own.values() for pid in group})
        first_ns = self.zero_unix_ns + self.begin_second * NS
        sample_until_killed(sampler, self.samples, first_ns, round(self.settings.warmup_s))

    def _keep(self, reason: str) -> None:
        """Put what was measured so far on disk; the judged result replaces it."""
        if self._record is None:
            return
        record = self._record(final_seq=-1, converged=False, after=NOWHERE)
        try:
            self.result_path = write_unfinished(record, reason, path=self.result_file)
        except OSError as error:
            log.error("%s", reason_of(error))

    def _measured_s(self, begin_unix_ns: int, length_s: float) -> int:
        """Whole seconds between the warm-up and the end, or now."""
        ran_s = ((self._stopped_unix_ns or time.time_ns()) - begin_unix_ns) / NS
        if length_s:
            ran_s = min(ran_s, length_s)
        return max(0, int(ran_s - self.settings.warmup_s + 0.001))

    def _everybody_joined(self) -> bool:
        wanted: int = self.environment.runner.target_user_count
        return self._spawned.is_set() and len(self.fleet.members) >= wanted > 0
