"""The arguments of a Temporal connection, and waiting until it can be made."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig

from adapters import temporal
from adapters.temporal import connect, connect_arguments
from scoreboard.backoff import Backoff
from scoreboard.settings import ServiceSettings, from_mapping

FILES = {f"/{name}": f"-----BEGIN {name}-----".encode() for name in ("ca", "cert", "key")}
ADDRESSES = {
    "SCOREBOARD_MYSQL_URL": "mysql://u:p@127.0.0.1:1/board",
    "SCOREBOARD_REDIS_URL": "redis://127.0.0.1:1",
    "SCOREBOARD_TEMPORAL_ADDRESS": "temporal.example:7233",
}


def settings(**given: str) -> ServiceSettings:
    variables = {f"SCOREBOARD_TEMPORAL_{name}": value for name, value in given.items()}
    return from_mapping(ServiceSettings, ADDRESSES | variables, FILES.__getitem__)


def test_connection_is_unencrypted_unless_something_asks_for_tls() -> None:
    assert connect_arguments(settings()) == {
        "target_host": "temporal.example:7233",
        "namespace": "default",
        "api_key": None,
        "tls": False,
        "grpc_compression": GrpcCompression.NONE,
    }
    assert connect_arguments(settings(TLS="false"))["tls"] is False


@pytest.mark.parametrize(
    "given", [{"TLS": "true"}, {"API_KEY": "k"}, {"TLS_CA": "/ca"}, {"TLS_CERT": "/cert"}]
)
def test_each_security_setting_implies_tls(given: dict[str, str]) -> None:
    if "TLS_CERT" in given:
        given = given | {"TLS_KEY": "/key"}

    made = connect_arguments(settings(**given))

    assert made["tls"] == TLSConfig(
        server_root_ca_cert=FILES["/ca"] if "TLS_CA" in given else None,
        client_cert=FILES["/cert"] if "TLS_CERT" in given else None,
        client_private_key=FILES["/key"] if "TLS_CERT" in given else None,
    )
    assert made["api_key"] == given.get("API_KEY")


async def test_connect_retries_until_temporal_answers_and_logs_both_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals: list[Exception] = [
        RuntimeError("no route\nand a long trace"),
        RuntimeError("no route"),
    ]
    missing: list[Exception] = [RPCError("no namespace", RPCStatusCode.NOT_FOUND, b"")]
    asked: list[dict[str, Any]] = []

    async def answer(**arguments: Any) -> str:
        asked.append(arguments)
        if refusals:
            raise refusals.pop(0)
        return "client"

    async def check(*_: object) -> None:
        if missing:
            raise missing.pop(0)

    monkeypatch.setattr(Client, "connect", answer)
    monkeypatch.setattr(temporal, "is_polled", check)
    monkeypatch.setattr("scoreboard.backoff.TEMPORAL_CONNECT", Backoff(first_s=0.001))

    with capture_logs() as logs:
        client: Any = await connect(settings())

    assert client == "client"
    assert len(asked) == 4
    assert [(entry["event"], entry.get("error")) for entry in logs] == [
        ("waiting_for_temporal", "RuntimeError: no route"),
        ("waiting_for_temporal", "RPCError: NOT_FOUND no namespace"),
        ("temporal_reached", None),
    ]
