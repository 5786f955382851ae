"""MySQL and Redis, and Temporal where an image is named, in containers by testcontainers.

Image names come from the environment, so that a site without an image registry can build its own:
SCOREBOARD_MYSQL_IMAGE (default mysql:8.4), SCOREBOARD_REDIS_IMAGE (default redis:8),
SCOREBOARD_TEMPORAL_IMAGE (no default: without it Temporal runs locally).
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from testcontainers.community.mysql import MySqlContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.container import DockerContainer

from stack.services.temporal_probes import temporal_answers
from tests.support.eventually import eventually_sync

MEMORY_DISK = "mode=1777"
"""Options of the memory disks that hold the data: syncs cost nothing there."""


@contextmanager
def open_containers() -> Iterator[dict[str, str]]:
    """Addresses by service name, of containers that are removed on exit."""
    mysql_image = os.environ.get("SCOREBOARD_MYSQL_IMAGE", "mysql:8.4")
    redis_image = os.environ.get("SCOREBOARD_REDIS_IMAGE", "redis:8")
    temporal_image = os.environ.get("SCOREBOARD_TEMPORAL_IMAGE")
    with ExitStack() as opened:
        mysql = opened.enter_context(
            MySqlContainer(
                mysql_image, username="root", password="test", dbname="scoreboard"
            ).with_tmpfs_mount("/var/lib/mysql", MEMORY_DISK)
        )
        redis = opened.enter_context(
            RedisContainer(redis_image).with_tmpfs_mount("/data", MEMORY_DISK)
        )
        urls = {
            "mysql": f"mysql://root:test@{_address(mysql, 3306)}/scoreboard",
            "redis": f"redis://{_address(redis, 6379)}/0",
        }
        if temporal_image:
            command = "server start-dev --ip 0.0.0.0 --headless --log-level error"
            temporal = opened.enter_context(
                DockerContainer(temporal_image).with_exposed_ports(7233).with_command(command)
            )
            address = _address(temporal, 7233)
            eventually_sync(lambda: asyncio.run(temporal_answers(address, "default")), timeout_s=30)
            urls["temporal"] = address
        yield urls


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
