"""The whole pipeline for a test: API with a worker inside, on services of the test's own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.api import Api, api_settings, running_api
from tests.support.services import Services


@pytest_asyncio.fixture
async def api(
    services: Services, mysql_url: str, redis_url: str, task_queue: str
) -> AsyncIterator[Api]:
    """A ready API with Alice (1500) and Bob (1400)."""
    settings = api_settings(
        mysql_url=mysql_url,
        redis_url=redis_url,
        temporal_address=services.temporal_address,
        task_queue=task_queue,
    )
    async with running_api(settings, embedded_worker=True) as api:
        yield api
