"""The roles of Temporal's server, each a process: their configuration, and when they answer."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.ports import HOST, free_port, is_free
from stack.services.program import PROBE_TIMEOUT_S, Private
from stack.temporal_cluster.postgres import Postgres, finished
from stack.temporal_cluster.program import SERVER

DATABASES = {"temporal": "default", "temporal_visibility": "visibility"}
if TYPE_CHECKING:
    from temporalio.client import Client

ROLES = ("frontend", "history", "matching", "worker")
HISTORY_SHARDS = 16
RETENTION = timedelta(days=1)
"""How long a workflow is remembered after its end. The least that a server takes is a day."""

DYNAMIC: Mapping[str, Any] = {
    # As in a cluster that was upgraded for years: a worker polls for its first task.
    "system.enableEagerWorkflowStart": False,
    # Half of the usual limits, of which the development server has none.
    "limit.blobSize.error": 1024 * 1024,
    "limit.blobSize.warn": 256 * 1024,
    "frontend.namespaceRPS": 1200,
    "frontend.rps": 2400,
}
"""Settings at run time. None of them makes the server do more than it does without."""


class Schema:
    """The tables in PostgreSQL, made by the server's own tool from the server's own files."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._folder = folder
        self._postgres = postgres
        self._made = folder / "schema-is-there"

    async def prepare(self) -> None:
        """Makes the tables; safe to repeat. Call it in the main thread."""
        if self._made.exists():
            return
        for database, kind in DATABASES.items():
            of = ("--db", database)
            # What an interrupted attempt left.
            await self._tool(*of, "drop-database", "--force", "--defaultdb", "postgres", fails=True)
            await self._tool(*of, "create-database", "--defaultdb", "postgres")
            await self._tool(*of, "setup-schema", "--version", "0.0")
            files = "temporal" if kind == "default" else "visibility"
            await self._tool(*of, "update-schema", "--schema-name", f"postgresql/v12/{files}")
        self._made.touch()

    async def _tool(self, *arguments: str, fails: bool = False) -> None:
        quiet = ("--quiet",) if fails else ()
        connection = (
            *("--plugin", "postgres12", "--endpoint", HOST, "--port", str(self._postgres.port)),
            *("--user", self._postgres.user),
        )
        await finished(
            "temporal-schema",
            [str(SERVER.path), "sql", *connection, *quiet, *arguments],
            self._folder / "schema.log",
            {"SQL_PASSWORD": self._postgres.password},
        )


class Role(Private):
    """One role of the server. They find each other through the database."""

    def __init__(self, role: str, name: str, folder: Path, postgres: Postgres) -> None:
        super().__init__(folder)
        self.role = role
        self.name = name
        self._postgres = postgres
        self._membership_port = 0
        self._file = folder / f"{name}.json"
        self.address = ""

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "dynamic.json").write_text(
            json.dumps({name: [{"value": value}] for name, value in DYNAMIC.items()}), "utf-8"
        )

    def command(self, port: int) -> list[str]:
        self.address = f"{HOST}:{port}"
        self._membership_port = _membership_port(self._membership_port)
        self._file.touch(mode=0o600)
        self._file.write_text(json.dumps(self._configuration(port)), "utf-8")
        return [str(SERVER.path), "start", str(self._file), self.role]

    def _configuration(self, port: int) -> dict[str, Any]:
        return {
            "log": {"stdout": True, "level": "error"},
            "persistence": {
                "defaultStore": "default",
                "visibilityStore": "visibility",
                "numHistoryShards": HISTORY_SHARDS,
                "datastores": {
                    kind: {"sql": self._store(database)} for database, kind in DATABASES.items()
                },
            },
            "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": HOST}},
            # All have to be named; where the others really are, each of them announces.
            "services": {
                role: {
                    "rpc": {
                        "grpcPort": port if role == self.role else 0,
                        "membershipPort": self._membership_port if role == self.role else 0,
                        "bindOnIP": HOST,
                    }
                }
                for role in ROLES
            },
            "clusterMetadata": {
                "enableGlobalNamespace": False,
                "failoverVersionIncrement": 10,
                "masterClusterName": "active",
                "currentClusterName": "active",
                "clusterInformation": {
                    "active": {
                        "enabled": True,
                        "initialFailoverVersion": 1,
                        "rpcName": "frontend",
                        # Kept in the database, so the same for all: roles that start together
                        # and differ refuse each other's. Nobody asks there.
                        "rpcAddress": f"{HOST}:7233",
                    }
                },
            },
            "dcRedirectionPolicy": {"policy": "noop"},
            "dynamicConfigClient": {
                "filepath": str(self.folder / "dynamic.json"),
                "pollInterval": "10s",
            },
        }

    def _store(self, database: str) -> dict[str, Any]:
        return {
            "pluginName": "postgres12",
            "databaseName": database,
            "connectAddr": f"{HOST}:{self._postgres.port}",
            "connectProtocol": "tcp",
            "user": self._postgres.user,
            "password": self._postgres.password,
            "maxConns": 20,
            "maxIdleConns": 20,
            "maxConnLifetime": "1h",
        }

    async def answers(self, port: int, pid: int) -> bool:
        """Whether it takes connections, as it does once it has joined the others."""
        del pid
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(HOST, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    def url(self, port: int) -> str:
        return f"{HOST}:{port}"


def _membership_port(before: int) -> int:
    """A free port, the one from before if possible. PostgreSQL's schema keeps it in a SMALLINT."""
    return before if before and is_free(before) else free_port()


class Frontend(Role):
    """The role that clients see: it answers when the namespace can be used."""

    namespace = "default"

    async def answers(self, port: int, pid: int) -> bool:
        """Whether the namespace is there for work; one that is missing is made."""
        del pid
        from temporalio.api.enums.v1 import TaskQueueType
        from temporalio.api.taskqueue.v1 import TaskQueue
        from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
        from temporalio.client import Client
        from temporalio.service import RPCError, RPCStatusCode

        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                client = await Client.connect(f"{HOST}:{port}", namespace=self.namespace)
                try:
                    await client.workflow_service.describe_task_queue(
                        DescribeTaskQueueRequest(
                            namespace=self.namespace,
                            task_queue=TaskQueue(name="is-it-there"),
                            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                        )
                    )
                except RPCError as error:
                    if error.status is RPCStatusCode.NOT_FOUND:
                        await register_namespace(client, self.namespace, RETENTION)
                    return False
        except Exception:
            return False
        return True


async def register_namespace(client: "Client", namespace: str, retention: timedelta) -> None:
    """Makes the namespace; the frontends learn of it seconds later."""
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest

    period = Duration()
    period.FromTimedelta(retention)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=period)
    )
