"""What a worker counts about itself, for Prometheus. Per step and batch, never per submission.

The counters live in the client library's common registry: a worker of its own
shows them at SCOREBOARD_METRICS_PORT, one inside an API process with that
process' own figures.
"""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from scoreboard.domain import LedgerRow

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

STEP_SECONDS = Histogram(
    "scoreboard_worker_step_seconds",
    "Time of one attempt at a step of a workflow.",
    ["step"],
    buckets=_BUCKETS_S,
)
STEP_FAILURES = Counter(
    "scoreboard_worker_step_failures", "Attempts at a step that failed and are repeated.", ["step"]
)
RECORDED = Counter(
    "scoreboard_worker_recorded", "Submissions written to the ledger, by outcome.", ["outcome"]
)
TRANSACTION_RETRIES = Counter(
    "scoreboard_worker_transaction_retries",
    "Transactions repeated after a deadlock or a lock timeout.",
)
BOARD_CATCH_UPS = Counter(
    "scoreboard_worker_board_catch_ups",
    "Times that Redis lacked earlier changes, which were then read from the ledger.",
)
BOARD_REBUILDS = Counter(
    "scoreboard_worker_board_rebuilds", "Rankings built anew from MySQL.", ["cause"]
)
ANNOUNCEMENTS_LOST = Counter(
    "scoreboard_worker_announcements_lost",
    "Finished batches that could not be announced; API processes look them up instead.",
)
HISTORIES = Counter(
    "scoreboard_worker_histories",
    "Histories begun since the ledger did not continue what was shown, or Redis showed a wrong"
    " board.",
    ["cause"],
)
BOARD_DRIFT = Gauge(
    "scoreboard_worker_board_drift",
    "Users whose line in Redis differed from MySQL at the last scheduled refresh.",
    ["kind"],
)


def count_recorded(rows: Iterable[LedgerRow]) -> None:
    """Count rows that a transaction has committed."""
    for outcome, count in Tally(row.outcome for row in rows).items():
        RECORDED.labels(outcome.value).inc(count)
