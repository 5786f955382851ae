"""What one submission costs in statements, commands and events: counts, not times.

Submits one at a time to a running stack and looks at the stores' own counters
around each. Background work only ever adds, so the cost is what the cheapest
fifth of the submissions agree on. The same on every machine, so a regression
gate on it does not cry wolf.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import redis
from temporalio.client import Client
from temporalio.service import RPCError

from harness.engines.standalone import drive
from harness.engines.swarm import Swarm
from harness.engines.swarm_settings import SwarmSettings
from harness.evidence.board_look import connect
from harness.net.http_wire import SubmissionRequests, answer_end, status_of
from harness.net.target import Target, TargetError
from scoreboard import contract

SUBMISSIONS = 25
SETTLE_S = 0.15
VISIBLE_TIMEOUT_S = 20.0
EVENTS = "workflow history events"
OWN_SQL = {"show_status"}
OWN_REDIS = {"info", "hello", "client|setinfo", "client|setname", "select", "auth", "ping"}
PLAYER = 1


def count_costs(target: Target) -> dict[str, int]:
    """Counts per submission, by name; what cannot be looked into is left out.

    Raises TargetError when the stack hides its stores or a submission fails,
    and OSError when it does not answer. About half a second per submission.
    """
    urls = target.state.get("urls", {})
    if not target.mysql_url or not urls.get("redis"):
        raise TargetError("counting needs a stack that shows its MySQL and Redis")
    stores = _Stores(target.mysql_url, urls["redis"], urls.get("temporal", ""))
    requests = SubmissionRequests(
        host_header=target.host_header,
        tokens=target.tokens(PLAYER, int(time.time())),
        run_id=f"count-{time.time_ns()}",
    )
    listener = Swarm(
        SwarmSettings(
            address=target.address,
            host_header=target.host_header,
            listeners=1,
            start_unix_ns=time.time_ns(),
        )
    )
    votes: dict[str, Counter[int]] = {}
    try:
        if not drive([listener], lambda: listener.converging_to >= 0, timeout_s=10):
            raise TargetError("the stream did not open")
        for number in range(SUBMISSIONS):
            before = stores.read()
            cursor = listener.converging_to
            _post(target, requests.make(number, PLAYER, 1 + number))
            if not drive(
                [listener],
                lambda seen=cursor: listener.converging_to > seen,  # type: ignore[misc]
                timeout_s=VISIBLE_TIMEOUT_S,
            ):
                raise TargetError("a submission was accepted but never seen")
            quiet = time.monotonic() + SETTLE_S
            drive([listener], lambda end=quiet: time.monotonic() > end, timeout_s=5)  # type: ignore[misc]
            after = stores.read()
            for name in set(before) | set(after):
                grown = after.get(name, 0) - before.get(name, 0)
                votes.setdefault(name, Counter())[grown] += 1
    finally:
        listener.close()
        stores.close()
    costs = {name: _low(counter) for name, counter in sorted(votes.items())}
    result = {name: count for name, count in costs.items() if count}
    result["sql statements"] = sum(c for n, c in result.items() if n.startswith("sql "))
    result["redis commands"] = sum(c for n, c in result.items() if n.startswith("redis "))
    return result


def _low(votes: Counter[int]) -> int:
    """The value that a fifth of the votes do not exceed."""
    ordered = sorted(votes.elements())
    return ordered[len(ordered) // 5]


class _Stores:
    """Looks at the counters of the stores, without counting its own looks."""

    def __init__(self, mysql_url: str, redis_url: str, temporal_address: str) -> None:
        self._mysql = connect(mysql_url)
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=2)
        self._temporal = _Histories(temporal_address) if temporal_address else None

    def read(self) -> dict[str, int]:
        """Totals since the stores began."""
        found: dict[str, int] = {}
        with self._mysql.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Com\\_%'")
            for name, value in cursor.fetchall():
                kind = str(name).removeprefix("Com_")
                if kind not in OWN_SQL and int(value):
                    found[f"sql {kind}"] = int(value)
        stats: Mapping[str, Mapping[str, int]] = self._redis.info("commandstats")
        for name, values in stats.items():
            kind = name.removeprefix("cmdstat_")
            if kind not in OWN_REDIS:
                found[f"redis {kind}"] = int(values["calls"])
        if self._temporal is not None:
            found[EVENTS] = self._temporal.events()
        return found

    def close(self) -> None:
        """Release the connections."""
        self._mysql.close()
        self._redis.close()
        if self._temporal is not None:
            self._temporal.close()


class _Histories:
    """The workflows that submissions go through: lanes, and those of batches that left one or that
    an earlier version begins."""

    def __init__(self, address: str) -> None:
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._query = (
            f"WorkflowType IN ('{contract.LANE_WORKFLOW}', '{contract.BATCH_WORKFLOW}')"
            f" AND (ExecutionStatus = 'Running' OR CloseTime >= '{since}')"
        )
        self._address = address
        self._runner = asyncio.Runner()
        self._client: Client | None = None

    def events(self) -> int:
        """Events in those that run or have run since this began. Raises OSError."""
        try:
            return self._runner.run(self._count())
        except (RuntimeError, RPCError) as error:
            raise OSError(f"Temporal at {self._address} did not answer: {error}") from error

    async def _count(self) -> int:
        client = self._client = self._client or await Client.connect(self._address)
        handles = [
            client.get_workflow_handle(each.id, run_id=each.run_id)
            async for each in client.list_workflows(self._query)
        ]
        return sum([(await handle.describe()).history_length for handle in handles])

    def close(self) -> None:
        """Release the loop."""
        self._runner.close()


def _post(target: Target, data: bytes) -> None:
    with socket.create_connection(target.address, timeout=10) as sock:
        sock.sendall(data)
        answer = b""
        while answer_end(answer) is None:
            part = sock.recv(65536)
            if not part:
                raise OSError("the connection ended without an answer")
            answer += part
    if status_of(answer) != 202:
        raise TargetError(f"a submission was answered {status_of(answer)}")
