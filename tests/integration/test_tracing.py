"""One trace from a POST to the write on the event streams, as a collector receives it."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

import server.observe.tracing
from adapters.redis import connect
from scoreboard import contract
from scoreboard.settings import SettingsError
from server.settings import ServerSettings
from tests.support.api import Api, make_tables_and_users, running_api, token
from tests.support.eventually import eventually
from tests.support.pipeline import worker_process

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class Collector:
    """What OpenTelemetry's collector is to an exporter."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: dict[str, str] = {}
        self.endpoint = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        found = ExportTraceServiceRequest.FromString(body)
        for resource in found.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
                name = attribute(resource.resource, "service.name")
                self.services.update(dict.fromkeys((span.name for span in scope.spans), name))
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def of(self, trace_id: str) -> dict[str, Any]:
        """The spans of a trace by name."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def traced(settings: ServerSettings, endpoint: str, ratio: float) -> ServerSettings:
    return replace(settings, otlp_endpoint=endpoint, trace_ratio=ratio)


async def submit_in_trace(api: Api, increment: int = 10) -> str:
    async with api.http.post(
        f"{api.url}/scores/update",
        json={"userId": 1, "increment": increment},
        headers={
            "Authorization": f"Bearer {token(1)}",
            "traceparent": f"00-{TRACE}-{CALLER}-01",
        },
    ) as response:
        assert response.status == 202
        return str((await response.json())["submissionId"])


async def trace_left(redis_url: str) -> None:
    """Return once a worker has left a trace: healing may bring the change to listeners before."""
    async with connect(redis_url) as redis:

        async def left() -> bool:
            return bool(await redis.exists(contract.TRACES_KEY))

        await eventually(left)


def attribute(span: Any, name: str) -> Any:
    for item in span.attributes:
        if item.key == name:
            value = item.value
            return value.string_value or value.int_value
    return None


async def test_trace_follows_a_submission_from_post_to_stream_write(
    settings: ServerSettings,
) -> None:
    async with collecting() as collector:
        async with running_api(
            traced(settings, collector.endpoint, 1.0), embedded_worker=True
        ) as api:
            async with api.listen() as stream:
                submission_id = await submit_in_trace(api)
                await stream.until(1)
            async with api.listen(0):
                pass
            await trace_left(settings.redis)

        # Leaving has sent the rest.
        spans = collector.of(TRACE)

    post, start = spans["POST /scores/update"], spans["start batch"]
    written = spans["write to listeners"]
    assert post.parent_span_id.hex() == CALLER
    assert attribute(post, "scoreboard.submission_id") == submission_id
    assert attribute(post, "http.response.status_code") == 202
    assert start.parent_span_id == post.span_id
    assert attribute(start, "scoreboard.batch_size") == 1
    carried = spans["carry"]
    assert [event.name for event in carried.events] == ["validate", "record", "publish", "notify"]
    assert written.parent_span_id == carried.span_id
    assert (attribute(written, "scoreboard.seq"), attribute(written, "scoreboard.listeners")) == (
        1,
        1,
    )
    assert post.start_time_unix_nano <= written.start_time_unix_nano <= written.end_time_unix_nano


async def fast_path_requests(api: Api) -> int:
    """How many requests skipped Sanic."""
    _, stats, _ = await api.get("/admin/stats")
    return int(stats["counters"]["fastPathRequests"])


@pytest.mark.parametrize(("ratio", "log_requests"), [(0.0, False), (0.01, False), (0.01, True)])
async def test_tracing_and_request_logs_leave_submissions_on_the_fast_path(
    settings: ServerSettings, ratio: float, log_requests: bool
) -> None:
    async with collecting() as collector:
        observed = replace(traced(settings, collector.endpoint, ratio), log_requests=log_requests)
        with structlog.testing.capture_logs() as lines:
            async with running_api(observed, embedded_worker=True) as api:
                for _ in range(20):
                    status, _ = await api.submit()
                    assert status == 202
                # The first one taught the header block.
                assert await fast_path_requests(api) == 19

    logged = [line for line in lines if line["event"] == "submission_accepted"]
    assert len({line["submission_id"] for line in logged}) == (20 if log_requests else 0)


async def test_sampled_submission_on_the_fast_path_is_traced_from_end_to_end(
    settings: ServerSettings,
) -> None:
    async with collecting() as collector:
        async with running_api(
            traced(settings, collector.endpoint, 1.0), embedded_worker=True
        ) as api:
            async with api.listen() as stream:
                await api.submit()
                # Batches that are carried together have one trace.
                await stream.until(1)
                submission_id = await submit_in_trace(api)
                assert await fast_path_requests(api) == 1
                await stream.until(2)
            await trace_left(settings.redis)
        spans = collector.of(TRACE)

    post, start = spans["POST /scores/update"], spans["start batch"]
    assert post.parent_span_id.hex() == CALLER
    assert attribute(post, "scoreboard.submission_id") == submission_id
    assert attribute(post, "http.response.status_code") == 202
    assert start.parent_span_id == post.span_id
    assert spans["write to listeners"].parent_span_id == spans["carry"].span_id


async def test_fast_path_samples_by_the_trace_id_at_the_ratio(settings: ServerSettings) -> None:
    """So that every other process keeps exactly the same traces."""
    count = 80
    async with (
        collecting() as collector,
        running_api(traced(settings, collector.endpoint, 0.5), embedded_worker=True) as api,
    ):
        for _ in range(count):
            await api.submit()
        assert await fast_path_requests(api) == count - 1

    posts = [span for span in collector.spans if span.name == "POST /scores/update"]
    starts = {span.trace_id for span in collector.spans if span.name == "start batch"}
    # Wrong by chance once in ten million runs.
    assert count * 0.2 < len(posts) < count * 0.8
    assert all(int.from_bytes(span.trace_id[8:], "big") < 2**63 for span in posts)
    assert len({span.trace_id for span in posts}) == len(posts)
    assert {span.trace_id for span in posts} == starts


async def test_unsampled_traceparent_begins_no_span_on_either_path(
    settings: ServerSettings,
) -> None:
    async with (
        collecting() as collector,
        running_api(traced(settings, collector.endpoint, 1.0), embedded_worker=True) as api,
    ):
        unsampled = f"00-{TRACE}-{CALLER}-00"
        for _ in range(2):
            async with api.http.post(
                f"{api.url}/scores/update",
                json={"userId": 1, "increment": 10},
                headers={"Authorization": f"Bearer {token(1)}", "traceparent": unsampled},
            ) as response:
                assert response.status == 202
        assert await fast_path_requests(api) == 1

    assert not [span for span in collector.spans if span.name == "POST /scores/update"]


async def test_a_caller_cannot_make_the_server_keep_more_than_its_share(
    settings: ServerSettings,
) -> None:
    async with (
        collecting() as collector,
        running_api(traced(settings, collector.endpoint, 0.0), embedded_worker=True) as api,
        api.listen() as stream,
    ):
        await submit_in_trace(api)
        await stream.until(1)

    assert collector.of(TRACE) == {}


async def test_a_collector_that_is_away_disturbs_nobody(settings: ServerSettings) -> None:
    nowhere = traced(settings, "http://127.0.0.1:1", 1.0)
    async with running_api(nowhere, embedded_worker=True) as api, api.listen() as stream:
        for _ in range(5):
            await submit_in_trace(api)
        assert (await stream.until(5))[-1].id == "5"


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    """Nor would the packages be needed."""
    code = (
        "import sys, stack.api, worker.__main__;"
        "print([name for name in sys.modules"
        " if name in ('server.observe.tracing', 'worker.tracing')"
        " or name.startswith('temporalio.contrib.opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"


def test_tracing_endpoint_without_packages_fails_at_start(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(SettingsError, match=r"\.\[otel\]"):
        traced(settings, "http://127.0.0.1:4318", 1.0)


async def test_a_worker_of_its_own_logs_and_traces_under_the_same_ids(
    settings: ServerSettings,
) -> None:
    """With `SCOREBOARD_LOG_REQUESTS` a submission can be followed by its id through the logs."""
    await make_tables_and_users(settings)
    async with collecting() as collector:
        tracing = traced(settings, collector.endpoint, 1.0)
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker"),
            env=worker_environment(tracing),
            stderr=asyncio.subprocess.PIPE,
        )
        assert worker.stderr
        try:
            async with running_api(tracing) as api, api.listen() as stream:
                submission_id = await submit_in_trace(api, 5)
                await stream.until(1)
                await trace_left(tracing.redis)
        finally:
            worker.terminate()
            lines = (await worker.stderr.read()).splitlines()
            await worker.wait()
        spans = collector.of(TRACE)
    entries = [json.loads(line) for line in lines]

    [entry] = [entry for entry in entries if entry["event"] == "submission_decided"]
    assert entry["submission_id"] == submission_id
    assert (entry["outcome"], entry["seq"]) == ("applied", 1)
    assert spans["write to listeners"].parent_span_id == spans["carry"].span_id
    assert collector.services["carry"] == "scoreboard-worker"
    assert collector.services["write to listeners"] == "scoreboard-api"


async def test_change_published_by_repair_has_a_write_span(
    settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It looks when it leaves, as late as the test likes.
    monkeypatch.setattr(server.observe.tracing, "LOOK_AFTER_S", 60)
    failpoints = tmp_path / "failpoints"
    failpoints.write_text("record.after_commit 1 sleep:3000\n")
    await make_tables_and_users(settings)
    async with collecting() as collector:
        tracing = traced(settings, collector.endpoint, 1.0)
        environment = worker_environment(tracing) | {
            "SCOREBOARD_FAILPOINTS": str(failpoints),
            "SCOREBOARD_HEAL_INTERVAL_S": "0.1",
        }
        async with (
            worker_process(environment, tmp_path / "worker.log"),
            running_api(tracing) as api,
            connect(settings.redis) as redis,
        ):
            async with api.listen() as stream:
                await submit_in_trace(api, 5)
                await stream.until(1)
                assert not await redis.exists(contract.TRACES_KEY), "healing was not first"
            await trace_left(settings.redis)
        spans = collector.of(TRACE)

    assert attribute(spans["write to listeners"], "scoreboard.seq") == 1


def worker_environment(settings: ServerSettings) -> dict[str, str]:
    mysql = settings.mysql
    return {
        **os.environ,
        "SCOREBOARD_MYSQL_URL": (
            f"mysql://{mysql.user}:{mysql.password}@{mysql.host}:{mysql.port}/{mysql.database}"
        ),
        "SCOREBOARD_REDIS_URL": settings.redis,
        "SCOREBOARD_TEMPORAL_ADDRESS": settings.temporal_address,
        "SCOREBOARD_TASK_QUEUE": settings.task_queue,
        "SCOREBOARD_LOG_REQUESTS": "true",
        "SCOREBOARD_OTLP_ENDPOINT": settings.otlp_endpoint,
        "SCOREBOARD_TRACE_RATIO": str(settings.trace_ratio),
    }
