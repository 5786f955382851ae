"""Which tests go to one process of pytest-xdist together, with `--dist loadgroup`.

xdist's own mark for that adds the group to a test's node id, which pytest 9.2 no longer lets it
change. So the groups are files, named here: those whose tests share something that takes seconds
to start. Every other test goes wherever there is a process without work.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

WHOLE_FILES = frozenset(
    {
        "tests/benchmarks/test_literal_stack.py",
        "tests/browser/test_board_page.py",
        "tests/browser/test_operator_page.py",
        "tests/chaos/test_durability.py",
        "tests/harness/test_lawful_servers.py",
        "tests/harness/test_trouble.py",
        "tests/integration/test_client_distribution.py",
        "tests/integration/test_ledger.py",
        "tests/integration/test_stack_up.py",
    }
)

LONG = (
    "tests/benchmarks/test_peers.py",
    "tests/chaos/test_chaos_run.py",
    "tests/chaos/test_planted_bugs.py",
    "tests/e2e/test_guarded_load.py",
    "tests/e2e/test_load.py",
    "tests/e2e/test_restarts.py",
    "tests/e2e/test_shared_port.py",
    "tests/harness/test_capacity_command.py",
    "tests/harness/test_literal_servers.py",
    "tests/harness/test_load.py",
    "tests/harness/test_locust.py",
    "tests/harness/test_side_by_side.py",
    "tests/harness/test_targets_page.py",
    "tests/harness/test_web_tab.py",
    "tests/integration/test_reads_across_processes.py",
    "tests/integration/test_stack_ends.py",
    "tests/integration/test_temporal_settings.py",
    "tests/integration/test_workflow.py::test_a_worker_killed_at_every_point_leaves_one_effect",
    "tests/model/",
)
"""Tests that take ten seconds and more. They come first, since the last test keeps one process busy
while the others have no work left."""


def long_first(items: list[pytest.Item]) -> None:
    """Put the long tests before the others; both stay in the order they are in."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole files where they are named, else single tests; the largest first."""

    def _split_scope(self, nodeid: Any) -> str:
        file = str(nodeid).partition("::")[0]
        return file if file in WHOLE_FILES else str(nodeid)
