"""Fixtures that hand over real services, and a part of them that is a test's own."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.support.services import (
    KINDS,
    Services,
    empty_redis_database,
    flushed_redis,
    fresh_database,
    open_services,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--services",
        choices=KINDS,
        default="auto",
        help="where MySQL, Redis and Temporal come from: private local instances, containers, or "
        "the addresses in SCOREBOARD_MYSQL_URL, SCOREBOARD_REDIS_URL and "
        "SCOREBOARD_TEMPORAL_ADDRESS; auto takes the addresses given and starts the rest locally; "
        "with containers only the tests that use these services run",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what another kind of services cannot change, so that a second run is short."""
    if config.getoption("--services") != "containers":
        return
    used = {item for item in items if "services" in getattr(item, "fixturenames", ())}
    config.hook.pytest_deselected(items=[item for item in items if item not in used])
    items[:] = [item for item in items if item in used]


@pytest.fixture(scope="session")
def services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Running MySQL, Redis and Temporal, shared by the whole session."""
    with open_services(
        request.config.getoption("--services"), tmp_path_factory.mktemp("services")
    ) as opened:
        yield opened


@pytest.fixture
def mysql_url(services: Services) -> Iterator[str]:
    """A new, empty database for this test; no tables."""
    with fresh_database(services.mysql_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_mysql_url(services: Services) -> Iterator[str]:
    """A new, empty database for this module."""
    with fresh_database(services.mysql_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_test_database(services: Services) -> str:
    """A numbered Redis database that was empty when the session began, so tests may flush it."""
    return empty_redis_database(services.redis_url)


@pytest.fixture
def redis_url(redis_test_database: str) -> Iterator[str]:
    """A Redis database that is empty when the test begins."""
    with flushed_redis(redis_test_database) as url:
        yield url


@pytest.fixture
def task_queue() -> str:
    """A Temporal task queue that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


@pytest_asyncio.fixture
async def temporal_client(services: Services) -> AsyncIterator[Client]:
    """A client on the test's own event loop."""
    yield await Client.connect(services.temporal_address)
