"""This machine's clock is wrong only when both stores say so and agree."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from adapters.health import clocks
from adapters.health.clocks import ClockCheck, ClockDiffers, fault


@pytest.mark.parametrize(
    ("redis", "mysql", "words"),
    [
        (0.0, 0.0, None),
        (3.9, 3.9, None),
        (120.0, 119.5, "120 s behind those of Redis and MySQL"),
        (-61.0, -60.0, "60 s ahead of those of Redis and MySQL"),
        (120.0, 0.0, None),
        (0.0, -120.0, None),
        (120.0, -120.0, None),
        (120.0, 60.0, None),
        (120.0, None, None),
        (None, None, None),
    ],
    ids=str,
)
def test_two_stores_that_agree_convict_this_machine(
    redis: float | None, mysql: float | None, words: str | None
) -> None:
    found = fault({"Redis": redis, "MySQL": mysql})

    assert (found is None) if words is None else (found is not None and words in found)


def ahead(seconds: float, takes_s: float = 0.0) -> Callable[[], Awaitable[float]]:
    async def ask() -> float:
        await asyncio.sleep(takes_s)
        return time.time() + seconds

    return ask


async def unreachable() -> float:
    raise ConnectionError


async def test_a_clock_minutes_behind_is_a_failure_that_says_by_how_much() -> None:
    check = ClockCheck({"Redis": ahead(120), "MySQL": ahead(120)})

    with pytest.raises(ClockDiffers, match=r"this machine.s clock is 1[12]\d s behind"):
        await check.check()


async def test_one_stores_clock_is_logged_once_and_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clocks, "CHECK_INTERVAL_S", 0.0)
    check = ClockCheck({"Redis": ahead(-90), "MySQL": ahead(0)})

    with capture_logs() as logs:
        await check.check()
        await check.check()

    [entry] = [entry for entry in logs if entry["event"] == "clock_differs"]
    assert (entry["service"], round(entry["ahead_s"])) == ("Redis", -90)


async def test_a_store_that_is_away_is_not_this_check_s_business() -> None:
    await ClockCheck({"Redis": unreachable, "MySQL": ahead(120)}).check()


async def test_an_answer_that_took_long_convicts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "CLOCK_DIFFERENCE_MAX_S", 0.05)
    slow = ahead(0.0, takes_s=0.4)

    await ClockCheck({"Redis": slow, "MySQL": slow}).check()


async def test_the_last_answer_holds_until_the_next_check_and_a_corrected_clock_heals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    off = [120.0]

    async def ask() -> float:
        return time.time() + off[0]

    check = ClockCheck({"Redis": ask, "MySQL": ask})
    with pytest.raises(ClockDiffers):
        await check.check()
    off[0] = 0.0
    with pytest.raises(ClockDiffers):
        await check.check()

    monkeypatch.setattr(clocks, "CHECK_INTERVAL_S", 0.0)
    await check.check()
