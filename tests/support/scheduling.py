"""Which tests go to one process of pytest-xdist together, with `--dist loadgroup`.

xdist's own mark for that adds the group to a test's node id, which pytest 9.2 no longer lets it
change. So the groups are files, named here: those whose tests share something that takes seconds
to start. Every other test goes wherever there is a process without work.
"""

from typing import Any

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


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole files where they are named, else single tests; the largest first."""

    def _split_scope(self, nodeid: Any) -> str:
        file = str(nodeid).partition("::")[0]
        return file if file in WHOLE_FILES else str(nodeid)
