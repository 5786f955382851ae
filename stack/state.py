"""The run state file and the lock of a data folder.

`state.json` is how everything outside the stack (load generator, tests, people) finds what runs;
it is written whole at each change and removed at a clean end. The lock, not the file, decides
whether a supervisor runs: a killed one leaves its file, never its lock.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from scoreboard_cli import running_stack
from stack.data_folder import RunFolder, write_private
from stack.errors import AlreadyRunning

VERSION = 1
LOOK_S = 0.05
STOPPING_TIMEOUT_S = 20.0
"""Longest that a start waits for another one's end, which takes less than ten."""


def read_state(folder: RunFolder) -> dict[str, Any] | None:
    """The state of the supervisor that runs on this folder, or None when none does."""
    return (running_stack.read_state(folder.root) or None) if is_locked(folder) else None


def write_state(folder: RunFolder, state: dict[str, Any]) -> None:
    """Replaces the state file whole. It holds addresses with passwords, so it is private."""
    write_private(folder.state, json.dumps(state, indent=1) + "\n")


def is_locked(folder: RunFolder) -> bool:
    """Whether a supervisor runs on this folder."""
    try:
        descriptor = os.open(folder.lock, os.O_RDWR)
    except OSError:
        return False
    try:
        # Shared, so that of two who look at once neither takes the other for a supervisor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def take_lock(folder: RunFolder) -> int:
    """Holds the folder until the returned descriptor closes or this process ends, however.

    Raises AlreadyRunning with a sentence that says which process holds it and where it serves.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
    except OSError:
        os.close(descriptor)
        state = read_state(folder) or {}
        process = f" as process {state['supervisor_pid']}" if state else ""
        where = f" on {state['base_url']}" if state else ""
        raise AlreadyRunning(
            f"Scoreboard is already running{process}{where}. "
            "Stop it with Ctrl-C in its terminal or with make down."
        ) from None
    return descriptor


async def take_lock_in_turn(folder: RunFolder, say: Callable[[str], None]) -> int:
    """`take_lock`, but a supervisor that is about to end is waited for. Raises AlreadyRunning."""
    deadline = time.monotonic() + STOPPING_TIMEOUT_S
    told = False
    while True:
        try:
            return take_lock(folder)
        except AlreadyRunning:
            state = read_state(folder)
            # Without a state it has just begun, or its lock is the next to go.
            if (state and not state["stopping"]) or time.monotonic() > deadline:
                raise
        if state and not told:
            say("the one that ran before is still stopping; waiting for it")
            told = True
        await asyncio.sleep(LOOK_S)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Perhaps somebody only looks (`is_locked`), which is over by then.
        time.sleep(LOOK_S)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def record_children(folder: RunFolder, pids: list[int]) -> None:
    """Writes down who runs, so that the next start can end what a killed supervisor left."""
    known = [{"pid": pid, "birth": birth} for pid in pids if (birth := _birth(pid)) is not None]
    write_private(folder.children, json.dumps(known) + "\n")


def end_leftovers(folder: RunFolder, grace_s: float = 8.0) -> int:
    """Ends recorded children that still run; returns how many. Blocks. Call it under the lock.

    A pid may have passed to a stranger since, so the birth must match too.
    """
    family: list[psutil.Process] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for child in json.loads(folder.children.read_text("utf-8")):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(child["pid"])
                if _birth(process.pid) == child["birth"]:
                    family += [process, *process.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.terminate()
            process.resume()
    _, stubborn = psutil.wait_procs(family, timeout=grace_s)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=grace_s)
    folder.children.unlink(missing_ok=True)
    return len(family)


def _birth(pid: int) -> str | None:
    """When the process began, in ticks of this boot; None when it is gone.

    Not a time of day: the kernel derives that from a clock that gets adjusted.
    """
    try:
        # The name, in parentheses, may hold anything; the 20th field after it is the start.
        ticks = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except (OSError, IndexError):
        return None
    return f"{boot}:{ticks}"
