"""Settings of the worker process; read from the environment in `__main__` only."""

from dataclasses import dataclass

from scoreboard.fraud import FraudRules
from scoreboard.settings import (
    ServiceSettings,
    non_negative_float,
    non_negative_int,
    port_number,
    positive_int,
    positive_seconds,
    setting,
)
from worker.workflows.fraud_review import TIME_LIMIT_S


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(ServiceSettings):
    """Settings of a worker beyond the addresses of the services."""

    mysql_pool: int = setting(
        "SCOREBOARD_WORKER_MYSQL_POOL", positive_int, "Maximum MySQL connections of a worker", 8
    )
    stream_entries: int = setting(
        "SCOREBOARD_STREAM_ENTRIES",
        positive_int,
        "Batches that the Redis stream keeps for listeners that reconnect",
        4096,
    )
    heal_interval_s: float = setting(
        "SCOREBOARD_HEAL_INTERVAL_S",
        positive_seconds,
        "Seconds between checks of Redis against MySQL",
        1.0,
    )
    refresh_interval_s: float = setting(
        "SCOREBOARD_REFRESH_INTERVAL_S",
        positive_seconds,
        "Seconds between scheduled refreshes of the rankings",
        300.0,
    )
    fraud_large_increment: int = setting(
        "SCOREBOARD_FRAUD_LARGE_INCREMENT",
        non_negative_int,
        "Hold gains above this many points; 0: off",
        FraudRules.large_increment,
    )
    fraud_window_s: int = setting(
        "SCOREBOARD_FRAUD_WINDOW_S",
        positive_int,
        "Length of the fraud window in seconds",
        FraudRules.window_s,
    )
    fraud_window_points: int = setting(
        "SCOREBOARD_FRAUD_WINDOW_POINTS",
        non_negative_int,
        "Hold gains that bring a user above this many points in a window; 0: off",
        FraudRules.window_points,
    )
    fraud_unlike_history_z: float = setting(
        "SCOREBOARD_FRAUD_UNLIKE_HISTORY_Z",
        non_negative_float,
        "Hold gains more than this many robust standard deviations above the user's history;"
        " 0: off",
        FraudRules.unlike_history_z,
    )
    fraud_unlike_history_floor: int = setting(
        "SCOREBOARD_FRAUD_UNLIKE_HISTORY_FLOOR",
        non_negative_int,
        "Gains below this many points are never compared with the user's history",
        FraudRules.unlike_history_floor,
    )
    fraud_open_cases_max: int = setting(
        "SCOREBOARD_FRAUD_OPEN_CASES_MAX",
        non_negative_int,
        "Open cases of one user at which further suspicious gains are rejected"
        " (`too_many_cases`); 0: no limit",
        FraudRules.open_cases_max,
    )
    fraud_review_limit_s: float = setting(
        "SCOREBOARD_FRAUD_REVIEW_LIMIT_S",
        positive_seconds,
        "Seconds after which an undecided held submission expires without effect",
        TIME_LIMIT_S,
    )
    metrics_host: str = setting(
        "SCOREBOARD_METRICS_HOST", str, "Address of a separate worker's metrics", "127.0.0.1"
    )
    metrics_port: int = setting(
        "SCOREBOARD_METRICS_PORT", port_number, "Port of a separate worker's metrics; 0: off", 0
    )
    failpoints: str = setting(
        "SCOREBOARD_FAILPOINTS", str, "File of failpoints to trip; for fault tests only", ""
    )

    @property
    def fraud(self) -> FraudRules:
        """The fraud rules of these settings."""
        return FraudRules(
            large_increment=self.fraud_large_increment,
            window_s=self.fraud_window_s,
            window_points=self.fraud_window_points,
            unlike_history_z=self.fraud_unlike_history_z,
            unlike_history_floor=self.fraud_unlike_history_floor,
            open_cases_max=self.fraud_open_cases_max,
        )
