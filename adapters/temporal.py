"""The connection to Temporal: how it is secured, and waiting until it can be made."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from temporalio.client import Client, Interceptor
from temporalio.service import GrpcCompression, RPCError, TLSConfig

from scoreboard import backoff
from scoreboard.settings import ServiceSettings

log = structlog.get_logger()

TEMPORAL_ERRORS = (RPCError, TimeoutError)
"""What a call raises when Temporal is unavailable, slow or refuses."""


def connect_arguments(settings: ServiceSettings) -> dict[str, Any]:
    """Keyword arguments for the SDK's `Client.connect`."""
    tls: TLSConfig | bool = False
    if settings.temporal_uses_tls:
        tls = TLSConfig(
            server_root_ca_cert=settings.temporal_tls_ca or None,
            client_cert=settings.temporal_tls_cert or None,
            client_private_key=settings.temporal_tls_key or None,
        )
    return {
        "target_host": settings.temporal_address,
        "namespace": settings.temporal_namespace,
        "api_key": settings.temporal_api_key or None,
        "tls": tls,
        # Compression costs both sides more CPU than the bytes are worth.
        "grpc_compression": GrpcCompression.NONE,
    }


async def connect(settings: ServiceSettings, interceptors: Sequence[Interceptor] = ()) -> Client:
    """A connected client; retries until it has one.

    Logs once that it waits, and once that Temporal has been reached.
    """
    failures = 0
    while True:
        try:
            client = await Client.connect(**connect_arguments(settings), interceptors=interceptors)
        except RuntimeError as error:
            # The SDK reports an unreachable server as a bare RuntimeError.
            if not failures:
                log.warning(
                    "waiting_for_temporal",
                    error=str(error).partition("\n")[0][:400],
                    tls=_security(settings),
                )
            await asyncio.sleep(backoff.TEMPORAL_CONNECT.delay_s(failures))
            failures += 1
        else:
            if failures:
                log.info("temporal_reached")
            return client


def _security(settings: ServiceSettings) -> str:
    """How the connection is secured, since the SDK's errors do not say."""
    if not settings.temporal_uses_tls:
        return "off"
    return "mutual" if settings.temporal_tls_cert else "server only"
