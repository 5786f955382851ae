"""The environment is judged as a whole before anything starts; typos are named."""

import json
import re
from pathlib import Path

import pytest

from scoreboard.settings.names import NAMES, unknown
from stack.environment import faults
from stack.manual import configuration


def test_all_wrong_options_are_reported_with_the_right_form() -> None:
    environment = {
        "SCOREBOARD_MYSQL_URL": "nonsense",
        "SCOREBOARD_RATE_LIMIT_COUNT": "abc",
        "SCOREBOARD_WORKER_REDIS_URL": "http://cache",
        "SCOREBOARD_JWKS": "/nowhere/keys.json",
    }

    assert faults(environment) == [
        "SCOREBOARD_MYSQL_URL must look like mysql://user:password@host:port/database",
        "SCOREBOARD_JWKS must name a file that can be read: /nowhere/keys.json: "
        "No such file or directory",
        "SCOREBOARD_RATE_LIMIT_COUNT must be a whole number above 0",
        "SCOREBOARD_WORKER_REDIS_URL must look like redis://host:port/0",
    ]


def test_an_empty_environment_has_no_fault() -> None:
    assert faults({"PATH": "/bin", "SCOREBOARD_MYSQL_URL": ""}) == []


def test_keys_may_be_at_an_address_or_in_a_file(tmp_path: Path) -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "A" * 43}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key]}))

    assert faults({"SCOREBOARD_JWKS": "https://issuer.example/keys"}) == []
    assert faults({"SCOREBOARD_JWKS": str(tmp_path / "keys.json")}) == []


@pytest.mark.parametrize("variable", ["SCOREBOARD_JWKS", "SCOREBOARD_SIGNATURE_KEYS"])
@pytest.mark.parametrize("content", ["# Scoreboard", "{}", '{"keys":[]}', '{"keys":[{}]}'])
def test_a_file_without_usable_keys_is_reported_before_anything_starts(
    tmp_path: Path, variable: str, content: str
) -> None:
    (tmp_path / "keys.json").write_text(content)

    [fault] = faults({variable: str(tmp_path / "keys.json")})

    assert fault.startswith(f"{variable} must name a file that can be used: ")


def test_the_port_is_judged_with_the_rest() -> None:
    assert faults({"SCOREBOARD_PORT": "99999"}) == [
        "SCOREBOARD_PORT must be a port number, 0 to 65535"
    ]


def test_mistyped_name_is_reported_with_the_nearest_match() -> None:
    assert unknown({"SCOREBOARD_RATE_LIMT_COUNT": "5"}) == [
        "SCOREBOARD_RATE_LIMT_COUNT is no setting of Scoreboard and has no effect; "
        "did you mean SCOREBOARD_RATE_LIMIT_COUNT?"
    ]


def test_the_list_of_names_is_that_of_the_manual() -> None:
    documented = set(re.findall(r"SCOREBOARD_[A-Z0-9_]*[A-Z0-9]\b", configuration()))

    assert documented - {"SCOREBOARD_LOAD_RATE"} == NAMES


def test_addresses_by_file_are_for_processes_that_run_alone() -> None:
    assert faults({"SCOREBOARD_MYSQL_URL_FILE": "/run/secrets/mysql"}) == [
        "SCOREBOARD_MYSQL_URL_FILE is for processes that run alone; set SCOREBOARD_MYSQL_URL"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SCOREBOARD_DATA_DIR",
        "SCOREBOARD_MYSQL_URL",
        "SCOREBOARD_SERVER_MYSQL_URL",
        "SCOREBOARD_WORKER_TEMPORAL_ADDRESS",
        "SCOREBOARD_LOAD_RATE",
        "SCOREBOARD_TOKEN",
        "SCOREBOARD_JWT_SECRET_FILE",
        "HOME",
    ],
)
def test_names_that_something_reads_are_known(name: str) -> None:
    assert unknown({name: "x"}) == []
