"""The alerts: about metrics that exist, with runbooks that exist, and right by promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import program
from tests.unit.deploy.test_dashboard import NAME, SUFFIX, exposed

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "scoreboard.rules.yml"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


async def test_rules_are_about_metrics_that_exist() -> None:
    known = await exposed()
    named = {SUFFIX.sub("", name) for rule in rules() for name in NAME.findall(rule["expr"])}

    assert len(named) > 10
    assert named - known == set()


def test_every_alert_has_a_runbook_that_exists_and_a_severity() -> None:
    for rule in alerts():
        assert (ROOT / rule["annotations"]["runbook"]).is_file(), rule["alert"]
        assert rule["labels"]["severity"] in {"page", "warn"}


def test_every_alert_is_named_by_the_operations_or_runbook_pages() -> None:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    named = set(re.findall(r"\bScoreboard[A-Z]\w+", text))

    assert {"ScoreboardUndecided", "ScoreboardErrorBudgetBurnsFast"} <= named
    assert named & {rule["alert"] for rule in alerts()} == named - {"ScoreboardClient"}


@pytest.mark.parametrize(
    "words", [["check", "rules", RULES.name], ["test", "rules", "scoreboard.rules.test.yml"]]
)
def test_promtool_accepts_the_rules_and_their_unit_tests(words: list[str]) -> None:
    promtool = program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, *words], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
