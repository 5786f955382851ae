"""What a client has seen on one process's stream, another process's board never lacks.

A process that cannot reach Redis follows MySQL, and is ahead of what workers publish late; so the
client says how far it has seen.
"""

import asyncio
import random
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from harness.net.fault_proxy import Mode
from scoreboard_client import ScoreboardClient, Update
from scoreboard_client.answers import Answer
from server.settings import ServerSettings
from tests.support.two_processes import TwoProcesses, two_processes

LOOKS = 8
LOOKS_PLANTED = 80
"""The first look that lacks what was seen convicts; how soon there is one is chance."""
LATE = "publish.before 10000 sleep:900\n"


class Balanced(ScoreboardClient):
    """Behind a balancer that sends reads of the board to another process than the stream."""

    reads_at = ""

    async def _send(self, method: str, path: str, **request: Any) -> Answer:
        home, self._base_url = self._base_url, self.reads_at
        try:
            return await super()._send(method, path, **request)
        finally:
            self._base_url = home


class Forgetful(Balanced):
    """The planted bug: it does not say what it has seen."""

    def _note(self, seq: int | None) -> None:
        del seq


async def _times_taken_back(pair: TwoProcesses, kind: type[Balanced]) -> int:
    """How often the board, asked right after an event, lacked it."""
    cut, whole = pair.urls
    changing = asyncio.create_task(pair.keep_changing(random.Random(1)))
    taken_back = 0
    try:
        async with kind(cut) as client:
            client.reads_at = whole
            async with aclosing(client.follow()) as events:
                for _ in range(LOOKS_PLANTED if kind is Forgetful else LOOKS):
                    event = await asyncio.wait_for(anext(events), 20)
                    assert isinstance(event, Update)
                    top = await client.top()
                    assert top.seq is not None
                    taken_back += top.seq < event.seq
                    if taken_back:
                        break
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
    return taken_back


@pytest.mark.parametrize("kind", [Balanced, Forgetful])
async def test_the_board_contains_what_the_client_has_seen_at_another_process(
    temporal_client: Client,
    settings: ServerSettings,
    mysql_url: str,
    redis_url: str,
    kind: type[Balanced],
    failpoints: Path,
) -> None:
    failpoints.write_text(LATE)
    async with two_processes(
        temporal_client,
        settings,
        mysql_url=mysql_url,
        redis_url=redis_url,
        failpoints=str(failpoints),
    ) as pair:
        await pair.edge.arm(Mode.REFUSE)
        taken_back = await _times_taken_back(pair, kind)
        await pair.edge.heal()
        await pair.stop_all()

    assert (taken_back > 0) == (kind is Forgetful)
