"""Redis behind Sentinels, in a cluster, by TLS, and shared by deployments: real ones of each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis as sync_redis
from redis.crc import key_slot

from adapters.redis import REDIS_ERRORS, Redis, connect
from adapters.redis_rights import SERVER_COMMANDS, WORKER_COMMANDS, RedisProbe
from scoreboard import contract
from scoreboard.addresses import redis_url
from server.settings import ServerSettings
from tests.support.api import api_settings, running_api
from tests.support.eventually import eventually
from tests.support.redis_sites import (
    MASTER_NAME,
    cluster,
    redis_server,
    run,
    sentinel_that_names,
    watched_pair,
)
from tests.support.reserved_ports import reserved_port
from tests.support.services import Services
from tests.support.tls_proxy import Authority


async def able(client: Redis) -> bool:
    """Whether the work of both processes can be done now."""
    try:
        await RedisProbe(client, SERVER_COMMANDS).check()
        await RedisProbe(client, WORKER_COMMANDS).check()
    except REDIS_ERRORS as error:
        raise AssertionError(str(error)) from error
    return True


@pytest.fixture
async def clients() -> AsyncIterator[list[Redis]]:
    opened: list[Redis] = []
    yield opened
    await asyncio.gather(*(client.aclose() for client in opened))


def opened(clients: list[Redis], url: str) -> Redis:
    clients.append(connect(redis_url(url)))
    return clients[-1]


async def test_the_master_that_sentinels_name_is_followed_through_a_failover(
    tmp_path: Path, clients: list[Redis]
) -> None:
    with watched_pair(tmp_path) as (primary, replica, sentinel):
        dead = reserved_port()
        client = opened(
            clients, f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{sentinel}/{MASTER_NAME}"
        )
        await eventually(lambda: able(client))
        await client.set("{scores}:x", 1)
        assert run(primary, "GET", "{scores}:x") == "1"
        await eventually(lambda: "slave0" in str(run(primary, "INFO", "replication")))
        await eventually(
            lambda: int(run(sentinel, "SENTINEL", "MASTER", MASTER_NAME)["num-slaves"]) == 1,
            timeout_s=15,
        )

        await eventually(lambda: _failed_over(sentinel), timeout_s=20)

        await eventually(lambda: _is_role(primary, "slave"), timeout_s=30)
        await eventually(lambda: able(client), timeout_s=10)
        await client.set("{scores}:y", 2)
        assert run(replica, "GET", "{scores}:y") == "2"


def _failed_over(sentinel: int) -> bool:
    # The Sentinel may not have heard yet that the replica is in step.
    with suppress(sync_redis.exceptions.ResponseError):
        run(sentinel, "SENTINEL", "FAILOVER", MASTER_NAME)
        return True
    return False


def _replicas(sentinel: int) -> int:
    return int(run(sentinel, "SENTINEL", "MASTER", MASTER_NAME)["num-slaves"])


def _is_role(port: int, role: str) -> bool:
    return f"'role': '{role}'" in str(run(port, "INFO", "replication"))


async def test_a_master_that_the_sentinels_no_longer_name_is_left_though_it_takes_writes(
    tmp_path: Path, clients: list[Redis]
) -> None:
    """It was away for a moment; until it is made a replica there are two masters."""
    with redis_server(tmp_path / "a") as old, redis_server(tmp_path / "b") as new:
        named = [old]
        async with sentinel_that_names(named) as sentinel:
            client = opened(clients, f"redis+sentinel://127.0.0.1:{sentinel}/{MASTER_NAME}")
            await client.set("{scores}:x", 1)
            assert run(old, "GET", "{scores}:x") == "1"
            named[0] = new

            await eventually(lambda: _is_at(client, new), timeout_s=10)


async def _is_at(client: Redis, port: int) -> bool:
    await client.set("{scores}:y", 2)
    return bool(run(port, "EXISTS", "{scores}:y"))


async def test_a_sentinel_that_knows_no_such_master_is_an_error_that_says_so(
    tmp_path: Path, clients: list[Redis]
) -> None:
    with redis_server(tmp_path, sentinel=True) as sentinel:
        client = opened(clients, f"redis+sentinel://127.0.0.1:{sentinel}/other")

        with pytest.raises(REDIS_ERRORS, match="no one knows the master other"):
            await client.ping()


async def test_a_connection_to_a_demoted_redis_is_left_without_sentinels_too(
    tmp_path: Path, clients: list[Redis]
) -> None:
    """As behind a name or a proxy that leads elsewhere after a fail-over."""
    with redis_server(tmp_path) as port:
        client = opened(clients, f"redis://127.0.0.1:{port}")
        before = await client.client_id()
        run(port, "REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(REDIS_ERRORS):
            await client.set("{scores}:x", 1)
        run(port, "REPLICAOF", "NO", "ONE")

        assert await client.client_id() != before


async def test_a_cluster_is_used_through_any_node_and_a_moving_slot(
    tmp_path: Path, clients: list[Redis]
) -> None:
    with cluster(tmp_path) as ports:
        slot = key_slot(b"{scores}")
        client = opened(clients, f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")
        await able(client)
        owner = ports[slot * 3 // 16384]
        target = next(port for port in ports if port != owner)
        target_id = run(target, "CLUSTER", "MYID")
        run(owner, "FLUSHALL")

        for port in (target, owner, *ports):
            run(port, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

        await eventually(lambda: able(client), timeout_s=10)
        assert int(run(target, "CLUSTER", "COUNTKEYSINSLOT", slot)) > 0
        plain = opened(clients, f"redis://127.0.0.1:{owner}")
        with pytest.raises(AssertionError, match=str(slot)):
            await able(plain)


async def test_the_api_works_on_a_cluster_under_a_prefix(
    tmp_path: Path, services: Services, mysql_url: str, task_queue: str
) -> None:
    with cluster(tmp_path) as ports:
        settings = api_settings(
            mysql_url=mysql_url,
            redis_url=f"redis+cluster://127.0.0.1:{ports[2]}?prefix=board7",
            temporal_address=services.temporal_address,
            task_queue=task_queue,
        )
        async with running_api(settings, embedded_worker=True) as api, api.listen() as stream:
            assert (await api.submit(1, 10))[0] == 202
            await asyncio.wait_for(stream.until(1), 20)
            assert (await api.scores())[0] == {"user": "Alice", "score": 1510, "userId": 1}
        keys = [key for port in ports for key in run(port, "KEYS", "*")]

    assert keys
    assert {key.partition("}")[0] for key in keys} == {"{scores:board7"}


async def test_two_deployments_share_a_redis_by_their_prefixes(
    services: Services, mysql_url: str, redis_url: str, task_queue: str
) -> None:
    def settings(prefix: str) -> ServerSettings:
        return api_settings(
            mysql_url=mysql_url,
            redis_url=f"{redis_url}?prefix={prefix}",
            temporal_address=services.temporal_address,
            task_queue=f"{task_queue}-{prefix}",
        )

    async with running_api(settings("one"), embedded_worker=True) as api:
        assert (await api.submit(1, 10, key="k"))[0] == 202
        await eventually(lambda: _leads(redis_url, "one"))
    with sync_redis.Redis.from_url(redis_url) as client:
        names = {key.decode().partition("}")[0] for key in client.keys("*")}

    assert names == {"{scores:one"}


def _leads(redis_url: str, prefix: str) -> bool:
    key = contract.RANKING_KEY.replace("{scores}", f"{{scores:{prefix}}}")
    with sync_redis.Redis.from_url(redis_url) as client:
        return [score for _, score in client.zrange(key, 0, 0, withscores=True)] == [-1510]


async def test_password_user_and_tls_with_a_client_certificate(
    tmp_path: Path, clients: list[Redis]
) -> None:
    authority = Authority(tmp_path, "authority")
    server, mine = authority.issue("redis"), authority.issue("client")
    tls_port = reserved_port()
    options = (
        *("--tls-port", str(tls_port), "--tls-ca-cert-file", str(authority.ca)),
        *("--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key)),
    )
    files = f"ssl_ca_certs={authority.ca}&ssl_certfile={mine.cert}&ssl_keyfile={mine.key}"
    with redis_server(tmp_path / "redis", *options) as port:
        run(port, "ACL", "SETUSER", "app", "on", ">s3cret", "~{scores}*", "&*", "+@all")
        client = opened(clients, f"rediss://app:s3cret@127.0.0.1:{tls_port}/0?{files}")
        await eventually(lambda: able(client))

        for url, reason in (
            (f"rediss://app:s3cret@127.0.0.1:{tls_port}?ssl_ca_certs={authority.ca}", "."),
            (f"rediss://app:wrong@127.0.0.1:{tls_port}?{files}", "WRONGPASS|invalid username"),
            (f"rediss://app:s3cret@localhost:{tls_port}?{files}", "localhost|mismatch"),
        ):
            with pytest.raises(AssertionError, match=reason):
                await able(opened(clients, url))
