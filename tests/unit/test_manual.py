"""Generated pages are what the settings and the client's source say."""

import subprocess
import sys
from pathlib import Path

from stack.manual import configuration

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"


def test_the_configuration_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == configuration(), "run: python -m stack.manual"


def test_the_reference_of_the_python_client_is_up_to_date() -> None:
    program = "scripts/client_reference.py"

    done = subprocess.run(
        (sys.executable, program), cwd=ROOT, check=True, capture_output=True, timeout=60
    )

    page = (ROOT / "docs" / "client-reference.md").read_bytes()
    assert done.stdout == page, f"run: python {program} > docs/client-reference.md"
