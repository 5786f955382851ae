"""Settings of the worker process; read from the environment in `__main__` only."""

from dataclasses import dataclass

from scoreboard.settings import ServiceSettings, positive_float, positive_int, setting


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(ServiceSettings):
    """What a worker needs beyond the addresses of the services."""

    mysql_pool: int = setting(
        "SCOREBOARD_WORKER_MYSQL_POOL", positive_int, "Most MySQL connections of a worker", 8
    )
    stream_entries: int = setting(
        "SCOREBOARD_STREAM_ENTRIES",
        positive_int,
        "Batches that the Redis stream keeps for listeners that come back",
        4096,
    )
    heal_interval_s: float = setting(
        "SCOREBOARD_HEAL_INTERVAL_S",
        positive_float,
        "Seconds between checks that Redis has all that MySQL has",
        1.0,
    )
    failpoints: str = setting(
        "SCOREBOARD_FAILPOINTS", str, "File of failpoints to trip; for fault tests only", ""
    )
