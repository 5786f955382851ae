"""The end of a chaos run: what it waits for is asked by threads of the run's own."""

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.runtime import Runtime

from harness.chaos import drain


async def test_each_run_asks_temporal_by_threads_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread stays on the network that it began on, which is gone with its lab."""
    used: list[Runtime] = []

    async def connect(_address: str, *, runtime: Runtime) -> Client:
        used.append(runtime)
        raise RuntimeError("nobody answers")

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(drain, "LOOK_S", 0.01)
    system: Any = SimpleNamespace(temporal_address="")

    for _ in range(2):
        assert await drain.drained(system, timeout_s=0.1) == "nobody answers"

    assert len(set(map(id, used))) == 2
