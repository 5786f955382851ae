"""What holds for every setting of every process."""

import os
import subprocess
import sys
from dataclasses import Field, fields
from typing import Any

import pytest

from scoreboard.settings import ServiceSettings, SettingsError, from_mapping
from server.settings import ServerSettings
from worker.settings import WorkerSettings

ENVIRONMENT = {
    "SCOREBOARD_MYSQL_URL": "mysql://u@127.0.0.1:3306/scores",
    "SCOREBOARD_REDIS_URL": "redis://127.0.0.1:6379/0",
    "SCOREBOARD_TEMPORAL_ADDRESS": "127.0.0.1:7233",
    "SCOREBOARD_JWT_SECRET": "x" * 32,
}
KINDS: tuple[type[ServiceSettings], ...] = (ServerSettings, WorkerSettings)
NUMBERS = [(kind, item) for kind in KINDS for item in fields(kind) if item.type in (int, float)]
NO_NUMBERS = ("inf", "-inf", "nan", "-1", "-0.5", "1e400", "ten", "1_0", "0x10")


def name_of(value: object) -> str | None:
    return value.metadata["variable"] if isinstance(value, Field) else None


def test_numbers_are_found() -> None:
    assert len(NUMBERS) > 30


@pytest.mark.parametrize(("kind", "item"), NUMBERS, ids=name_of)
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_setting_refuses_non_finite_numbers_and_names_the_form(
    kind: type[ServiceSettings], item: Field[Any], text: str
) -> None:
    variable = item.metadata["variable"]

    with pytest.raises(SettingsError) as caught:
        from_mapping(kind, ENVIRONMENT | {variable: text})

    assert str(caught.value).startswith(f"{variable} must be a ")


@pytest.mark.parametrize(
    ("kind", "item"), [n for n in NUMBERS if n[1].name.endswith("_s")], ids=name_of
)
def test_duration_that_overflows_a_date_is_refused(
    kind: type[ServiceSettings], item: Field[Any]
) -> None:
    variable = item.metadata["variable"]

    with pytest.raises(SettingsError, match=variable):
        from_mapping(kind, ENVIRONMENT | {variable: "1e15"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_is_a_value_that_its_parser_takes(kind: type[ServiceSettings]) -> None:
    for item in fields(kind):
        if item.type in (int, float):
            assert item.metadata["parse"](str(item.default)) == item.default


@pytest.mark.parametrize("module", ["server", "worker", "stack.api"])
def test_process_alone_names_faults_together_and_warns_of_unknown_names(module: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SCOREBOARD_MYSQL_URL": "nonsense",
        "SCOREBOARD_REDIS_URL": "redis://127.0.0.1/0?sl_ca_certs=x",
        "SCOREBOARD_RATE_LIMT_COUNT": "5",
    }

    done = subprocess.run(
        (sys.executable, "-m", module),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert "SCOREBOARD_MYSQL_URL must look like mysql://user:password@host" in done.stderr
    assert "'sl_ca_certs'; the nearest is ssl_ca_certs" in done.stderr
    assert "SCOREBOARD_TEMPORAL_ADDRESS is missing (Temporal: host:port)" in done.stderr
    assert "did you mean SCOREBOARD_RATE_LIMIT_COUNT?" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
