"""A short run of both engines in one process, without Locust, judged from outside.

For self-proof and tests: the same engines, accounting, history and judge as a
real run, on one loop.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.capabilities import CONTRACT, Capabilities
from harness.checker import Finding
from harness.checker.saved_run import judge_saved_run
from harness.engines.increments import Increments
from harness.engines.listener_stats import ListenerTotals
from harness.engines.standalone import drive
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence.board_look import Look, look
from harness.evidence.history_writer import BoardJournal, ListenerJournal, SubmissionJournal
from harness.measure.schedule import arrivals, parse_profile
from harness.measure.series import Series
from harness.net.http_wire import SubmissionRequests
from harness.net.target import Target, get_scores
from scoreboard.contract import TOP_DEFAULT

NS = 1_000_000_000
PLAYERS = 100
CONNECT_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
QUIET_S = 0.5
NOWHERE = Look(seq=-1, scores=None)
"""The board of a server that does not show all of it."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came out: figures, the listeners' statement, and the judge's findings."""

    series: Series
    account: ListenerTotals
    findings: list[Finding]
    final_seq: int

    def finding(self, invariant: str) -> Finding:
        """The finding on one invariant, by its short name."""
        return next(f for f in self.findings if f.invariant.split()[0] == invariant)

    @property
    def board(self) -> Finding:
        """Whether the board gained exactly what was acknowledged."""
        return self.finding("I1")

    @property
    def listeners(self) -> Finding:
        """Whether every listener was sent every change."""
        return self.finding("I5")


def run_trial(
    base_url: str,
    *,
    rate: str,
    seconds: float,
    listeners: int = 0,
    poisson: bool = False,
    folder: Path | None = None,
    capabilities: Capabilities = CONTRACT,
) -> Trial:
    """Connect, submit on schedule, drain, judge. Raises OSError when nothing answers.

    A server is held to what its `capabilities` show. The history stays in `folder`, if one is
    given.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="scoreboard-trial-") as name:
            return run_trial(
                base_url,
                rate=rate,
                seconds=seconds,
                listeners=listeners,
                poisson=poisson,
                folder=Path(name),
                capabilities=capabilities,
            )
    by_content = not capabilities.follows_ids
    target = Target(base_url=base_url, secret=b"0" * 32).as_shown(capabilities)
    before = NOWHERE if by_content else look(target, PLAYERS)
    zero_unix_ns = time.time_ns()
    run_id = f"trial-{zero_unix_ns}"
    board = BoardJournal(folder, capabilities=capabilities)
    board.begin(before.seq, before.scores, before.names)
    submissions = SubmissionJournal(folder, name="submitters-0", run_id=run_id)
    events = ListenerJournal(folder, name="listeners-0", by_content=by_content)
    offset = zero_unix_ns - time.monotonic_ns()
    swarm = Swarm(
        SwarmSettings(
            address=target.address,
            host_header=target.host_header,
            listeners=listeners,
            start_unix_ns=zero_unix_ns + NS,
            capabilities=capabilities,
        )
    )
    increments = Increments(seed=1, players=PLAYERS)
    drive([swarm], lambda: swarm.streaming == listeners, timeout_s=CONNECT_TIMEOUT_S)
    start_ns = max(zero_unix_ns + NS, time.time_ns()) - offset
    sender = Submitter(
        SubmitterSettings(
            address=target.address,
            start_ns=start_ns,
            zero_ns=zero_unix_ns + NS - offset,
            timeout_ns=int(ANSWER_TIMEOUT_S * NS),
            drop_after_ns=int(ANSWER_TIMEOUT_S * NS),
        ),
        arrivals(parse_profile(rate).cut(seconds), seed=1, poisson=poisson),
        increments.choose,
        SubmissionRequests(
            host_header=target.host_header,
            tokens=target.tokens(PLAYERS, int(time.time())),
            run_id=run_id,
        ).make,
    )
    try:
        drive([sender, swarm], lambda: sender.finished, timeout_s=seconds + 3 * ANSWER_TIMEOUT_S)
        quiet_from = time.monotonic()
        drive([swarm], lambda: time.monotonic() > quiet_from + QUIET_S, timeout_s=5)
        final_seq = board.read(lambda limit: get_scores(target, limit=limit), TOP_DEFAULT).seq
        if by_content:
            accepted = sender.series.total("ok")
            drive(
                [swarm],
                lambda: swarm.table.end >= accepted and swarm.account().behind == 0,
                timeout_s=ANSWER_TIMEOUT_S,
            )
        elif listeners:
            drive(
                [swarm],
                lambda: swarm.converging_to >= final_seq,
                timeout_s=ANSWER_TIMEOUT_S,
            )
        after = NOWHERE if by_content else look(target, PLAYERS)
        account = swarm.account(final_seq)
    finally:
        swarm.close()
        sender.close()
    submissions.write(*sender.take_records())
    submissions.close(drained=sender.finished)
    events.write(*swarm.take_records())
    events.close(drained=True)
    board.close(
        drained=by_content or after.seq == final_seq,
        board=None if after.scores is None else (after.seq, after.scores),
        about={"processes": ["submitters-0", "listeners-0"], "listeners": listeners},
    )
    series = Series()
    series.absorb(sender.series.drain())
    series.absorb(swarm.series.drain())
    return Trial(
        series=series,
        account=account,
        findings=judge_saved_run(folder).findings,
        final_seq=final_seq,
    )
