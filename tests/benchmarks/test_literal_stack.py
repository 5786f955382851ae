"""The literal server on the specification's own stack: Fiber, Temporal, MySQL and Redis."""

from collections.abc import Mapping

import pytest

from benchmarks.peers.literal.lies import LIES
from benchmarks.peers.literal.start import missing, serving
from tests.benchmarks.plain_client import Client, answering, honest, limiting, lying
from tests.support.eventually import eventually
from tests.support.programs import need
from tests.support.services import Services


@pytest.fixture
def surroundings(
    services: Services, empty_mysql_url: str, redis_url: str, task_queue: str
) -> Mapping[str, str]:
    """The variables that name a database, a Redis and a task queue of this test's own."""
    need(not missing("fiber"), missing("fiber"))
    return {
        "MYSQL_URL": empty_mysql_url,
        "REDIS_URL": redis_url,
        "TEMPORAL_ADDRESS": services.temporal_address,
        "TASK_QUEUE": task_queue,
    }


async def test_honest_stack_shows_every_submission_once_and_nothing_else(
    surroundings: Mapping[str, str],
) -> None:
    with serving("fiber", users=12, environ=surroundings) as server:
        await honest(server)


async def test_answers_are_the_specifications(surroundings: Mapping[str, str]) -> None:
    with serving("fiber", users=12, environ=surroundings) as server:
        await answering(server)


async def test_rate_limit_refuses_what_exceeds_it(surroundings: Mapping[str, str]) -> None:
    with serving("fiber", users=12, environ={**surroundings, "RATE_LIMIT": "2"}) as server:
        await limiting(server)


@pytest.mark.parametrize("lie", LIES)
async def test_lie_is_seen_by_a_plain_client(surroundings: Mapping[str, str], lie: str) -> None:
    with serving("fiber", users=12, lies=[lie], lie_every=5, environ=surroundings) as server:
        await lying(server, lie)

        told = {each["lie"] for each in server.lies()}
        assert told == (set() if LIES[lie].standing else {lie})


async def test_another_worker_carries_out_what_a_stopped_one_has_left(
    surroundings: Mapping[str, str],
) -> None:
    api = {**surroundings, "ROLE": "api"}
    worker = {**surroundings, "ROLE": "worker"}
    with serving("fiber", users=12, environ=api) as server:
        async with Client(server) as client:
            await client.submit_all()
            assert client.seen.streams == [[], []]

            with serving("fiber", environ=worker):
                await eventually(lambda: [len(lines) for lines in client.seen.streams] == [16, 16])
                # The last board may come after its event, and nobody else would write it.
                await eventually(client.board_comes_right)
