"""Starts the project's own stack for a command that found no server, and stops it again."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.net.target import Target, TargetError

READY_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 30.0


@contextlib.contextmanager
def own_stack(
    find: Callable[[], Target | None],
    *,
    folder: Path,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Target]:
    """Run `python -m stack up` until the block ends; yields what `find` then finds.

    Raises TargetError when the stack does not become ready.
    """
    say("no server runs here, so starting one (python -m stack up)")
    process = subprocess.Popen(
        [sys.executable, "-m", "stack", "up"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        # Ctrl-C is for us: the stack is stopped when the run is judged.
        start_new_session=True,
    )
    try:
        end = time.monotonic() + READY_TIMEOUT_S
        while (target := find()) is None:
            if process.poll() is not None:
                raise TargetError("the stack did not start; its own words are above")
            if time.monotonic() > end:
                raise TargetError("the stack did not become ready")
            sleep(0.2)
        yield target
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        if process.poll() is None:
            process.kill()
            process.wait()
