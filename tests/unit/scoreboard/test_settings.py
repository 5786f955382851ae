"""Settings: every fault at once and by name, and no secret in any text that gets printed."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import addresses, settings
from scoreboard.addresses import MySqlAddress
from scoreboard.settings import ServiceSettings, SettingsError, describe, from_mapping, setting

GOOD = {
    "SCOREBOARD_MYSQL_URL": "mysql://user:hunter2@db.example:3307/scores",
    "SCOREBOARD_REDIS_URL": "redis://:hunter2@cache.example:6380/0",
    "SCOREBOARD_TEMPORAL_ADDRESS": "temporal.example:7233",
}


@dataclass(frozen=True, kw_only=True)
class Sample(ServiceSettings):
    """Each kind of value once."""

    jwt_secret: bytes = setting(
        "SCOREBOARD_JWT_SECRET", settings.secret_bytes, "Secret", secret=True
    )
    port: int = setting("SCOREBOARD_PORT", settings.port_number, "Port", 3000)
    limit: int = setting("SCOREBOARD_LIMIT", settings.positive_int, "Limit", 100)
    window_s: float = setting("SCOREBOARD_WINDOW_S", settings.positive_seconds, "Window", 10.0)
    embedded: bool = setting("SCOREBOARD_EMBEDDED", settings.flag, "Embedded worker", False)


SAMPLE = GOOD | {"SCOREBOARD_JWT_SECRET": "hunter2-" * 4}


def test_services_are_read_from_their_variables() -> None:
    read = from_mapping(ServiceSettings, GOOD | {"UNRELATED": "x"})

    assert read == ServiceSettings(
        mysql=MySqlAddress(
            host="db.example", port=3307, user="user", password="hunter2", database="scores"
        ),
        redis="redis://:hunter2@cache.example:6380/0",
        temporal_address="temporal.example:7233",
        temporal_namespace="default",
        task_queue="scoreboard",
    )


def test_values_are_parsed_and_defaults_fill_in() -> None:
    read = from_mapping(Sample, SAMPLE | {"SCOREBOARD_PORT": " 8080 ", "SCOREBOARD_LIMIT": ""})

    assert (read.port, read.limit, read.window_s, read.embedded) == (8080, 100, 10.0, False)


def test_all_faults_are_reported_at_once_and_by_name() -> None:
    with pytest.raises(SettingsError) as caught:
        from_mapping(
            Sample,
            {
                "SCOREBOARD_MYSQL_URL": "postgres://db/scores",
                "SCOREBOARD_REDIS_URL": "  ",
                "SCOREBOARD_JWT_SECRET": "short",
                "SCOREBOARD_PORT": "web",
                "SCOREBOARD_LIMIT": "0",
                "SCOREBOARD_WINDOW_S": "nan",
                "SCOREBOARD_EMBEDDED": "maybe",
            },
        )

    assert str(caught.value).split("; ") == [
        "SCOREBOARD_MYSQL_URL must look like mysql://user:password@host:port/database",
        "SCOREBOARD_REDIS_URL is missing (Redis: redis://host:port/0)",
        "SCOREBOARD_TEMPORAL_ADDRESS is missing (Temporal: host:port)",
        "SCOREBOARD_JWT_SECRET must have at least 32 bytes",
        "SCOREBOARD_PORT must be a port number, 0 to 65535",
        "SCOREBOARD_LIMIT must be a whole number above 0",
        "SCOREBOARD_WINDOW_S must be a number of seconds above 0, at most 316224000",
        "SCOREBOARD_EMBEDDED must be true or false",
    ]


def test_no_secret_shows_in_repr() -> None:
    assert "hunter2" not in repr(from_mapping(Sample, SAMPLE))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2@db:port/scores"),
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2@db:99999/scores"),
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2@/scores"),
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2@db"),
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2#@db/scores"),
        ("SCOREBOARD_MYSQL_URL", "mysql://user:hunter2@[::1/scores"),
        ("SCOREBOARD_REDIS_URL", "redis://:hunter2@cache:port/0"),
        ("SCOREBOARD_REDIS_URL", "http://:hunter2@cache/0"),
        ("SCOREBOARD_REDIS_URL", "redis://:hunter2@[::1/0"),
        ("SCOREBOARD_JWT_SECRET", "hunter2"),
        ("SCOREBOARD_JWT_SECRET", "hunter2\udcff" * 8),
    ],
)
def test_no_secret_shows_in_a_fault(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_mapping(Sample, SAMPLE | {variable: value})

    assert variable in str(caught.value)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=30))
def test_no_text_in_any_variable_raises_anything_else(value: str) -> None:
    for item in fields(Sample):
        variable = item.metadata["variable"]
        fault = ""
        try:
            from_mapping(Sample, SAMPLE | {variable: value})
        except SettingsError as error:
            fault = str(error)
        assert not fault or fault.startswith(f"{variable} ")


def test_a_mysql_url_has_usual_defaults_and_quoted_characters() -> None:
    assert addresses.mysql_address("mysql://db/scores") == MySqlAddress(
        host="db", port=3306, user="root", password="", database="scores"
    )
    assert addresses.mysql_address("mysql://a%40b:p%2Fw@db/scores") == MySqlAddress(
        host="db", port=3306, user="a@b", password="p/w", database="scores"
    )


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (settings.port_number, "0", 0),
        (settings.port_number, "65535", 65535),
        (settings.positive_int, "1", 1),
        (settings.positive_seconds, "0.5", 0.5),
        (settings.non_negative_seconds, "0", 0.0),
        (settings.ratio, "1", 1.0),
        (settings.non_negative_int, "0", 0),
        (settings.non_negative_float, "0", 0.0),
        (settings.flag, "TRUE", True),
        (settings.flag, "no", False),
        (settings.secret_bytes, "é" * 16, ("é" * 16).encode()),
        (addresses.redis_url, "rediss://cache", "rediss://cache"),
        (settings.host_and_port, "127.0.0.1:7233", "127.0.0.1:7233"),
        (settings.host_and_port, "[::1]:7233", "[::1]:7233"),
    ],
)
def test_values_at_the_border_parse(
    parse: Callable[[str], Any], value: str, expected: object
) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (settings.port_number, "65536"),
        (settings.port_number, "-1"),
        (settings.positive_int, "-1"),
        (settings.positive_int, "1.5"),
        (settings.positive_seconds, "0"),
        (settings.non_negative_int, "-1"),
        (settings.non_negative_float, "-0.1"),
        (settings.non_negative_float, "nan"),
        (settings.positive_int, "1_0"),
        (settings.positive_int, "१"),
        (settings.positive_int, "9" * 5000),
        (settings.positive_seconds, "inf"),
        (settings.positive_seconds, "1e300"),
        (settings.positive_seconds, "ten"),
        (settings.non_negative_seconds, "-1"),
        (settings.ratio, "nan"),
        (settings.ratio, "1.1"),
        (settings.flag, "2"),
        (settings.secret_bytes, "x" * 31),
        (addresses.redis_url, "redis://cache:0"),
        (settings.host_and_port, "temporal"),
        (settings.host_and_port, "temporal:"),
        (settings.host_and_port, ":7233"),
        (settings.host_and_port, "temporal:grpc"),
        (settings.host_and_port, "temporal:99999"),
        (settings.host_and_port, "http://temporal:7233"),
        (settings.host_and_port, "temporal:7233/path"),
        (settings.host_and_port, "me@temporal:7233"),
    ],
)
def test_values_beyond_the_border_are_refused(parse: Callable[[str], Any], value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(value)


# How Temporal is reached

BEGIN = b"-----BEGIN CERTIFICATE-----"
FILES = {
    "/ca": BEGIN,
    "/cert": BEGIN,
    "/key": b"-----BEGIN PRIVATE KEY-----\nhunter2 of it",
    "/empty": b"",
    "/text": b"hunter2",
}


def read(path: str) -> bytes:
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[path]


def test_temporal_connection_errors_are_reported_with_the_others() -> None:
    faulty = {
        "SCOREBOARD_TEMPORAL_ADDRESS": "nowhere",
        "SCOREBOARD_TEMPORAL_TLS": "perhaps",
        "SCOREBOARD_TEMPORAL_TLS_CA": "/missing",
        "SCOREBOARD_TEMPORAL_TLS_CERT": "/empty",
        "SCOREBOARD_TEMPORAL_API_KEY": "hunter2\nhunter2",
    }

    with pytest.raises(SettingsError) as caught:
        from_mapping(ServiceSettings, GOOD | faulty, read)

    assert str(caught.value).split("; ") == [
        "SCOREBOARD_TEMPORAL_ADDRESS must look like host:port",
        "SCOREBOARD_TEMPORAL_TLS must be true or false",
        "SCOREBOARD_TEMPORAL_TLS_CA must name a file that can be read: /missing: "
        "No such file or directory",
        "SCOREBOARD_TEMPORAL_TLS_CERT must name a file that is not empty: /empty",
        "SCOREBOARD_TEMPORAL_API_KEY must be printable ASCII",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SCOREBOARD_TEMPORAL_TLS_CA", "/text"),
        ("SCOREBOARD_TEMPORAL_TLS_KEY", "/text"),
        ("SCOREBOARD_MYSQL_URL", "mysql://u@db/board?ssl_ca=/text"),
        ("SCOREBOARD_REDIS_URL", "rediss://cache?ssl_ca_certs=/text"),
    ],
)
def test_a_file_without_certificates_is_refused_before_anything_connects(
    variable: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        from_mapping(ServiceSettings, GOOD | {variable: value}, read)

    assert f"{variable} must name a file that can be used: /text: it has no" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_any_value_may_stand_in_a_file() -> None:
    files = {**FILES, "/secret": b"mysql://app:secret@db:3306/board\n"}
    without = {name: value for name, value in GOOD.items() if name != "SCOREBOARD_MYSQL_URL"}

    settings = from_mapping(
        ServiceSettings, without | {"SCOREBOARD_MYSQL_URL_FILE": "/secret"}, files.__getitem__
    )

    assert settings.mysql.host == "db"


def test_value_and_file_together_and_files_that_cannot_be_read_are_refused() -> None:
    faulty = {
        "SCOREBOARD_REDIS_URL_FILE": "/key",
        "SCOREBOARD_TASK_QUEUE_FILE": "/missing",
        "SCOREBOARD_OTLP_ENDPOINT": "localhost",
    }

    with pytest.raises(SettingsError) as caught:
        from_mapping(ServiceSettings, GOOD | faulty, read)

    assert str(caught.value).split("; ") == [
        "SCOREBOARD_REDIS_URL_FILE stands beside SCOREBOARD_REDIS_URL: give one of them",
        "SCOREBOARD_TASK_QUEUE_FILE must name a file that can be read: /missing: "
        "No such file or directory",
        "SCOREBOARD_OTLP_ENDPOINT must look like http://host:port",
    ]


@pytest.mark.parametrize("alone", ["CERT", "KEY"])
def test_a_certificate_and_its_key_go_together(alone: str) -> None:
    variable = f"SCOREBOARD_TEMPORAL_TLS_{alone}"

    with pytest.raises(SettingsError, match=f"{variable} needs"):
        from_mapping(ServiceSettings, GOOD | {variable: f"/{alone.lower()}"}, read)


def test_neither_api_key_nor_private_key_shows_in_repr() -> None:
    secrets = {
        "SCOREBOARD_TEMPORAL_API_KEY": "hunter2",
        "SCOREBOARD_TEMPORAL_TLS_CERT": "/cert",
        "SCOREBOARD_TEMPORAL_TLS_KEY": "/key",
    }

    assert "hunter2" not in repr(from_mapping(ServiceSettings, GOOD | secrets, read))


def test_the_manual_lists_each_variable_with_its_default() -> None:
    rows = {name: (default, about) for name, default, about in describe(Sample)}

    assert rows["SCOREBOARD_MYSQL_URL"][0] == "required"
    assert rows["SCOREBOARD_PORT"] == ("3000", "Port")
    assert len(rows) == len(fields(Sample))
