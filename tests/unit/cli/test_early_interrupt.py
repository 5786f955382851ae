"""Ctrl-C before a command has begun: the program ends, and says nothing."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from scoreboard_cli import early_interrupt
{handler}
early_interrupt.begins()
{between}
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""
IGNORED = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
ENDS = "early_interrupt.ends()"


@pytest.mark.parametrize(
    ("handler", "between", "code", "out", "err"),
    [
        ("", "", -signal.SIGINT, "", ""),
        ("", ENDS, -signal.SIGINT, "", "KeyboardInterrupt"),
        (IGNORED, "", 0, "went on", ""),
        (IGNORED, ENDS, 0, "went on", ""),
    ],
    ids=["imports", "command", "ignored while it imports", "ignored by the command"],
)
def test_ctrl_c_is_silent_until_a_command_begins(
    handler: str, between: str, code: int, out: str, err: str
) -> None:
    program = PROGRAM.format(handler=handler, between=between)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (code, out)
    assert done.stderr.strip().splitlines()[-1:] == ([err] if err else [])
