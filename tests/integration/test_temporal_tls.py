"""Temporal behind mutual TLS: the processes work with the right certificate, and only with it."""

import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from adapters.files import read_file
from adapters.temporal import connect_arguments
from scoreboard.settings import ServiceSettings, describe, from_mapping
from server.settings import ServerSettings
from stack.settings import TEMPORAL_SECURITY, StackSettings
from stack.supervision.roles import Worker, role_environment
from tests.support.api import SECRET, running_api
from tests.support.eventually import eventually
from tests.support.pipeline import running_pipeline, submission, worker_process
from tests.support.services import Services
from tests.support.tls_proxy import Authority, tls_proxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest_asyncio.fixture
async def environment(
    services: Services, mysql_url: str, redis_url: str, task_queue: str, authority: Authority
) -> AsyncIterator[dict[str, str]]:
    """Settings of a process that reaches Temporal only through the TLS end, as it should."""
    client = authority.issue("client")
    async with tls_proxy(
        services.temporal_address, authority.issue("temporal"), clients_of=authority.ca
    ) as address:
        yield {
            "SCOREBOARD_MYSQL_URL": mysql_url,
            "SCOREBOARD_REDIS_URL": redis_url,
            "SCOREBOARD_TEMPORAL_ADDRESS": address,
            "SCOREBOARD_TASK_QUEUE": task_queue,
            "SCOREBOARD_JWT_SECRET": SECRET.decode(),
            "SCOREBOARD_TEMPORAL_TLS_CA": str(authority.ca),
            "SCOREBOARD_TEMPORAL_TLS_CERT": str(client.cert),
            "SCOREBOARD_TEMPORAL_TLS_KEY": str(client.key),
        }


def without_certificate(environment: Mapping[str, str], _: Path) -> dict[str, str]:
    return dict(environment) | {
        "SCOREBOARD_TEMPORAL_TLS_CERT": "",
        "SCOREBOARD_TEMPORAL_TLS_KEY": "",
    }


def with_a_strangers_certificate(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    stranger = Authority(folder, "stranger").issue("client")
    return dict(environment) | {
        "SCOREBOARD_TEMPORAL_TLS_CERT": str(stranger.cert),
        "SCOREBOARD_TEMPORAL_TLS_KEY": str(stranger.key),
    }


def with_another_authority(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    return dict(environment) | {"SCOREBOARD_TEMPORAL_TLS_CA": str(Authority(folder, "stranger").ca)}


def in_the_clear(environment: Mapping[str, str], _: Path) -> dict[str, str]:
    return {name: v for name, v in environment.items() if "_TLS_" not in name}


WRONG = [
    (without_certificate, "Failed client connect"),
    (with_a_strangers_certificate, "Failed client connect"),
    (with_another_authority, "UnknownIssuer"),
    (in_the_clear, "Failed client connect"),
]


def arguments(environment: Mapping[str, str]) -> dict[str, Any]:
    return connect_arguments(from_mapping(ServiceSettings, environment, read_file))


async def test_a_batch_is_carried_over_mutual_tls(environment: dict[str, str]) -> None:
    client = await Client.connect(**arguments(environment))
    async with running_pipeline(
        client,
        mysql_url=environment["SCOREBOARD_MYSQL_URL"],
        redis_url=environment["SCOREBOARD_REDIS_URL"],
        task_queue=environment["SCOREBOARD_TASK_QUEUE"],
    ) as pipeline:
        await pipeline.run(submission(1, 10))

        assert await client.service_client.check_health()
        assert await pipeline.rows("SELECT score FROM users WHERE id = 1") == [(1510,)]


async def test_the_api_is_ready_and_takes_submissions_over_mutual_tls(
    environment: dict[str, str],
) -> None:
    settings = from_mapping(ServerSettings, environment, read_file)

    async with running_api(replace(settings, port=0), embedded_worker=True) as api:
        status, _ = await api.submit(1, 10)

        assert status == 202


async def test_stack_sees_a_worker_poll_temporal_over_mutual_tls(
    environment: dict[str, str], tmp_path: Path
) -> None:
    given = {"temporal": environment["SCOREBOARD_TEMPORAL_ADDRESS"]}
    settings = StackSettings(data_dir=tmp_path, given=given, environment=environment)
    urls = given | {
        "mysql": environment["SCOREBOARD_MYSQL_URL"],
        "redis": environment["SCOREBOARD_REDIS_URL"],
    }
    role = role_environment("worker", settings, urls, SECRET.decode())
    watched = Worker(role, given["temporal"])

    async with worker_process({**os.environ, **role}, tmp_path / "worker.log") as process:
        await eventually(lambda: watched.answers(0, process.pid), timeout_s=60)


def test_private_temporal_ignores_tls_settings_of_another(
    tmp_path: Path,
) -> None:
    known = {name for name, *_ in describe(ServiceSettings)}
    environment = dict.fromkeys(TEMPORAL_SECURITY, "x")
    urls = {"mysql": "mysql://db/scores", "redis": "redis://cache", "temporal": "127.0.0.1:7233"}
    settings = StackSettings(data_dir=tmp_path, environment=environment)

    role = role_environment("server", settings, urls, SECRET.decode())

    assert set(TEMPORAL_SECURITY) <= known
    assert not set(TEMPORAL_SECURITY) & role.keys()


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
async def test_temporal_cannot_be_reached_without_the_right_certificates(
    environment: dict[str, str],
    tmp_path: Path,
    wrong: Callable[[Mapping[str, str], Path], dict[str, str]],
    reason: str,
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        await Client.connect(**arguments(wrong(environment, tmp_path)))


async def test_worker_with_wrong_certificate_logs_why_without_secrets(
    environment: dict[str, str], tmp_path: Path
) -> None:
    key = f"canary-{secrets.token_hex(16)}"
    log = tmp_path / "worker.log"
    wrong = without_certificate(environment, tmp_path) | {"SCOREBOARD_TEMPORAL_API_KEY": key}

    async with worker_process({**os.environ, **wrong}, log):
        await eventually(lambda: "waiting_for_temporal" in log.read_text(), timeout_s=60)

    [line] = [line for line in log.read_text().splitlines() if "waiting_for_temporal" in line]
    said = json.loads(line)
    assert (said["tls"], said["level"]) == ("server only", "warning")
    assert "Failed client connect" in said["error"]
    assert key not in log.read_text()
