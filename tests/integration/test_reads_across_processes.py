"""Reads never go back, whichever of two API processes answers them: with faults on the Redis edge
of one, restarts of both and changes all the time."""

import os
import random
from collections.abc import Callable
from itertools import islice

import pytest
from temporalio.client import Client

from harness.checker.reads import overtaken
from server.board import board, read_order
from server.settings import ServerSettings
from tests.support.two_processes import Read, two_processes

SEEDS = int(os.environ.get("SCOREBOARD_TEST_SEEDS", "2"))
READS = 1000
CHANGES = 40
SECONDS = 8.0
LOOKED_BACK = 500
"""So many reads are looked through again and again while clients read; all of them at the end."""


async def _went_back(
    client: Client, settings: ServerSettings, mysql_url: str, redis_url: str, seed: int
) -> list[tuple[Read, Read]]:
    """The first read that went back, which ends the exercise; without one it goes on to its end."""
    async with two_processes(client, settings, mysql_url=mysql_url, redis_url=redis_url) as pair:
        await pair.exercise(
            random.Random(seed),
            reads=READS,
            changes=CHANGES,
            seconds=SECONDS,
            enough=lambda: any(overtaken(pair.reads[-LOOKED_BACK:])),
        )
    return list(islice(overtaken(pair.reads), 1))


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_clients_that_alternate_are_never_taken_back(
    temporal_client: Client, settings: ServerSettings, mysql_url: str, redis_url: str, seed: int
) -> None:
    assert await _went_back(temporal_client, settings, mysql_url, redis_url, seed) == []


def _a_page_is_kept_for_a_second(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(board, "LEASE_S", 1.0)


def _mysql_is_ahead_of_what_is_published(patch: pytest.MonkeyPatch) -> None:
    def left_s(self: read_order.ReadOrder, seq: int, *, published: bool) -> float:
        del self, seq, published
        return 0.0

    patch.setattr(read_order.ReadOrder, "left_s", left_s)


@pytest.mark.parametrize(
    "plant", [_a_page_is_kept_for_a_second, _mysql_is_ahead_of_what_is_published]
)
async def test_planted_bugs_take_clients_back(
    temporal_client: Client,
    settings: ServerSettings,
    mysql_url: str,
    redis_url: str,
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)

    for seed in range(1, 3):
        if await _went_back(temporal_client, settings, mysql_url, redis_url, seed):
            return
    pytest.fail("every read showed what those before it did")
