"""Every test that docs/specification.md cites exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CITED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_cited_test_exists() -> None:
    cited = CITED.findall((ROOT / "docs" / "specification.md").read_text("utf-8"))

    assert len(cited) > 20
    missing = [
        f"{file}::{name}"
        for file, name in cited
        if not (ROOT / file).is_file()
        or (name and f"def {name}(" not in (ROOT / file).read_text("utf-8"))
    ]
    assert missing == []
