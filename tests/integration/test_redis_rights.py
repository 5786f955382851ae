"""Readiness of Redis: a real one that is a replica, full, or grants too little."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
import redis as sync_redis
from structlog.testing import capture_logs

from adapters.redis import REDIS_ERRORS, connect
from adapters.redis_rights import SERVER_COMMANDS, WORKER_COMMANDS, CannotWork, RedisProbe
from scoreboard import contract
from tests.support.addresses import as_user

DOCUMENTED = (
    "~{scores}* &{scores}:done -@all"
    " +@read +@write +@scripting +@pubsub +@connection +@transaction +@fast"
)


@pytest.fixture
def admin(redis_url: str) -> Iterator[sync_redis.Redis]:
    with sync_redis.Redis.from_url(redis_url) as client:
        yield client


def command(admin: sync_redis.Redis, *words: str) -> Any:
    """The answer to a command that the client has no method for."""
    return admin.execute_command(*words)  # type: ignore[no-untyped-call]


@contextmanager
def granted(admin: sync_redis.Redis, redis_url: str, rights: str) -> Iterator[str]:
    """The URL of a user with these rights."""
    command(admin, "ACL", "SETUSER", "app", "reset", "on", ">pw", *rights.split())
    try:
        yield as_user(redis_url, "app", "pw")
    finally:
        command(admin, "ACL", "DELUSER", "app")


async def check(url: str, commands: tuple[str, ...]) -> None:
    client = connect(url)
    try:
        await RedisProbe(client, commands).check()
    finally:
        await client.aclose()


BOTH = pytest.mark.parametrize("commands", [SERVER_COMMANDS, WORKER_COMMANDS])


@BOTH
async def test_a_redis_that_does_everything_passes_and_keeps_nothing(
    redis_url: str, admin: sync_redis.Redis, commands: tuple[str, ...]
) -> None:
    await check(redis_url, commands)

    assert all(0 < admin.pttl(key) <= 60_000 for key in admin.keys(f"{contract.PROBE_PREFIX}*"))


@BOTH
async def test_the_documented_rights_are_enough(
    redis_url: str, admin: sync_redis.Redis, commands: tuple[str, ...]
) -> None:
    with granted(admin, redis_url, DOCUMENTED) as url, capture_logs() as logs:
        await check(url, commands)

    assert logs == []


@pytest.mark.parametrize("name", sorted({*SERVER_COMMANDS, *WORKER_COMMANDS} - {"publish"}))
async def test_each_command_that_is_not_granted_is_named(
    redis_url: str, admin: sync_redis.Redis, name: str
) -> None:
    commands = SERVER_COMMANDS if name in SERVER_COMMANDS else WORKER_COMMANDS

    with (
        granted(admin, redis_url, f"{DOCUMENTED} -{name}") as url,
        pytest.raises(CannotWork, match=rf"^{name.upper()}: .*can't run this command"),
    ):
        await check(url, commands)


async def test_keys_that_are_not_granted_are_a_failure(
    redis_url: str, admin: sync_redis.Redis
) -> None:
    with (
        granted(admin, redis_url, DOCUMENTED.replace("{scores}*", "other*")) as url,
        pytest.raises(REDIS_ERRORS, match="permission"),
    ):
        await check(url, SERVER_COMMANDS)


async def test_a_channel_that_is_not_granted_is_said_once_and_no_failure(
    redis_url: str, admin: sync_redis.Redis
) -> None:
    with granted(admin, redis_url, "~* +@all resetchannels") as url, capture_logs() as logs:
        client = connect(url)
        try:
            probe = RedisProbe(client, WORKER_COMMANDS)
            await probe.check()
            await probe.check()
        finally:
            await client.aclose()

    assert [(entry["event"], entry["command"]) for entry in logs] == [
        ("redis_right_missing", "publish")
    ]


@pytest_asyncio.fixture
async def full(admin: sync_redis.Redis) -> AsyncIterator[None]:
    admin.config_set("maxmemory", 1)
    yield
    admin.config_set("maxmemory", 0)


@BOTH
@pytest.mark.usefixtures("full")
async def test_a_full_redis_is_a_failure(redis_url: str, commands: tuple[str, ...]) -> None:
    with pytest.raises(REDIS_ERRORS, match="maxmemory"):
        await check(redis_url, commands)


@BOTH
async def test_a_replica_is_a_failure(
    redis_url: str, admin: sync_redis.Redis, commands: tuple[str, ...]
) -> None:
    command(admin, "REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(REDIS_ERRORS, match="read only replica"):
            await check(redis_url, commands)
    finally:
        command(admin, "REPLICAOF", "NO", "ONE")
