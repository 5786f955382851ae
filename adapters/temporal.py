"""The connection to Temporal: how it is secured, waiting until it can be made, and whether work can
be done there.
"""

import asyncio
import dataclasses
import importlib
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, Interceptor
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig

from adapters.reasons import reason_of
from scoreboard import backoff
from scoreboard.settings import ServiceSettings, SettingsError

log = structlog.get_logger()

TEMPORAL_ERRORS = (RPCError, TimeoutError)
"""What a call raises when Temporal is unavailable, slow or refuses."""

LOOK_UP_TIMEOUT = timedelta(seconds=2)

POLLED_WITHIN_S = 90.0
"""A worker without work polls once a minute."""

_MAY_NOT_ASK = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED})
"""A narrow API key, or a Temporal without the call: what is missing shows at the first use."""


def is_too_large(error: BaseException) -> bool:
    """Whether Temporal refused a payload for its size: each cluster has limits of its own.

    Both the server (`limit.blobSize.error`) and gRPC in front of it have one.
    """
    if not isinstance(error, RPCError):
        return False
    words = error.message.lower()
    return (
        error.status is RPCStatusCode.INVALID_ARGUMENT and "exceeds" in words and "size" in words
    ) or (error.status is RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in words)


def connect_arguments(settings: ServiceSettings) -> dict[str, Any]:
    """Keyword arguments for the SDK's `Client.connect`."""
    tls: TLSConfig | bool = False
    if settings.temporal_uses_tls:
        tls = TLSConfig(
            server_root_ca_cert=settings.temporal_tls_ca or None,
            client_cert=settings.temporal_tls_cert or None,
            client_private_key=settings.temporal_tls_key or None,
        )
    converter = data_converter(settings.temporal_codec)
    return {
        **({} if converter is None else {"data_converter": converter}),
        "target_host": settings.temporal_address,
        "namespace": settings.temporal_namespace,
        "api_key": settings.temporal_api_key or None,
        "tls": tls,
        # Compression costs both sides more CPU than the bytes are worth.
        "grpc_compression": GrpcCompression.NONE,
    }


def data_converter(codec: str) -> DataConverter | None:
    """The converter of payloads with the codec `module:name`; None without one.

    The same one for servers, workers and every tool: what one wrote, all have to read. Raises
    SettingsError when there is no such codec.
    """
    if not codec:
        return None
    module, _, name = codec.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        found = found if isinstance(found, PayloadCodec) else found()
    except Exception as error:
        # It runs code of the operator's.
        raise SettingsError(f"SCOREBOARD_TEMPORAL_CODEC: {codec}: {reason_of(error)}") from error
    if not isinstance(found, PayloadCodec):
        raise SettingsError(f"SCOREBOARD_TEMPORAL_CODEC: {codec} is no PayloadCodec")
    return dataclasses.replace(DataConverter.default, payload_codec=found)


async def connect(settings: ServiceSettings, interceptors: Sequence[Interceptor] = ()) -> Client:
    """A connected client of a namespace that exists; retries until it has one.

    Logs once that it waits, again when the reason changes, and once that Temporal has been reached.
    """
    failures = 0
    logged = ""
    while True:
        try:
            client = await Client.connect(**connect_arguments(settings), interceptors=interceptors)
            await is_polled(client, settings.task_queue)
        except (RuntimeError, *TEMPORAL_ERRORS) as error:
            # The SDK reports an unreachable server as a bare RuntimeError.
            reason = reason_of(error)
            if reason != logged:
                log.warning("waiting_for_temporal", error=reason, tls=_security(settings))
            logged = reason
            await asyncio.sleep(backoff.TEMPORAL_CONNECT.delay_s(failures))
            failures += 1
        else:
            if failures:
                log.info("temporal_reached")
            return client


async def is_polled(client: Client, task_queue: str) -> bool | None:
    """Whether a worker has asked for work on the queue lately; None when that may not be asked.

    Raises TEMPORAL_ERRORS, also when the namespace does not exist (as the frontends see it, who
    learn of a new one some seconds after `DescribeNamespace` does).
    """
    try:
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=task_queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=LOOK_UP_TIMEOUT,
        )
    except RPCError as error:
        if error.status in _MAY_NOT_ASK:
            return None
        raise
    # By this machine's clock, which may differ by less than what is allowed.
    return any(
        time.time() - poller.last_access_time.seconds < POLLED_WITHIN_S for poller in answer.pollers
    )


def _security(settings: ServiceSettings) -> str:
    """How the connection is secured, since the SDK's errors do not say."""
    if not settings.temporal_uses_tls:
        return "off"
    return "mutual" if settings.temporal_tls_cert else "server only"
