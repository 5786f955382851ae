"""The load processes of a session: forks of it, each of them a Locust worker in the end.

A new interpreter would take a second of a processor to import what the session has imported. They
are forked before the session does anything; each then waits to be told the master's port. Not what
they do as workers, which is `harness.run`'s.
"""

import contextlib
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import gevent
import gevent.os
import locust.main

from harness.run.locust_setup import PARENT_VARIABLE

STOP_S = 5.0
LOOK_EVERY_S = 0.02
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class LoadProcess:
    """One of them. It ends when its session does."""

    def __init__(self, pid: int, tell: int) -> None:
        self.pid = pid
        self._tell: int | None = tell
        self._code: int | None = None

    def start(self, port: int) -> None:
        """Have it work for the master at this port."""
        if self._tell is not None:
            # One that has died is found by `ended`.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._tell, str(port).encode())
        self.dismiss()

    def dismiss(self) -> None:
        """Tell it no more; one that was not started ends."""
        if self._tell is not None:
            _close(self._tell)
            self._tell = None

    @property
    def ended(self) -> bool:
        """Whether it has."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None


def stop(processes: Sequence[LoadProcess], patience_s: float = STOP_S) -> None:
    """Wait for the end of all, and make one where it does not come."""
    for process in processes:
        process.dismiss()
    end = time.monotonic() + patience_s
    while left := [process for process in processes if not process.ended]:
        if time.monotonic() >= end:
            for process in left:
                os.kill(process.pid, signal.SIGKILL)
        gevent.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def forked(count: int, locustfile: Path, folder: Path) -> Iterator[list[LoadProcess]]:
    """So many load processes, which run the scenario in `folder`.

    Yields with SIGINT and SIGTERM held back, so that the caller may say first what they do.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # What exists now is never collected, so that no fork copies it for its collector's notes.
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    processes: list[LoadProcess] = []
    told: list[int] = []
    session = os.getpid()
    for _ in range(count):
        hear, tell = os.pipe()
        pid = gevent.os.fork_and_watch()
        if pid == 0:
            _become_worker(hear, (*told, tell), session, locustfile, folder)
        _close(hear)
        told.append(tell)
        processes.append(LoadProcess(pid, tell))
    try:
        yield processes
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        stop(processes)


def release_signals() -> None:
    """Let those come that were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _become_worker(
    hear: int, others: Sequence[int], session: int, locustfile: Path, folder: Path
) -> None:
    """All that a fork does; never returns."""
    code = 1
    try:
        for descriptor in others:
            _close(descriptor)
        # A session of its own: Ctrl-C is for the master, which still needs its workers.
        os.setsid()
        release_signals()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        port = os.read(hear, 16).decode()
        _close(hear)
        if port:
            os.environ[PARENT_VARIABLE] = str(session)
            os.chdir(folder)
            sys.path.insert(0, str(folder))
            sys.argv = [
                *("locust", "-f", str(locustfile), "--worker"),
                *("--master-host", "127.0.0.1", "--master-port", port, "--loglevel", "WARNING"),
            ]
            locust.main.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _close(descriptor: int) -> None:
    """At once: gevent's own `os.close` waits for the loop, which a fork does not run."""
    os.closerange(descriptor, descriptor + 1)
