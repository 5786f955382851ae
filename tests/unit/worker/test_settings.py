"""Worker settings: the addresses alone are enough, and the rest has safe defaults."""

import pytest

from scoreboard.settings import SettingsError, from_mapping
from worker.settings import WorkerSettings

ADDRESSES = {
    "SCOREBOARD_MYSQL_URL": "mysql://u:secret-word@127.0.0.1:3306/scores",
    "SCOREBOARD_REDIS_URL": "redis://127.0.0.1:6379/0",
    "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:7233",
}


def test_addresses_are_enough() -> None:
    settings = from_mapping(WorkerSettings, ADDRESSES)

    assert settings.failpoints == ""
    assert settings.mysql_pool > 0
    assert "secret-word" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SCOREBOARD_WORKER_MYSQL_POOL", "0"),
        ("SCOREBOARD_STREAM_ENTRIES", "-1"),
        ("SCOREBOARD_HEAL_INTERVAL_S", "0"),
        ("SCOREBOARD_REFRESH_INTERVAL_S", "soon"),
        ("SCOREBOARD_FRAUD_LARGE_INCREMENT", "-1"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        from_mapping(WorkerSettings, ADDRESSES | {variable: value})


def test_fraud_rules_can_all_be_turned_off() -> None:
    off = {
        "SCOREBOARD_FRAUD_LARGE_INCREMENT": "0",
        "SCOREBOARD_FRAUD_WINDOW_POINTS": "0",
        "SCOREBOARD_FRAUD_UNLIKE_HISTORY_Z": "0",
    }

    assert not from_mapping(WorkerSettings, ADDRESSES | off).fraud.active
    assert from_mapping(WorkerSettings, ADDRESSES).fraud.active
