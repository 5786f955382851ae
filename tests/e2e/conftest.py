"""The whole pipeline for a test: API with a worker inside, on services of the test's own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from server.settings import ServerSettings
from tests.support.api import Api, running_api


@pytest_asyncio.fixture
async def api(settings: ServerSettings) -> AsyncIterator[Api]:
    """A ready API with Alice (1500) and Bob (1400)."""
    async with running_api(settings, embedded_worker=True) as api:
        yield api
