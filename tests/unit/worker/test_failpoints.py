"""Failpoints trip as often as the file says, once across all workers, and never by themselves."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.failpoints import Failpoints, FailpointTripped


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "failpoints"


def fired(file: Path) -> list[str]:
    log = file.with_name("failpoints.fired")
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


async def trips(points: Failpoints, name: str, tries: int) -> int:
    tripped = 0
    for _ in range(tries):
        try:
            await points.hit(name)
        except FailpointTripped:
            tripped += 1
    return tripped


async def test_without_a_file_nothing_trips(file: Path) -> None:
    assert await trips(Failpoints(""), "a", 3) == 0
    assert await trips(Failpoints(str(file)), "a", 3) == 0
    assert fired(file) == []


async def test_an_armed_point_trips_as_often_as_the_file_says(file: Path) -> None:
    file.write_text("a 2 raise\n\nb 1 raise\n")
    points = Failpoints(str(file))

    assert await trips(points, "a", 5) == 2
    assert await trips(points, "c", 5) == 0
    assert await trips(points, "b", 5) == 1
    assert fired(file) == ["a", "a", "b"]
    assert file.read_text() == ""


async def test_a_point_armed_later_trips_too(file: Path) -> None:
    points = Failpoints(str(file))
    await trips(points, "a", 1)
    file.write_text("a 1 raise\n")

    assert await trips(points, "a", 2) == 1


async def test_workers_that_share_a_file_take_each_trip_once(file: Path) -> None:
    file.write_text("a 3 raise\n")
    workers = [Failpoints(str(file)) for _ in range(4)]

    tripped = await asyncio.gather(*(trips(points, "a", 2) for points in workers))

    assert sum(tripped) == 3
    assert len(fired(file)) == 3


async def test_sleep_delays_and_goes_on(file: Path) -> None:
    file.write_text("a 1 sleep:50\n")
    started = time.monotonic()

    await Failpoints(str(file)).hit("a")

    assert time.monotonic() - started >= 0.05


def test_exit_ends_the_process_without_any_clean_up(file: Path) -> None:
    file.write_text("a 1 exit\n")
    program = (
        "import asyncio, atexit, sys; from worker.failpoints import Failpoints;"
        "atexit.register(print, 'cleaned up'); asyncio.run(Failpoints(sys.argv[1]).hit('a'))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, check=False, timeout=30
    )

    assert (ended.returncode, ended.stdout) == (70, b"")
    assert fired(file) == ["a"]
