"""Every SCOREBOARD_* variable, so that each process tells a mistyped one from another's.

Not what they mean: that is where each is read. A test holds this list against the manual.
"""

import difflib
from collections.abc import Iterable

PREFIX = "SCOREBOARD_"
NAMES = frozenset(
    f"{PREFIX}{name}"
    for name in [
        "BASE_PATH",
        "BATCHES_IN_FLIGHT",
        "BATCHES_RUNNING",
        "BATCHES_UNFINISHED",
        "BATCH_INTERVAL_S",
        "BATCH_MAX",
        "DATA_DIR",
        "DRAIN_NOTICE_S",
        "DRAIN_TIMEOUT_S",
        "FAILPOINTS",
        "FRAUD_LARGE_INCREMENT",
        "FRAUD_OPEN_CASES_MAX",
        "FRAUD_REVIEW_LIMIT_S",
        "FRAUD_UNLIKE_HISTORY_FLOOR",
        "FRAUD_UNLIKE_HISTORY_Z",
        "FRAUD_WINDOW_POINTS",
        "FRAUD_WINDOW_S",
        "HEALTH_INTERVAL_S",
        "HEAL_INTERVAL_S",
        "HEARTBEAT_S",
        "HISTORY_CHANGES",
        "HOST",
        "JWKS",
        "JWKS_INTERVAL_S",
        "JWKS_MAX_AGE_S",
        "JWT_SECRET",
        "JWT_SECRETS_PREVIOUS",
        "KEEP_ALIVE_S",
        "LAGGING_MAX_S",
        "LISTENERS_MAX",
        "LOG_REQUESTS",
        "METRICS_HOST",
        "METRICS_OPEN",
        "METRICS_PORT",
        "MYSQL_IMAGE",
        "MYSQL_URL",
        "OTLP_ENDPOINT",
        "PORT",
        "PROXIES_COUNT",
        "PROXIES_HEADER",
        "QUEUE_MAX",
        "RATE_LIMIT_COUNT",
        "RATE_LIMIT_WINDOW_S",
        "REDIS_IMAGE",
        "REDIS_URL",
        "REFRESH_INTERVAL_S",
        "REPLAY_LIMIT_FACTOR",
        "REQUEST_TIMEOUT_S",
        "REUSE_PORT",
        "SIGNATURES_REQUIRED",
        "SIGNATURE_AUTHORITIES",
        "SIGNATURE_KEYS",
        "STREAMS_PER_ADDRESS",
        "STREAMS_PER_USER",
        "STREAM_AUTH_REQUIRED",
        "STREAM_ENTRIES",
        "STREAM_GZIP",
        "STREAM_LEASE_S",
        "STREAM_ORIGINS",
        "SUBMIT_TIMEOUT_S",
        "TASK_QUEUE",
        "TEMPORAL_ADDRESS",
        "TEMPORAL_API_KEY",
        "TEMPORAL_CODEC",
        "TEMPORAL_IMAGE",
        "TEMPORAL_NAMESPACE",
        "TEMPORAL_SERVER",
        "TEMPORAL_TLS",
        "TEMPORAL_TLS_CA",
        "TEMPORAL_TLS_CERT",
        "TEMPORAL_TLS_KEY",
        "TICK_MAX_S",
        "TOKEN",
        "TOKEN_AUDIENCES",
        "TOKEN_ISSUERS",
        "TOKEN_SCOPE_CLAIMS",
        "TOKEN_TYPES",
        "TOKEN_USER_CLAIM",
        "TRACE_RATIO",
        "URL",
        "WORKER_MYSQL_POOL",
    ]
)
_FAMILIES = (
    f"{PREFIX}LOAD_",
    *(f"{PREFIX}{role}_{what}" for role in ("SERVER", "WORKER") for what in ("M", "R", "T")),
)
FILE = "_FILE"
"""Ends the name of a variable that names a file in place of a value."""


def unknown(names: Iterable[str]) -> list[str]:
    """A sentence for each SCOREBOARD_* name that nothing reads, with the nearest that exists."""
    told = []
    for name in sorted(names):
        known = name in NAMES or name.removesuffix(FILE) in NAMES or name.startswith(_FAMILIES)
        if known or not name.startswith(PREFIX):
            continue
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.8)
        hint = f"; did you mean {near[0]}?" if near else ""
        told.append(f"{name} is no setting of Scoreboard and has no effect{hint}")
    return told
