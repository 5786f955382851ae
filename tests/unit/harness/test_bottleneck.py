"""The fullest resource is named, and the harness first when it is the harness."""

from typing import Any

import pytest

from harness.measure.bottleneck import name_bottleneck, usage_of


def sample(busy: float = 0.5, iowait: float = 0.0, **cores: float) -> dict[str, Any]:
    return {
        "machine": {"busy": busy, "iowait": iowait},
        "processes": {
            name.replace("_", " "): {"cpu": cpu, "rss_mib": 10.0} for name, cpu in cores.items()
        },
    }


def store(name: str, **counters: float) -> dict[str, Any]:
    return {**sample(0.4, server=0.4), name: counters}


def short_of_memory() -> dict[str, Any]:
    kept = sample(0.4, server=0.4)
    kept["machine"]["available_mib"] = 200
    kept["processes"]["mysql"] = {"cpu": 0.1, "rss_mib": 6500.0}
    return kept


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (
            sample(0.99, server=1.0, harness_submitters=0.9),
            "the harness itself: its submitters use 90%",
        ),
        (sample(0.9, server=0.2), "no resource is full (machine 90% busy, most by other programs"),
        (sample(0.99, server=0.2), "the machine's 2 CPUs, 99% busy (cores: other programs 1.78"),
        (short_of_memory(), "the machine's memory: 200 of 8,000 MiB left (most with mysql: 6,500"),
        (sample(0.99, server=0.9, temporal=0.8), "the machine's 2 CPUs, 99% busy"),
        (sample(0.6, server=0.97), "the server process: its one core is 97% busy"),
        (
            store("redis", used_cpu_sys_main_thread=0.35, used_cpu_user_main_thread=0.6),
            "Redis: its one thread is 95% busy",
        ),
        (store("redis", evicted_keys=12.0), "Redis: its memory is full, 12.0 keys are evicted"),
        (store("mysql", Innodb_row_lock_time=2500.0), "MySQL: 2.5 transactions wait for row locks"),
        (store("mysql", Innodb_data_pending_fsyncs=1.0), "the disk: 1.0 syncs of MySQL wait"),
        (sample(0.3, 0.4, mysql=0.1), "the disk: CPUs wait 40%"),
        (store("mysql", Threads_running=14.0), "MySQL: 14.0 statements are under way"),
        (store("temporal", start_ms=480.0), "Temporal: handing over a batch takes 480 ms"),
        (
            store("temporal", start_ms=9.0, unfinished=64.0, unfinished_max=64.0),
            "Temporal and the worker: 64 batches are unfinished, of 64 allowed",
        ),
        (
            {
                **store("mysql", Threads_running=2.0, Innodb_row_lock_time=3.0),
                "redis": {"evicted_keys": 0.0, "used_cpu_user_main_thread": 0.2},
                "temporal": {"start_ms": 12.0, "unfinished": 2.0, "unfinished_max": 64.0},
            },
            "no resource is full (machine 40% busy, most by server 0.40 cores)",
        ),
    ],
)
def test_bottleneck_names_the_full_resource_and_why(kept: dict[str, Any], sentence: str) -> None:
    assert name_bottleneck(usage_of([kept, kept], 2, 8000.0)).startswith(sentence)


def test_bottleneck_prefers_a_full_machine_to_the_resources_it_slows() -> None:
    kept = {**sample(0.99, server=0.9), "temporal": {"start_ms": 900.0}}

    assert name_bottleneck(usage_of([kept], 2)).startswith("the machine's 2 CPUs")


def test_usage_shares_are_of_the_machine_and_include_other_programs() -> None:
    usage = usage_of([sample(0.9, server=0.6, harness_submitters=0.2, harness_listeners=0.2)], 2)

    assert usage is not None
    assert usage.harness_share == pytest.approx(0.2)
    assert usage.elsewhere == pytest.approx(0.8)


def test_bottleneck_is_unknown_without_samples() -> None:
    assert usage_of([], 2) is None
    assert name_bottleneck(None).startswith("unknown")
