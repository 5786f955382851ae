"""compose.yaml holds together: it resolves, and says only what its processes understand."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from scoreboard.settings import describe, from_mapping
from server.settings import ServerSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SERVICE_KEYS = {
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "init",
    "mem_limit",
    "pids_limit",
    "ports",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "user",
    "volumes",
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries"}
SECRETS = {"SCOREBOARD_JWT_SECRET": "s" * 32, "SCOREBOARD_MYSQL_PASSWORD": "p" * 16}
CONDITIONS = {"service_healthy", "service_started", "service_completed_successfully"}
VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::(-|\?)([^}]*))?\}|\$")


def resolve(text: str, values: dict[str, str]) -> str:
    """Replaces variables as compose does; a lone dollar sign is an error there too."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        assert match[1], f"a dollar sign that names no variable near {text[match.start() :][:30]!r}"
        if values.get(match[1]):
            return values[match[1]]
        assert match[2] == "-", f"{match[1]} is required: {match[3]}"
        return match[3]

    return VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "compose.yaml").read_text()


@pytest.fixture(scope="module")
def compose(text: str) -> dict[str, Any]:
    resolved: dict[str, Any] = yaml.safe_load(resolve(text, SECRETS))
    return resolved


@pytest.mark.parametrize("name", SECRETS)
def test_compose_asks_for_each_secret_instead_of_shipping_one(text: str, name: str) -> None:
    with pytest.raises(AssertionError, match=f"{name} is required"):
        resolve(text, {other: value for other, value in SECRETS.items() if other != name})


def test_containers_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert service.get("read_only") or name == "mysql"
    assert {name for name, service in services.items() if "cap_add" in service} == {
        *("mysql", "redis"),
    }
    holders = {
        name
        for name, service in services.items()
        if "SCOREBOARD_JWT_SECRET" in service.get("environment", {})
    }
    assert holders == {"server"}
    assert "password" not in services["mysql"]["healthcheck"]["test"].replace("$MYSQL_PASSWORD", "")


def test_compose_resolves_to_five_parts_and_the_demo_users(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"mysql", "redis", "temporal", "worker", "server", "seed"}
    assert {key for key in compose if not key.startswith("x-")} == {"services", "volumes"}
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["mysql"] == "mysql:8.4"
    assert images["redis"] == "redis:8"


def test_compose_uses_known_keys_and_names_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTHCHECK_KEYS, name
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), "published beyond this machine"


@pytest.mark.parametrize(
    ("service", "kind"), [("server", ServerSettings), ("worker", WorkerSettings)]
)
def test_the_processes_accept_the_environment_that_compose_gives_them(
    compose: dict[str, Any], service: str, kind: type[Any]
) -> None:
    environment = compose["services"][service]["environment"]

    settings = from_mapping(kind, environment)

    assert settings.mysql.host == "mysql"
    known = {name for one in (ServerSettings, WorkerSettings) for name, _, _ in describe(one)}
    assert set(environment) <= known


def reaches_the_build(source: str) -> bool:
    """Whether .dockerignore lets a path of the top folder through; the last pattern decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if fnmatch(source, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "deploy/Dockerfile.locust"])
def test_the_build_copies_only_what_exists(dockerfile: str) -> None:
    copies = [
        source
        for line in (ROOT / dockerfile).read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]

    assert "scoreboard" in copies
    for source in copies:
        assert "[" in source or (ROOT / source).exists(), source
        # As a path the glob matches the folder that it names.
        assert reaches_the_build(source.replace("[e]", "e")), source
