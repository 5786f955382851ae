"""The bounds of the MySQL pool, on a server that never answers."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.mysql import READER, WRITER, Pool, Session
from scoreboard.addresses import MySqlAddress


@pytest.fixture
def frozen_server() -> Iterator[MySqlAddress]:
    """The kernel accepts its connections, and nothing greets: like a stopped mysqld."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        yield MySqlAddress(host=host, port=port, user="u", database="d")


@pytest.mark.parametrize("session", [READER, WRITER])
@pytest.mark.parametrize("timeout_s", [None, 3600.0])
async def test_connection_wait_is_bounded_independently_of_the_work(
    frozen_server: MySqlAddress, session: Session, timeout_s: float | None
) -> None:
    pool = Pool(frozen_server, size=1, session=replace(session, hold_s=0.05))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5), pool.connection(timeout_s=timeout_s):
            pass

    await pool.close()
