"""The checker convicts every planted bug and acquits the system without one."""

from pathlib import Path

import uvloop

from harness.checker import Verdict, overall
from tests.chaos.gauntlet import place, run_gauntlet
from tests.support.services import Services


def test_the_system_without_a_planted_bug_is_acquitted(
    services: Services, redis_test_database: str, tmp_path: Path
) -> None:
    with place(services, redis_test_database, tmp_path) as at:
        findings = uvloop.run(run_gauntlet(at))

    assert {f.invariant: f.explanations for f in findings if f.verdict is not Verdict.TRUE} == {}
    assert overall(findings) is Verdict.TRUE
