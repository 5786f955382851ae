"""The two programs of our own that the stack runs: worker and server.

Each is a process like any service: a command, an environment, and a test of whether it does its
work. What they do inside is none of the stack's business.
"""

import asyncio
import http.client
import sys
from collections.abc import Mapping

from adapters.files import read_file
from adapters.temporal import connect_arguments
from scoreboard.settings import SettingsError, from_mapping
from stack.services.temporal_probes import describe_pollers
from stack.settings import ADDRESS_VARIABLES, TEMPORAL_SECURITY, StackSettings
from worker.settings import WorkerSettings

_PROBE_TIMEOUT_S = 2.0


def role_environment(
    role: str, settings: StackSettings, urls: Mapping[str, str], secret: str
) -> dict[str, str]:
    """The environment of a role: the stack's own, the services' addresses, the signing secret."""
    addresses = {
        variable: settings.address(role, service) or urls[service]
        for service, variable in ADDRESS_VARIABLES.items()
    }
    environment = dict(settings.environment)
    if "temporal" not in settings.given:
        # How to reach another Temporal says nothing about the private one.
        for name in TEMPORAL_SECURITY:
            environment.pop(name, None)
    return {
        **environment,
        **addresses,
        "SCOREBOARD_JWT_SECRET": secret,
        "SCOREBOARD_HOST": settings.host,
        "SCOREBOARD_PORT": str(settings.port),
        "PYTHONUNBUFFERED": "1",
    }


class Worker:
    """The separate worker: it recovers what an API process left behind."""

    name = "worker"

    def __init__(self, environment: Mapping[str, str], temporal_address: str) -> None:
        self._environment = environment
        self._temporal_address = temporal_address

    def command(self, port: int) -> list[str]:
        del port
        return [sys.executable, "-m", "worker"]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    async def answers(self, port: int, pid: int) -> bool:
        """Whether Temporal has seen this very process ask for work."""
        del port
        try:
            settings = from_mapping(WorkerSettings, self._environment, read_file)
        except SettingsError:
            # The process says so itself, and ends.
            return False
        connection = connect_arguments(settings)
        # Not through a proxy that is there for the worker's faults.
        connection["target_host"] = self._temporal_address
        identities = await describe_pollers(connection, settings.task_queue)
        return any(identity.startswith(f"{pid}@") for identity in identities)


class Server:
    """The API process: Sanic with an embedded worker."""

    name = "server"

    def __init__(self, environment: Mapping[str, str], host: str, base_path: str = "") -> None:
        self._environment = environment
        self._host = host
        self._base_path = base_path

    def command(self, port: int) -> list[str]:
        del port
        return [sys.executable, "-m", "stack.api"]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    async def answers(self, port: int, pid: int) -> bool:
        del pid
        return await asyncio.to_thread(self._is_ready, port)

    def _is_ready(self, port: int) -> bool:
        connection = http.client.HTTPConnection(self._host, port, timeout=_PROBE_TIMEOUT_S)
        try:
            connection.request("GET", f"{self._base_path}/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
