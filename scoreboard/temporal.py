"""How every process connects to Temporal. Not the connecting: the SDK stays outside."""

from collections.abc import Callable
from typing import Any

from scoreboard.settings import ServiceSettings


def security(settings: ServiceSettings) -> str:
    """How the connection is secured, for a log line beside the SDK's terse errors."""
    if not settings.temporal_uses_tls:
        return "off"
    return "mutual" if settings.temporal_tls_cert else "server only"


def connect_arguments(settings: ServiceSettings, tls_config: Callable[..., Any]) -> dict[str, Any]:
    """Keyword arguments for the SDK's `Client.connect`; `tls_config` is its `TLSConfig`."""
    tls: Any = False
    if settings.temporal_uses_tls:
        tls = tls_config(
            server_root_ca_cert=settings.temporal_tls_ca or None,
            client_cert=settings.temporal_tls_cert or None,
            client_private_key=settings.temporal_tls_key or None,
        )
    return {
        "target_host": settings.temporal_address,
        "namespace": settings.temporal_namespace,
        "api_key": settings.temporal_api_key or None,
        "tls": tls,
    }
