"""The fullest resource is named, and the harness first when it is the harness."""

from typing import Any

import pytest

from harness.bottleneck import name_bottleneck, usage_of


def sample(busy: float = 0.5, iowait: float = 0.0, **cores: float) -> dict[str, Any]:
    return {
        "machine": {"busy": busy, "iowait": iowait},
        "processes": {
            name.replace("_", " "): {"cpu": cpu, "rss_mib": 10.0} for name, cpu in cores.items()
        },
    }


@pytest.mark.parametrize(
    ("kept", "beginning"),
    [
        (sample(0.99, server=1.0, harness_flood=0.9), "the harness itself: flood"),
        (sample(0.99, server=0.9, temporal=0.8), "the machine's 2 CPUs, 99% busy"),
        (sample(0.6, server=0.97), "the server process: its one core is 97% busy"),
        (sample(0.3, 0.4, mysql=0.1), "the disk"),
        (sample(0.3, server=0.2), "no resource is full"),
    ],
)
def test_the_fullest_resource_is_named(kept: dict[str, Any], beginning: str) -> None:
    assert name_bottleneck(usage_of([kept, kept], 2)).startswith(beginning)


def test_shares_are_of_the_whole_machine_and_strangers_are_told() -> None:
    usage = usage_of([sample(0.9, server=0.6, harness_flood=0.2, harness_swarm=0.2)], 2)

    assert usage is not None
    assert usage.harness_share == pytest.approx(0.2)
    assert usage.elsewhere == pytest.approx(0.8)


def test_without_samples_the_bottleneck_is_unknown() -> None:
    assert usage_of([], 2) is None
    assert name_bottleneck(None).startswith("unknown")
