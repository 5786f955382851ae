"""A probe of a service that accepts a connection and says nothing ends by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from stack.services import Mysql, Redis, Service


@pytest_asyncio.fixture
async def silent_port() -> AsyncIterator[int]:
    """Where a server takes connections and sends nothing, as a stopped process does."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in held:
        writer.close()


def prepared(kind: type[Mysql] | type[Redis], folder: Path) -> Service:
    (folder / "password").write_text("secret")
    return kind(folder)


@pytest.mark.parametrize("kind", [Mysql, Redis])
async def test_a_silent_server_is_no_answer(
    tmp_path: Path,
    silent_port: int,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Mysql] | type[Redis],
) -> None:
    monkeypatch.setattr(f"{kind.__module__}.PROBE_TIMEOUT_S", 0.2)
    service = prepared(kind, tmp_path)

    assert await asyncio.wait_for(service.answers(silent_port, 1), 5) is False


@pytest.mark.parametrize("kind", [Mysql, Redis])
async def test_a_cancelled_probe_ends_at_once(
    tmp_path: Path, silent_port: int, kind: type[Mysql] | type[Redis]
) -> None:
    probing = asyncio.create_task(prepared(kind, tmp_path).answers(silent_port, 1))
    await asyncio.wait({probing}, timeout=0.1)

    probing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(probing, 1)
