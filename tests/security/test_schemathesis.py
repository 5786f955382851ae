"""The API keeps what its OpenAPI document promises, for requests that nobody thought of."""

from pathlib import Path

from tests.security.schemathesis_run import schemathesis
from tests.support.api import api_settings, running_api
from tests.support.services import Services

EXAMPLES = 3
"""Of each operation in each phase: some nine hundred in all, on any machine."""


async def test_every_response_is_documented_in_openapi(
    services: Services, mysql_url: str, redis_url: str, task_queue: str, tmp_path: Path
) -> None:
    settings = api_settings(
        mysql_url=mysql_url,
        redis_url=redis_url,
        temporal_address=services.temporal_address,
        task_queue=task_queue,
        rate_limit_count=1_000_000,
    )
    async with running_api(settings, embedded_worker=True) as api:
        report = await schemathesis(api.port, tmp_path, examples=EXAMPLES, seed=6)

    assert report.failures == (), report.output
    assert report.server_errors == 0
    assert report.operations >= 12
    assert report.cases > 500
