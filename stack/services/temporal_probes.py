"""What a running Temporal says of itself: whether it serves, and who polls a task queue.

Not how it is started: see `stack.services`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from stack.services.program import PROBE_TIMEOUT_S


async def temporal_answers(address: str, namespace: str) -> bool:
    """Whether the namespace can be read: the last thing a starting server becomes able to do."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client

    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            client = await Client.connect(address, namespace=namespace)
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace)
            )
    except Exception:
        return False
    return True


async def describe_pollers(connection: Mapping[str, Any], task_queue: str) -> list[str]:
    """The identities that ask `task_queue` for workflow tasks; empty on any failure.

    `connection` are the keyword arguments of the client, `target_host` and `namespace` among them.
    """
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
    from temporalio.client import Client

    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            client = await Client.connect(**connection)
            answer = await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=connection["namespace"],
                    task_queue=TaskQueue(name=task_queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                )
            )
    except Exception:
        return []
    return [poller.identity for poller in answer.pollers]
