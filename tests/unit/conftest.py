"""A unit test takes at most a second, or is named here with the reason.

What counts is a test's own time: wall time without the time in which its thread was ready and the
machine ran something else, so that a busy machine changes nothing. A sleep or a wait that ends
by a time limit counts in full: those are what the budget is for.
"""

import resource
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BUDGET_S = 1.0
WITH_PROCESSES = 8
"""Times the budget for a test that waits for processes of its own: their waits are not known."""

WITH_COVERAGE = 3
"""Times the budget while branches are counted."""

SLOW = {
    "test_every_module_has_a_docstring": (8.0, "parses the whole tree when it comes first"),
    "test_imports_point_inward": (5.0, "parses much of the tree when it comes first"),
    "test_text_files_name_their_encoding": (10.0, "looks at every node of the whole tree"),
    "test_metrics_port_is_released_on_close": (
        3.0,
        "the standard library's server looks twice a second whether it shall end",
    ),
    "test_a_long_history_is_judged_in_seconds": (
        5.0,
        "judges fifty thousand submissions and three hundred streams",
    ),
    "test_a_listener_that_lost_its_stream_resumes_from_its_cursor": (
        4.0,
        "a listener stays away for up to 1.5 s",
    ),
    "test_gzip_and_plain_listeners_record_equal_events": (
        2.0,
        "listeners connect over a second, so the second one comes late",
    ),
}
"""Tests with a budget of their own in seconds, and why."""


@pytest.fixture(scope="session", autouse=True)
def first_property() -> None:
    """In a fresh clone hypothesis takes a second to read all modules for constants, and to learn
    Unicode: not out of the budget of the test that comes first."""

    @settings(max_examples=1, database=None)
    @given(st.text())
    def learn(_: str) -> None:
        pass

    learn()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed but took too long."""
    began_s, children_s = _own_s(), _children_s()
    result = yield
    took_s = _own_s() - began_s
    name = item.name.partition("[")[0]
    budget_s, _ = SLOW.get(name, (BUDGET_S, ""))
    if sys.gettrace():
        budget_s *= WITH_COVERAGE
    if _children_s() > children_s:
        budget_s *= WITH_PROCESSES
    if took_s > budget_s:
        pytest.fail(f"took {took_s:.2f} s of its own; a unit test may take {budget_s:.1f} s")
    return result


def _own_s() -> float:
    """A clock that stands still while this thread waits for a processor."""
    waited_ns = 0
    with suppress(OSError):
        # Time on the processor, time ready and not on it, turns; not every kernel counts.
        waited_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic() - waited_ns / 1e9


def _children_s() -> float:
    """CPU time of processes that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
