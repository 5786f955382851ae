"""Files that the documents name exist, so that a reader who follows them finds something."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("adapters", "scoreboard", "scoreboard_cli", "scoreboard_client", "server", "worker"),
    *("stack", "harness", "loadtests", "benchmarks", "tests", "scripts", "deploy", "docs"),
)
NAMED = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]*)(?:::\w+)?`")
LINKED = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_and_links_of_a_document_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")

    missing = [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    missing += [
        link
        for link in LINKED.findall(text)
        if "://" not in link
        and not link.startswith("mailto:")
        and not (document.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_rows_of_a_table_have_as_many_cells_as_its_head(document: Path) -> None:
    """A bar that is not escaped cuts a cell, within code as well, and the rest is not shown."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)

    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1, table


def test_the_map_names_at_least_twenty_changes() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    section = text.split("## To change X, open Y")[1].split("\n## ")[0]

    rows = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 20
