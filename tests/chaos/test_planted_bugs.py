"""The checker convicts every planted bug and acquits the system without one."""

from pathlib import Path

import pytest

from harness.checker import Verdict, overall
from tests.chaos.gauntlet import place, run_gauntlet, runs_until_convicted
from tests.chaos.mutations import names
from tests.support.services import Services

RUNS_MAX = 5
"""As many as `python -m tests.chaos.convictions` takes."""


def test_the_system_without_a_planted_bug_is_acquitted(
    services: Services, redis_test_database: str, tmp_path: Path
) -> None:
    for run in range(1, RUNS_MAX + 1):
        with place(services, redis_test_database, tmp_path / str(run)) as at:
            findings = run_gauntlet(at, seed=run)
        # A slow machine may see too little, which another run may mend; a violation, never.
        if overall(findings) is not Verdict.UNKNOWN:
            break

    assert {f.invariant: f.explanations for f in findings if f.verdict is not Verdict.TRUE} == {}


@pytest.mark.parametrize("name", names())
def test_a_planted_bug_is_convicted_of_the_promise_it_breaks(
    name: str, services: Services, redis_test_database: str, tmp_path: Path
) -> None:
    runs, broken, _ = runs_until_convicted(
        services, redis_test_database, tmp_path, name, runs_max=RUNS_MAX
    )

    assert runs, f"{name} broke {broken or 'nothing'} in {RUNS_MAX} runs"
