"""What a process that logs to a file or a collector writes."""

import json
import subprocess
import sys

PROGRAM = """
import structlog
from adapters.logs import configure_logging

configure_logging()
log = structlog.get_logger()
log.debug("detail")
log.info("started", port=3000)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("step_failed")
"""


def test_lines_are_json_with_tracebacks_and_without_debug_events() -> None:
    written = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stderr

    started, failed = map(json.loads, written.splitlines())
    assert (started["event"], started["level"], started["port"]) == ("started", "info", 3000)
    assert failed["event"] == "step_failed"
    assert "ZeroDivisionError" in failed["exception"]
