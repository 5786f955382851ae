"""Proves the harness on a server that lies in a known way: it must report exactly the lie.

Each case plants one fault in the null server, runs the engines, and compares
what they reported with what was planted. The stall is shown to stock Locust too.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.checker import Verdict
from harness.engines.null_server import Faults
from harness.engines.standalone import null_server
from harness.measure.figures import PERCENTILES
from harness.measure.machine import fingerprint
from harness.report.document import Machine, Proof, SelfTestResult, Stall, StallReport
from harness.sessions.trial import Trial, run_trial

RATE, SECONDS, LISTENERS = "300", 2.0, 50
SUBMISSIONS = 600
STALL = Faults(stall_at_s=4.0, stall_s=2.0)
STOCK_USERS, STOCK_RATE_PER_USER = 20, 25
# Importing that file would import Locust, which patches the process.
STOCK_FILE = Path(__file__).with_name("stock_locust.py")
STALL_RATE = STOCK_USERS * STOCK_RATE_PER_USER
STALL_SECONDS = 10.0


def _faults_of(trial: Trial) -> str:
    account = trial.account
    counted = [
        f"{count} {name}"
        for name, count in (
            ("missing", account.missing),
            ("duplicates", account.duplicates),
            ("reorders", account.reorders),
            ("contradictions", account.conflicts),
        )
        if count
    ]
    victims = ", ".join(f"listener {number}" for number in account.faulty)
    return (", ".join(counted) or "nothing wrong") + (f" at {victims}" if victims else "")


def _changes(trial: Trial) -> str:
    counts = trial.board.counts
    words = f"{counts['changes']} changes for {counts['acknowledged']} acknowledged"
    if counts["unknown"]:
        words += f" and {counts['unknown']} unknown"
    return words + ("" if trial.board.verdict is Verdict.TRUE else ": not correct")


CASES: tuple[tuple[str, Faults, int, str, Callable[[Trial], str]], ...] = (
    ("nothing", Faults(), LISTENERS, "nothing wrong", _faults_of),
    (
        "3 events kept from listener 7",
        Faults(lose_events=frozenset({50, 51, 300}), victim=7),
        LISTENERS,
        "3 missing at listener 7",
        _faults_of,
    ),
    (
        "2 events sent twice to listener 7",
        Faults(duplicate_events=frozenset({60, 200}), victim=7),
        LISTENERS,
        "2 duplicates at listener 7",
        _faults_of,
    ),
    (
        "3 acknowledged submissions not applied",
        Faults(lose_submissions=frozenset({10, 20, 30})),
        0,
        f"{SUBMISSIONS - 3} changes for {SUBMISSIONS} acknowledged: not correct",
        _changes,
    ),
    (
        "2 submissions applied twice",
        Faults(double_submissions=frozenset({10, 20})),
        0,
        f"{SUBMISSIONS + 2} changes for {SUBMISSIONS} acknowledged: not correct",
        _changes,
    ),
    (
        "2 answers lost, their submissions applied",
        Faults(lose_answers=frozenset({10, 20})),
        0,
        f"{SUBMISSIONS} changes for {SUBMISSIONS - 2} acknowledged and 2 unknown",
        _changes,
    ),
)


def prove_accounting() -> list[Proof]:
    """Every case of losses, duplicates and lost answers. About three seconds each."""
    proofs = []
    for planted, faults, listeners, expected, told in CASES:
        with null_server(faults, players=100) as (url, _):
            trial = run_trial(url, rate=RATE, seconds=SECONDS, listeners=listeners)
        reported = told(trial)
        proofs.append(Proof(planted=planted, reported=reported, exact=reported == expected))
    return proofs


def prove_slow_listener() -> Proof:
    """One listener of fifty gets everything 400 ms late."""
    with null_server(Faults(slow_listener_s=0.4, victim=7), players=100) as (url, _):
        trial = run_trial(url, rate=RATE, seconds=SECONDS, listeners=LISTENERS)
    median = trial.series.merged("reach_median").value_at(0.5)
    last = trial.series.merged("reach_last").value_at(0.5)
    late = trial.series.merged("lag").share_above(400_000)
    return Proof(
        planted="listener 7 of 50 is told 400 ms late",
        reported=f"last listener {last / 1000:.0f} ms behind, median {median / 1000:.0f} ms, "
        f"{late:.1%} of deliveries over 400 ms",
        exact=last > 400_000 > median and abs(late - 1 / LISTENERS) < 0.3 / LISTENERS,
    )


def stall_by_harness() -> StallReport:
    """Ten seconds with a stall of two, measured from the intended send."""
    with null_server(STALL, players=100) as (url, _):
        trial = run_trial(url, rate=str(STALL_RATE), seconds=STALL_SECONDS)
    response = trial.series.merged("response")
    return StallReport(
        tool="this harness",
        requests=response.total,
        times_ms={
            p.key: us / 1000 for p in PERCENTILES if (us := response.at(p.quantile)) is not None
        },
    )


def stall_by_stock_locust() -> StallReport:
    """The same stall as stock Locust reports it. Raises OSError when it leaves no report."""
    with null_server(STALL, players=100) as (url, _):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(STOCK_FILE), "--headless", "--json"),
                *("--host", url, "-u", str(STOCK_USERS), "-r", str(STOCK_USERS)),
                *("-t", f"{STALL_SECONDS:g}s", "--loglevel", "ERROR"),
            ],
            env={**os.environ, "STOCK_RATE_PER_USER": str(STOCK_RATE_PER_USER)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    try:
        [entry] = json.loads(done.stdout)
    except ValueError as error:
        raise OSError(f"stock Locust left no report:\n{done.stderr[-2000:]}") from error
    times = {float(ms): int(count) for ms, count in entry["response_times"].items()}

    def at(quantile: float) -> float:
        rank, seen = quantile * sum(times.values()), 0
        for ms in sorted(times):
            seen += times[ms]
            if seen >= rank:
                return ms
        return max(times)

    return StallReport(
        tool="stock Locust, 20 users",
        requests=int(entry["num_requests"]),
        times_ms={
            **{p.key: at(p.quantile) for p in PERCENTILES},
            "max": float(entry["max_response_time"]),
        },
    )


def prove() -> SelfTestResult:
    """The whole proof as a document."""
    proofs = [*prove_accounting(), prove_slow_listener()]
    stalls = [stall_by_harness(), stall_by_stock_locust()]
    ours, theirs = stalls
    # A tenth of the arrivals fall into the first second of the stall and wait longer than a
    # second: the true p99 lies just below the stall's length.
    shown = ours.times_ms.get("p99", 0) > 1700 and theirs.times_ms["p99"] < 1000
    return SelfTestResult(
        started_unix_s=time.time(),
        machine=Machine(**fingerprint()),
        proofs=proofs,
        stall=Stall(
            planted=f"a stall of {STALL.stall_s:g} s in {STALL_SECONDS:g} s at {STALL_RATE}/s",
            intended=int(STALL_RATE * STALL_SECONDS),
            reports=stalls,
        ),
        stall_shown=shown,
        good=all(proof.exact for proof in proofs) and shown,
    )
