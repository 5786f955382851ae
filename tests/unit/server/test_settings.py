"""Settings of the API process: it does not start without a proper secret."""

import pytest

from scoreboard.settings import SettingsError, from_mapping
from server.settings import ServerSettings

NEEDED = {
    "SCOREBOARD_MYSQL_URL": "mysql://u:p@localhost/scoreboard",
    "SCOREBOARD_REDIS_URL": "redis://localhost:6379/0",
    "SCOREBOARD_TEMPORAL_ADDRESS": "localhost:7233",
    "SCOREBOARD_JWT_SECRET": "s" * 32,
}


def test_addresses_and_a_secret_are_enough() -> None:
    settings = from_mapping(ServerSettings, NEEDED)

    assert settings.port == 3000
    assert (settings.rate_limit.count, settings.rate_limit.window_us) == (100, 10_000_000)


@pytest.mark.parametrize("secret", ["", "short", "s" * 31])
def test_a_missing_or_short_secret_is_named(secret: str) -> None:
    with pytest.raises(SettingsError, match="SCOREBOARD_JWT_SECRET"):
        from_mapping(ServerSettings, NEEDED | {"SCOREBOARD_JWT_SECRET": secret})


def test_a_batch_cannot_be_larger_than_a_workflow_carries() -> None:
    with pytest.raises(
        SettingsError, match="SCOREBOARD_BATCH_MAX must be a whole number from 1 to 1000"
    ):
        from_mapping(ServerSettings, NEEDED | {"SCOREBOARD_BATCH_MAX": "1001"})


def test_batches_come_at_least_once_a_second() -> None:
    with pytest.raises(
        SettingsError, match="SCOREBOARD_BATCH_INTERVAL_S must be a number of seconds from 0 to 1"
    ):
        from_mapping(ServerSettings, NEEDED | {"SCOREBOARD_BATCH_INTERVAL_S": "1.5"})


def test_the_secret_shows_nowhere() -> None:
    assert "ssss" not in repr(from_mapping(ServerSettings, NEEDED))


def test_faults_and_conflicts_are_told_together() -> None:
    with pytest.raises(SettingsError) as refused:
        from_mapping(
            ServerSettings,
            {"SCOREBOARD_RATE_LIMIT_COUNT": "abc", "SCOREBOARD_SIGNATURES_REQUIRED": "true"},
        )

    told = str(refused.value)
    for name in ("MYSQL_URL", "RATE_LIMIT_COUNT", "JWT_SECRET", "SIGNATURE_KEYS"):
        assert f"SCOREBOARD_{name} " in told


def test_a_malformed_value_is_no_second_fault() -> None:
    with pytest.raises(SettingsError) as refused:
        from_mapping(ServerSettings, {"SCOREBOARD_JWT_SECRET": "short"})

    assert str(refused.value).count("SCOREBOARD_JWT_SECRET") == 1
