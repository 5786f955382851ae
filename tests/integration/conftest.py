"""A worker on real services whose steps can be made to fail."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.support.pipeline import NewWorker, Pipeline, running_pipeline


@pytest.fixture
def failpoints(tmp_path: Path) -> Path:
    """The file that arms failpoints of `pipeline`; none is armed before it is written."""
    return tmp_path / "failpoints"


@pytest.fixture
def worker_settings() -> dict[str, Any]:
    """What goes over the settings of `pipeline`; a module may have its own."""
    return {}


@pytest.fixture
def worker(mysql_url: str, redis_url: str, temporal_client: Client, task_queue: str) -> NewWorker:
    """Makes workers with Alice and Bob in a database of the test's own; what is given goes over
    their settings."""
    return partial(
        running_pipeline,
        temporal_client,
        mysql_url=mysql_url,
        redis_url=redis_url,
        task_queue=task_queue,
    )


@pytest_asyncio.fixture
async def pipeline(
    worker: NewWorker, failpoints: Path, worker_settings: dict[str, Any]
) -> AsyncIterator[Pipeline]:
    """One worker, whose steps can be made to fail."""
    async with worker(failpoints=str(failpoints), **worker_settings) as running:
        yield running
