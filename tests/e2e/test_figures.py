"""Metrics and the operator's figures, counted by a real pipeline."""

import asyncio
import re
import socket
from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from scoreboard import contract
from scoreboard.tokens import SCOPE_OPERATE, mint
from server.settings import ServerSettings
from tests.support.api import SECRET, Api, api_settings, running_api, token
from tests.support.eventually import eventually


async def samples(api: Api) -> dict[str, float]:
    """Value by name and labels, as the client library of Prometheus reads them."""
    async with api.http.get(api.url + "/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        text = await response.text()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, f"{name} stands twice"
            found[name] = sample.value
    return found


async def stats(api: Api) -> dict[str, Any]:
    status, found, headers = await api.get("/admin/stats")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    return dict(found)


async def test_submissions_batches_and_deliveries_are_counted(api: Api) -> None:
    async with api.listen(gzip=False) as stream:
        await asyncio.gather(*(api.submit(1, 1) for _ in range(20)))
        await api.submit(2, 5, key="k")
        await api.submit(2, 5, key="k")
        await api.submit(2, 6, key="k")
        await stream.until(21)

        found = await samples(api)
        assert found["scoreboard_listeners"] == 1

    assert found["scoreboard_submissions_total{outcome=accepted}"] == 21
    assert found["scoreboard_submissions_total{outcome=replayed}"] == 1
    assert found["scoreboard_submissions_total{outcome=key_reused}"] == 1
    assert found["scoreboard_batch_size_sum"] == 22
    batches = found["scoreboard_batches_started_total"]
    assert 3 <= batches <= 22
    for name in ("batch_size", "start_seconds"):
        assert found[f"scoreboard_{name}_count"] == batches
        assert found[f"scoreboard_{name}_bucket{{le=+Inf}}"] == batches
    assert found["scoreboard_deliveries_total"] == 21
    assert found["scoreboard_listeners_opened_total"] == 1
    assert found["scoreboard_hub_seq"] == found["scoreboard_board_seq"] == 21
    assert found["scoreboard_stream_bytes_total"] > 21 * 40
    assert 0 < found["scoreboard_commit_to_write_seconds_sum"] < 60
    assert found["scoreboard_queue_submissions"] == 0
    assert found["scoreboard_service_up{service=mysql}"] == 1


async def test_rate_limited_submissions_are_counted(settings: ServerSettings) -> None:
    settings = replace(settings, rate_limit_count=2)
    async with running_api(settings, embedded_worker=True) as api:
        for _ in range(5):
            await api.submit(1, 1)

        assert (await stats(api))["counters"]["submissions"] == {
            "accepted": 2,
            "replayed": 0,
            "rate_limited": 3,
            "key_reused": 0,
            "unknown_user": 0,
            "overloaded": 0,
            "unavailable": 0,
        }


async def test_the_worker_inside_shows_its_figures_too(api: Api) -> None:
    before = await samples(api)
    await api.submit(1, 1)
    await eventually(lambda: _scores_changed(api))

    def grew(after: dict[str, float], name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    async def steps_are_counted() -> None:
        after = await samples(api)
        assert grew(after, "scoreboard_worker_recorded_total{outcome=applied}") == 1
        for step in ("validate", "record", "publish", "notify"):
            assert grew(after, f"scoreboard_worker_step_seconds_count{{step={step}}}") == 1

    await eventually(_passes(steps_are_counted))


async def test_both_forms_say_the_same(api: Api) -> None:
    await api.submit(1, 1)
    found, numbers = await samples(api), await stats(api)

    assert numbers["counters"]["batchesStarted"] == found["scoreboard_batches_started_total"] == 1
    assert numbers["gauges"]["listenersMax"] == found["scoreboard_listeners_max"]
    starts = numbers["histograms"]["startSeconds"]
    assert sum(starts["counts"]) == found["scoreboard_start_seconds_count"]
    assert len(starts["counts"]) == len(starts["bounds"]) + 1
    assert numbers["services"] == {"clock": True, "mysql": True, "redis": True, "temporal": True}


async def test_figures_come_without_any_service(task_queue: str) -> None:
    settings = api_settings(
        mysql_url="mysql://root@127.0.0.1:9/none",
        redis_url="redis://127.0.0.1:9/0",
        temporal_address="127.0.0.1:9",
        task_queue=task_queue,
    )
    async with running_api(settings, ready=False) as api:
        found = await samples(api)
        numbers = await stats(api)
        for path in ("/", "/operator"):
            async with api.http.get(api.url + path) as page:
                assert page.status == 200

    assert found["scoreboard_service_up{service=redis}"] == 0
    assert "scoreboard_board_seq" not in found
    assert numbers["gauges"]["boardSeq"] is None


async def test_open_figures_tell_of_the_machine_to_operators_only(task_queue: str) -> None:
    settings = api_settings(
        mysql_url="mysql://root@127.0.0.1:9/none",
        redis_url="redis://127.0.0.1:9/0",
        temporal_address="127.0.0.1:9",
        task_queue=task_queue,
    )
    operator = mint(SECRET, subject="op", now_s=_now_s(), ttl_s=60, scopes=(SCOPE_OPERATE,))
    async with running_api(settings, ready=False) as api:
        texts = {}
        for name, bearer in {"anyone": None, "user": token(1), "operator": operator}.items():
            headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
            async with api.http.get(api.url + "/metrics", headers=headers) as response:
                assert response.status == 200
                texts[name] = await response.text()
        async with api.http.get(
            api.url + "/metrics", headers={"Authorization": "Bearer wrong"}
        ) as response:
            assert response.status == 401
        numbers = await stats(api)

    for name in ("anyone", "user"):
        assert "scoreboard_listeners" in texts[name]
        assert not re.search(r"^(# \w+ )?(process|python)_", texts[name], re.MULTILINE)
    assert "process_resident_memory_bytes" in texts["operator"]
    assert "python_info" in texts["operator"]
    assert socket.gethostname() not in str(numbers)
    assert re.fullmatch(r"[0-9a-f]{8}", numbers["instance"])


async def test_closed_figures_need_their_scope(task_queue: str) -> None:
    settings = api_settings(
        mysql_url="mysql://root@127.0.0.1:9/none",
        redis_url="redis://127.0.0.1:9/0",
        temporal_address="127.0.0.1:9",
        task_queue=task_queue,
        metrics_open=False,
    )
    operator = mint(SECRET, subject="op", now_s=_now_s(), ttl_s=60, scopes=(SCOPE_OPERATE,))
    async with running_api(settings, ready=False) as api:
        for path in ("/metrics", "/admin/stats"):
            statuses = []
            for bearer in (None, token(1), operator):
                headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
                async with api.http.get(api.url + path, headers=headers) as response:
                    statuses.append(response.status)
            assert statuses == [401, 403, 200]


def _now_s() -> int:
    import time

    return int(time.time())


def _passes(check: Any) -> Any:
    async def passed() -> bool:
        await check()
        return True

    return passed


async def _scores_changed(api: Api) -> bool:
    return bool((await api.get(contract.SCORES_PATH))[1][0]["score"] == 1501)
