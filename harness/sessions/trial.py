"""A short run of both engines in one process, without Locust, judged from outside.

For self-proof and tests: the same engines, accounting and reconciliation as a
real run, on one loop.
"""

import time
from dataclasses import dataclass

from harness.checker import reconcile
from harness.engines.listener_stats import Account
from harness.engines.standalone import drive
from harness.engines.submitter import Submitter, SubmitterSettings
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence import board_look
from harness.measure.schedule import arrivals, mix, parse_profile
from harness.measure.series import Series
from harness.net.http_wire import SubmissionRequests
from harness.net.target import Target, get_scores

NS = 1_000_000_000
PLAYERS = 100
CONNECT_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 5.0
QUIET_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came out: figures, the listeners' statement, and both findings."""

    series: Series
    account: Account
    board: reconcile.Findings
    listeners: reconcile.Findings
    final_seq: int


def run_trial(
    base_url: str, *, rate: str, seconds: float, listeners: int = 0, poisson: bool = False
) -> Trial:
    """Connect, submit on schedule, drain, reconcile. Raises OSError when nothing answers."""
    target = Target(base_url=base_url, secret=b"0" * 32)
    before = board_look.look(target, PLAYERS)
    zero_unix_ns = time.time_ns()
    offset = zero_unix_ns - time.monotonic_ns()
    swarm = Swarm(
        SwarmSettings(
            address=target.address,
            host_header=target.host_header,
            listeners=listeners,
            start_unix_ns=zero_unix_ns + NS,
        )
    )
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
        lambda number: (1 + mix(1, number) % PLAYERS, 1 + number % 97),
        SubmissionRequests(
            host_header=target.host_header,
            tokens=target.tokens(PLAYERS, int(time.time())),
            run_id=f"trial-{zero_unix_ns}",
        ).make,
    )
    try:
        drive([sender, swarm], lambda: sender.finished, timeout_s=seconds + 3 * ANSWER_TIMEOUT_S)
        quiet_from = time.monotonic()
        drive([swarm], lambda: time.monotonic() > quiet_from + QUIET_S, timeout_s=5)
        final_seq = get_scores(target, limit=1).seq
        if listeners:
            drive([swarm], lambda: swarm.converging_to >= final_seq, timeout_s=ANSWER_TIMEOUT_S)
        after = board_look.look(target, PLAYERS)
        account = swarm.account(final_seq)
        sent, done = sender.take_records()
    finally:
        swarm.close()
        sender.close()
    outcomes = {number: (outcome, sid) for number, outcome, _, sid, _ in done}
    attempts = [
        reconcile.Attempt(
            number=number,
            user=user,
            increment=increment,
            outcome=outcomes.get(number, ("unknown", None))[0],
            submission_id=None,
        )
        for number, user, increment, _ in sent
    ]
    series = Series()
    series.absorb(sender.series.drain())
    series.absorb(swarm.series.drain())
    return Trial(
        series=series,
        account=account,
        board=reconcile.against_board(attempts, before, after),
        listeners=reconcile.of_listeners(
            [account.to_json()],
            [{user: list(pair) for user, pair in swarm.table.latest.items()}],
            after,
            final_seq,
        ),
        final_seq=final_seq,
    )
