"""The checker convicts every planted bug and acquits the system without one."""

from pathlib import Path

import pytest

from harness.checker import Verdict, overall
from tests.chaos.gauntlet import convicted, place, run_gauntlet
from tests.chaos.mutations import MUTATIONS, names
from tests.support.services import Services

RUNS_MAX = 3


def test_the_system_without_a_planted_bug_is_acquitted(
    services: Services, redis_test_database: str, tmp_path: Path
) -> None:
    with place(services, redis_test_database, tmp_path) as at:
        findings = run_gauntlet(at)

    assert {f.invariant: f.explanations for f in findings if f.verdict is not Verdict.TRUE} == {}
    assert overall(findings) is Verdict.TRUE


@pytest.mark.parametrize("name", names())
def test_a_planted_bug_is_convicted_of_the_promise_it_breaks(
    name: str,
    services: Services,
    redis_test_database: str,
    tmp_path: Path,
) -> None:
    mutation = MUTATIONS[name]
    broken: set[str] = set()
    for run in range(1, RUNS_MAX + 1):
        with place(services, redis_test_database, tmp_path / str(run)) as at:
            findings = run_gauntlet(at, mutation=name, faults=mutation.faults, seed=run)
        broken = convicted(findings)
        if broken & mutation.breaks:
            break

    assert broken & mutation.breaks, f"{name} broke {broken or 'nothing'} in {RUNS_MAX} runs"
    print(f"{name}: convicted by {', '.join(sorted(broken))} in run {run}")
