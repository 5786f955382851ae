"""The load processes of a run, as the coordinator sees them: who joined, reports, or is lost.

Sends the coordinator's messages and collects figures. It decides nothing about the run.
"""

import logging
import math
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING

from harness.engines.by_content.table import events_allowed
from harness.evidence.history_upload import TIMEOUT_S as UPLOAD_TIMEOUT_S
from harness.evidence.history_upload import Handover
from harness.evidence.history_writer import history_path
from harness.measure.histogram import Histogram
from harness.measure.schedule import NS
from harness.measure.series import Series
from harness.measure.settings import RunSettings
from harness.measure.workload import parse_slow
from harness.run import messages
from harness.run.messages import Message, OtherVersion, T
from harness.run.worker_state import Member, assign_roles, in_turn, share
from harness.traffic.credentials import Credentials

log = logging.getLogger(__name__)
TICK_S = 0.2
CONNECT_TIMEOUT_S = 90.0
OWN_S = 5.0
"""What a hurried run leaves its load processes for their last reports and histories."""
LOST_AFTER_S = 5.0
"""Locust calls a worker missing after three to four seconds without a heartbeat. A busy one comes
back; one that stays away for this long besides is lost."""


class Fleet:
    """All Locust users of a run. One per coordinator; `begin` starts the next run."""

    def __init__(self, environment: Environment, on_trouble: Callable[[], None]) -> None:
        """`on_trouble` is called when the run cannot go on as it is: it should end early."""
        self._runner = environment.runner
        self._on_trouble = on_trouble
        self.begin()
        self._receive(messages.JOIN, messages.Join, self._on_join)
        self._receive(messages.REPORT, messages.Report, self._on_report)
        self._receive(messages.BROKEN, messages.Broken, self._on_broken)
        self._receive(messages.PIECE, messages.Piece, self._on_piece)

    def begin(self) -> None:
        """Forget the last run."""
        self.members: dict[str, Member] = {}
        self.series = Series()
        self.zero_unix_ns = time.time_ns()
        """When second 0 of the series begins."""
        self.measured_from: int | None = None
        """The first second after the warm-up, once it is known."""
        # Kept beside the series, since merging all seconds for each look would cost too much.
        self.so_far: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.notes: list[str] = []
        self._wait_until_s = math.inf
        self.crew: list[Member] = []
        self.lost: list[Member] = []
        self._missing_since: dict[str, float] = {}
        self._upload = Handover(self._ask_for_piece)

    # What they say

    def _receive(self, name: str, kind: type[T], handler: Callable[[T, str], None]) -> None:
        def receive(msg: Any, **_: Any) -> None:
            try:
                message = messages.unpack(msg.data, kind)
            except OtherVersion as error:
                self.trouble(str(error))
            else:
                handler(message, msg.node_id)

        self._runner.register_message(name, receive)

    def _on_join(self, join: messages.Join, client_id: str) -> None:
        self.members[join.ident] = Member(
            ident=join.ident,
            kind=join.kind,
            pid=join.pid,
            host=join.host,
            descriptors=join.descriptors,
            client_id=client_id,
        )

    def _on_report(self, report: messages.Report, client_id: str) -> None:
        del client_id
        member = self.members.get(report.ident)
        if member is None:
            return
        self.series.absorb(report.series)
        now = (time.time_ns() - self.zero_unix_ns) // NS
        self.series.compact(now, self.measured_from)
        for _, _, histograms in report.series:
            for name, flat in histograms.items():
                self.so_far[name].merge(Histogram.from_wire(flat))
        member.hear(report)

    def _on_broken(self, broken: messages.Broken, client_id: str) -> None:
        del client_id
        member = self.members.get(broken.ident)
        if broken.stopped and member is not None:
            where = f"process {member.pid} of {member.host}"
            self.trouble(f"{member.name} was lost: {where} stopped its user in mid run")
        else:
            self.trouble(f"an engine broke: {broken.error}")
        if member is not None and member not in self.lost:
            self.lost.append(member)

    def _on_piece(self, piece: messages.Piece, client_id: str) -> None:
        del client_id
        self._upload.take(piece.ident, piece.offset, piece.piece, piece.problem)

    def trouble(self, note: str) -> None:
        """Note why the run cannot go on as it is, and end it early."""
        if note not in self.notes:
            log.error("%s", note)
            self.notes.append(note)
        self._on_trouble()

    # What they are told

    def choose(self, kinds: set[str]) -> None:
        """Give each process its role; users of other kinds than `kinds` stay idle."""
        self.crew = assign_roles(m for m in self.members.values() if m.kind in kinds)

    def working(self, kind: str) -> list[Member]:
        """Members of a kind that have work and are not lost."""
        return [m for m in self.crew if m.kind == kind and m not in self.lost]

    def tell(self, name: str, member: Member, message: Message) -> None:
        """Send a member a message."""
        self._runner.send_message(name, messages.pack(message), client_id=member.client_id)

    def drain(self) -> None:
        """No new submissions."""
        for member in self.working("submitters"):
            self.tell(messages.DRAIN, member, messages.Drain(ident=member.ident))

    def storm(self) -> None:
        """All streams are cut at once."""
        for member in self.working("listeners"):
            self.tell(messages.STORM, member, messages.Storm(ident=member.ident))

    def finish(self, target: int) -> None:
        """Wind up; listeners should stand at `target`."""
        for member in self.crew:
            if member not in self.lost:
                self.tell(
                    messages.FINISH, member, messages.Finish(ident=member.ident, target=target)
                )

    def bring_histories(self, folder: Path) -> None:
        """Have every history in our own folder; a load process on another machine sends its."""
        for member in self.crew:
            if member.final:
                self._upload.expect(
                    member.ident,
                    history_path(folder, member.name),
                    size=member.history_bytes,
                    host=member.host,
                )
        self.until(lambda: self._upload.ended, UPLOAD_TIMEOUT_S, own=True)
        self.notes += self._upload.give_up()

    def _ask_for_piece(self, ident: str, offset: int) -> None:
        self.tell(messages.FETCH, self.members[ident], messages.Fetch(ident=ident, offset=offset))

    def assign_listeners(
        self, settings: RunSettings, common: dict[str, Any], known: Credentials
    ) -> int:
        """Give the pools their listeners; how many streams should be open, slow ones apart."""
        first, pools = 0, self.working("listeners")
        length_s = settings.warmup_s + settings.duration_s if settings.duration_s else 0.0
        events_max = events_allowed(settings.workload.profile(length_s), length_s)
        slow, slow_bytes_per_s = parse_slow(settings.slow_listeners, settings.listeners)
        for index, member in enumerate(pools):
            part = share(settings.listeners, index, len(pools))
            slow_part = min(share(slow, index, len(pools)), part - 1)
            part -= slow_part
            work = messages.ListenerAssignment(
                **common,
                name=member.name,
                listeners=part,
                first_number=first,
                tokens=in_turn(known.stream_tokens, first, part),
                users=in_turn(list(known.users.values()), first, part),
                gzip=settings.stream_gzip,
                ramp_s=settings.listeners_ramp_s,
                stay_s=settings.listener_stay_s,
                slow=slow_part,
                slow_bytes_per_s=slow_bytes_per_s,
                events_max=events_max,
            )
            self.tell(messages.ASSIGN, member, messages.Assign(ident=member.ident, work=work))
            first += part
        # Where listeners come and go, some are always on their way.
        return first * 9 // 10 if settings.listener_stay_s else first

    def assign_submissions(
        self,
        settings: RunSettings,
        common: dict[str, Any],
        known: Credentials,
        *,
        say: Callable[[str], None],
    ) -> None:
        """Give the submitters their slices of the schedule; what is played is said."""
        self.zero_unix_ns = common["zero_unix_ns"]
        begin_s = (common["begin_unix_ns"] - self.zero_unix_ns) // NS
        self.measured_from = begin_s + round(settings.warmup_s)
        workload = settings.workload
        if workload.played is not None:
            say(workload.played.about(known.numbers, settings.players))
            played = workload.played.for_users(known.numbers, settings.players)
            workload = replace(workload, played=played)
        submitters = self.working("submitters")
        for index, member in enumerate(submitters):
            work = messages.SubmitterAssignment(
                **common,
                tokens=dict(known.tokens),
                users=dict(known.users),
                name=member.name,
                slice_index=index,
                slice_count=len(submitters),
                workload=workload,
                connections=max(1, share(settings.connections, index, len(submitters))),
                timeout_s=settings.timeout_s,
                reads=settings.reads,
            )
            self.tell(messages.ASSIGN, member, messages.Assign(ident=member.ident, work=work))

    # How they stand

    @property
    def hurried(self) -> bool:
        """Wait for nothing any more: somebody asked for the end, twice or long ago."""
        return time.monotonic() >= self._wait_until_s

    def hurry(self, patience_s: float = 0.0) -> None:
        """Wait for nothing beyond that many seconds from now."""
        self._wait_until_s = min(self._wait_until_s, time.monotonic() + patience_s)

    @property
    def listener_statuses(self) -> list[dict[str, Any]]:
        """How each pool stood when it last reported."""
        return [m.status for m in self.members.values() if m.kind == "listeners" and m.status]

    @property
    def connected(self) -> int:
        """Streams open now, over all pools."""
        return sum(int(m.status.get("streaming", 0)) for m in self.members.values())

    def wait_for_streams(self, count: int, stopped: Callable[[], bool]) -> None:
        """Wait until so many are open; a run with fewer is not what was asked for."""
        self.until(lambda: self.connected >= count or stopped(), CONNECT_TIMEOUT_S)
        if self.connected < count and not stopped():
            self.notes.append(f"only {self.connected} of {count} listeners connected")

    def processes(self) -> dict[str, list[int]]:
        """The process ids of the harness on this machine, by what they do."""
        own = {"harness coordinator": [os.getpid()]}
        here = socket.gethostname()
        for member in self.crew:
            if member.host == here and member.pid != os.getpid():
                own.setdefault(f"harness {member.kind}", []).append(member.pid)
        return own

    def until(self, check: Callable[[], bool], timeout_s: float, *, own: bool = False) -> bool:
        """Wait until `check` holds, whether it came to that in time.

        What our own processes are to do is waited for a little however hurried the run is.
        """
        end = time.monotonic() + (min(timeout_s, OWN_S) if own and self.hurried else timeout_s)
        while not check():
            if (self.hurried and not own) or time.monotonic() >= end:
                return False
            gevent.sleep(TICK_S)
            self._look_for_lost()
        return True

    def _look_for_lost(self) -> None:
        clients = getattr(self._runner, "clients", None)
        if clients is None:
            return
        now = time.monotonic()
        for member in self.crew:
            if member.final or member in self.lost:
                continue
            client = clients.get(member.client_id)
            if client is not None and client.state != STATE_MISSING:
                self._missing_since.pop(member.ident, None)
                continue
            since = self._missing_since.setdefault(member.ident, now)
            if client is None or now - since >= LOST_AFTER_S:
                self.lost.append(member)
                self.trouble(f"{member.name} was lost: process {member.pid} of {member.host}")
