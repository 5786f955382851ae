"""The MySQL pool on a real server, and by TLS on one that demands it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest
import pytest_asyncio

from adapters.mysql import MYSQL_ERRORS, READER, WRITER, Pool, Session, query_all
from adapters.reasons import reason_of
from scoreboard.addresses import MySqlAddress, mysql_address
from scoreboard.settings import SettingsError
from stack.services import Mysql
from tests.support.eventually import eventually
from tests.support.reserved_ports import reserved_port
from tests.support.services import memory_folder
from tests.support.tls_proxy import Authority, Identity
from worker.database.migrate import migrate, migrations


@pytest.mark.parametrize("session", [READER, WRITER])
async def test_close_returns_while_a_connection_is_in_use_and_breaks_it(
    mysql_url: str, session: Session
) -> None:
    pool = Pool(mysql_address(mysql_url), size=1, session=session)
    opened, closed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with pool.connection() as connection, connection.cursor() as cursor:
            opened.set()
            await closed.wait()
            await cursor.execute("SELECT 1")

    working = asyncio.create_task(work())
    await opened.wait()
    async with asyncio.timeout(3):
        await pool.close()
    closed.set()

    with pytest.raises(MYSQL_ERRORS):
        await working


async def test_more_users_than_connections_wait_their_turn(mysql_url: str) -> None:
    pool = Pool(mysql_address(mysql_url), size=2)
    open_now = most = 0

    async def work() -> None:
        nonlocal open_now, most
        async with pool.connection() as connection:
            open_now += 1
            most = max(most, open_now)
            await query_all(connection, "SELECT SLEEP(0.01)")
            open_now -= 1

    try:
        await asyncio.gather(*(work() for _ in range(12)))
    finally:
        await pool.close()

    assert most == 2


async def test_a_connection_left_in_a_transaction_is_not_used_again(mysql_url: str) -> None:
    pool = Pool(mysql_address(mysql_url), size=1)
    try:
        async with pool.connection() as connection:
            await query_all(connection, "START TRANSACTION; UPDATE log_syncs SET number = 7")
        async with pool.connection() as connection:
            [rows] = await query_all(connection, "SELECT number FROM log_syncs")
            await connection.rollback()
    finally:
        await pool.close()

    assert rows == [(0,)]


async def test_a_cancelled_wait_leaves_the_pool_whole(mysql_url: str) -> None:
    pool = Pool(mysql_address(mysql_url), size=1)

    async def work() -> None:
        async with pool.connection() as connection:
            await query_all(connection, "SELECT SLEEP(1)")

    try:
        for steps in range(12):
            task = asyncio.create_task(work())
            for _ in range(steps * 3):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with asyncio.timeout(3), pool.connection() as connection:
            assert await query_all(connection, "SELECT 1") == [[(1,)]]
    finally:
        await pool.close()


# By TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Identity:
    return authority.issue("client")


@pytest.fixture(scope="module")
def demanding(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MySqlAddress]:
    """A MySQL of its own that refuses plain text and clients without a certificate."""
    server = authority.issue("mysql")

    class Demanding(Mysql):
        def command(self, port: int) -> list[str]:
            return [
                *super().command(port),
                f"--ssl-ca={authority.ca}",
                f"--ssl-cert={server.cert}",
                f"--ssl-key={server.key}",
                "--require-secure-transport=ON",
            ]

    with memory_folder(tmp_path_factory.mktemp("mysql")) as folder:
        service = Demanding(folder)

        asyncio.run(service.prepare())
        with service._init_sql.open("a") as sql:
            sql.write(f"ALTER USER '{service.user}'@'127.0.0.1' REQUIRE X509;\n")
        port = reserved_port()
        process = subprocess.Popen(
            service.command(port),
            env=service.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield mysql_address(service.url(port))
        finally:
            process.kill()
            process.wait()


@pytest_asyncio.fixture
async def verified(
    demanding: MySqlAddress, authority: Authority, client: Identity
) -> AsyncIterator[MySqlAddress]:
    address = replace(
        demanding,
        ssl_mode="VERIFY_IDENTITY",
        ssl_ca=str(authority.ca),
        ssl_cert=str(client.cert),
        ssl_key=str(client.key),
    )
    await eventually(lambda: _answers(address), timeout_s=30)
    yield address


async def _answers(address: MySqlAddress) -> bool:
    return bool(await _cipher(address))


async def _cipher(address: MySqlAddress) -> str:
    pool = Pool(address, size=1)
    try:
        async with pool.connection() as connection:
            [[(_, cipher)]] = await query_all(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
    except MYSQL_ERRORS as error:
        raise AssertionError(reason_of(error)) from error
    finally:
        await pool.close()
    return str(cipher)


async def test_a_server_that_demands_tls_and_a_certificate_is_used_and_migrated(
    verified: MySqlAddress,
) -> None:
    for mode in ("REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"):
        assert await _cipher(replace(verified, ssl_mode=mode))
    pool = Pool(verified, size=1)
    try:
        assert await migrate(pool) == len(migrations())
    finally:
        await pool.close()


async def test_a_wrong_end_of_the_connection_is_refused_with_the_reason(
    verified: MySqlAddress, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    theirs = stranger.issue("client")
    wrong = {
        "CERTIFICATE_VERIFY_FAILED": replace(verified, ssl_ca=str(stranger.ca)),
        "certificate is not valid for 'localhost'|doesn't match|mismatch": replace(
            verified, host="localhost"
        ),
        "1045|Access denied": replace(verified, ssl_cert="", ssl_key=""),
        "UNKNOWN_CA|alert|Lost connection|Can't connect|reset": replace(
            verified, ssl_cert=str(theirs.cert), ssl_key=str(theirs.key)
        ),
        "secure transport|3159|1045": replace(
            verified, ssl_mode="DISABLED", ssl_ca="", ssl_cert="", ssl_key=""
        ),
    }
    for reason, address in wrong.items():
        with pytest.raises(AssertionError, match=reason):
            await _cipher(address)


async def test_a_server_without_tls_gets_no_password_if_tls_is_asked(
    mysql_url: str,
) -> None:
    plain = mysql_address(mysql_url)
    pool = Pool(replace(plain, ssl_mode="REQUIRED"), size=1)
    try:
        with pytest.raises(pymysql.err.OperationalError, match="offers no TLS"):
            async with pool.connection():
                pass
    finally:
        await pool.close()


def test_files_that_are_no_certificates_are_a_settings_error(tmp_path: Path) -> None:
    text = tmp_path / "ca.pem"
    text.write_text("no certificate")

    with pytest.raises(SettingsError, match=r"SCOREBOARD_MYSQL_URL .*ca\.pem"):
        Pool(mysql_address(f"mysql://u:p@h/d?ssl_ca={text}"), size=1)
