"""Fixtures that hand over real services, and a part of them that is a test's own."""

import secrets
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.support.databases import Databases
from tests.support.services import (
    KINDS,
    Services,
    empty_redis_database,
    flushed_redis,
    fresh_database,
    memory_folder,
    open_services,
)

if TYPE_CHECKING:
    from server.settings import ServerSettings

# Its limit of 0.2 s for one example is wall time, which a busy machine takes from a test at random.
hypothesis.settings.register_profile("scoreboard", deadline=None)
hypothesis.settings.load_profile("scoreboard")

WHOLE_RUNS = (
    *("tests/integration/", "tests/security/", "tests/model/", "tests/e2e/"),
    *("tests/browser/", "tests/harness/", "tests/chaos/", "tests/benchmarks/"),
)
CONNECTIONS = r"unclosed (transport|resource <TCPTransport|<socket)"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--services",
        choices=KINDS,
        default="auto",
        help="where MySQL, Redis and Temporal come from: private local instances, containers, or "
        "the addresses in SCOREBOARD_MYSQL_URL, SCOREBOARD_REDIS_URL and "
        "SCOREBOARD_TEMPORAL_ADDRESS; auto takes the addresses given and starts the rest locally",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that share something expensive run in one process."""
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.support.scheduling import Scheduling

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that another kind of services may change, for `-m services`."""
    for item in items:
        if "services" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
        if item.nodeid.startswith(WHOLE_RUNS):
            # Those cut connections on purpose. What their loops leave is collected later, in
            # whichever test then runs, so it is shown and does not fail that one.
            item.add_marker(pytest.mark.filterwarnings(f"default:{CONNECTIONS}:ResourceWarning"))


@pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_collection_modifyitems")
def put_long_tests_first(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """After every plugin that orders them; one process alone keeps their order."""
    yield
    if hasattr(config, "workerinput"):
        from tests.support.scheduling import long_first

        long_first(items)


@pytest.fixture(scope="session")
def services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Running MySQL, Redis and Temporal, shared by the session (each process of xdist is one)."""
    with (
        memory_folder(tmp_path_factory.mktemp("services")) as folder,
        open_services(request.config.getoption("--services"), folder) as opened,
    ):
        yield opened


@pytest.fixture(scope="session")
def services_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services that this project starts and configures, whatever the other tests use.

    Their data is on a disk, for tests of what lasts: on a memory disk MariaDB maps its log into
    memory and syncs nothing.
    """
    with open_services("local", tmp_path_factory.mktemp("durable")) as opened:
        yield opened


@pytest.fixture
def syncing_mysql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database, no tables, on a MySQL whose syncs can be counted."""
    own = request.config.getoption("--services") in ("auto", "local")
    used: Services = request.getfixturevalue("services_on_disk" if own else "services")
    with fresh_database(used.mysql_url) as url:
        yield url


@pytest.fixture(scope="session")
def databases(services: Services) -> Iterator[Databases]:
    """Migrated databases to lend to tests."""
    opened = Databases(services.mysql_url)
    yield opened
    opened.close()


@pytest.fixture
def mysql_url(databases: Databases) -> Iterator[str]:
    """A migrated database for this test, without users."""
    with databases.lent() as url:
        yield url


@pytest.fixture
def empty_mysql_url(services: Services) -> Iterator[str]:
    """A new database for this test; no tables."""
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


@pytest.fixture
def settings(
    services: Services, mysql_url: str, redis_url: str, task_queue: str
) -> "ServerSettings":
    """Settings of an API on this test's own part of the services. A file that needs others gives a
    fixture of this name that replaces some."""
    # Only tests that start an API pay for importing it.
    from tests.support.api import api_settings

    return api_settings(
        mysql_url=mysql_url,
        redis_url=redis_url,
        temporal_address=services.temporal_address,
        task_queue=task_queue,
    )


@pytest_asyncio.fixture
async def temporal_client(services: Services) -> AsyncIterator[Client]:
    """A client on the test's own event loop."""
    yield await Client.connect(services.temporal_address)
