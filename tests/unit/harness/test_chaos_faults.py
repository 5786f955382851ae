"""Faults on a system of pretence: what counts as proof that one took hold."""

from typing import Any

import pytest

from harness.chaos import schedule
from harness.chaos.faults import injected
from harness.chaos.lost_changes import replay
from harness.chaos.schedule import Planned
from harness.chaos.system import StackFailed, System


class Pretence(System):
    """One process, which has the next of `pids` whenever it is started."""

    def __init__(self, *pids: int | None) -> None:
        self._pids = list(pids)

    async def ask(self, request: dict[str, Any], **_: Any) -> dict[str, Any]:
        if request["op"] == "start":
            self._pids.pop(0)
        return {"ok": True}

    async def until_up(self, *, timeout_s: float = 60.0) -> None:
        pass

    def pid(self, _process: str) -> int | None:
        return self._pids[0]


@pytest.mark.parametrize(
    ("before", "after", "proof"),
    [
        (7, 8, "pid 7 stopped, 8 in its place"),
        (7, 7, None),
        (None, 8, None),
        (7, None, None),
    ],
)
async def test_a_restart_is_proven_by_another_pid(
    before: int | None, after: int | None, proof: str | None
) -> None:
    system = Pretence(before, after)

    async with injected(system, Planned(kind=schedule.RESTART, target="redis")) as outcome:
        assert outcome.proof is None

    assert outcome.proof == proof


async def test_a_replay_is_repeated_until_it_works() -> None:
    asked: list[tuple[str, ...]] = []

    async def run(*arguments: str) -> str:
        asked.append(arguments)
        if len(asked) < 3:
            raise StackFailed("Temporal is away")
        return '{"brought_back": 4, "since": "then"}'

    assert await replay(run, lost_s=1060.0) == 4
    assert asked == 3 * [("worker", "replay", "--since", "1970-01-01T00:16:40+00:00")]
