"""The time budget of unit tests: what it counts and what it spares."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit import conftest


def run(test: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `test` as pytest would, between the two halves of the hook, with a budget of 0.03 s."""
    item: Any = SimpleNamespace(name="test_something[case]")
    # Not for longer: the same hook is around the test that calls this.
    with monkeypatch.context() as patch:
        patch.setattr(conftest, "BUDGET_S", 0.03)
        patch.setattr(conftest, "WITH_COVERAGE", 1)
        hook = conftest.pytest_runtest_call(item)
        next(hook)
        test()
        with pytest.raises(StopIteration):
            hook.send(None)


def test_a_sleep_beyond_the_budget_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.fail.Exception, match="a unit test may take"):
        run(lambda: time.sleep(0.04), monkeypatch)


def test_a_test_within_the_budget_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    run(lambda: None, monkeypatch)


def test_a_named_test_has_the_budget_given_beside_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(conftest.SLOW, "test_something", (0.5, "for a reason"))

    run(lambda: time.sleep(0.04), monkeypatch)


def test_a_test_with_processes_of_its_own_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "WITH_PROCESSES", 200)

    def test() -> None:
        subprocess.run([sys.executable, "-c", ""], check=True)
        time.sleep(0.04)

    run(test, monkeypatch)


def test_every_named_test_exists() -> None:
    files = Path(__file__).parent.rglob("test_*.py")
    written = "".join(path.read_text("utf-8") for path in files)

    assert [name for name in conftest.SLOW if f"def {name}(" not in written] == []
