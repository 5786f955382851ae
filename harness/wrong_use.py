"""What makes a run impossible is told before it begins, whoever begins it: a command or Locust.

Looks at options, files, disk and limits of this machine, and writes nothing. What the server
refuses is `harness.net.preflight`'s. Imports neither `ssl` nor Locust, which has to patch the
process first.
"""

import contextlib
import errno
import os
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.measure.schedule import parse_profile
from harness.measure.settings import (
    BadSettings,
    RunSettings,
    read_signing_key,
    settings_from,
)
from harness.net.server_processes import absent_processes
from harness.targets.description import Description, parse_address
from harness.targets.target_file import BadTarget, read_target_file
from scoreboard_cli.group import COULD_NOT_TELL, CommandError, refuse
from scoreboard_cli.types import parsed

CONNECT_TIMEOUT_S = 5.0
BYTES_PER_SUBMISSION = 600
"""In the histories of a run: sent, answered, and heard by listeners."""
PROCESSES_PER_CORE = 8
DESCRIPTORS_BESIDE = 64
"""Descriptors a load process has open beside its connections, generously."""


def base_url(text: str) -> str:
    """The address of a server as typed. Raises ValueError with the form that is right."""
    parse_address(text)
    return text


HOST = parsed("URL", base_url)


def reachable(url: str) -> None:
    """Returns when something listens at `url`; otherwise ends the command with a sentence.

    A name that does not resolve is wrong use; a server that is away leaves nothing to judge.
    """
    address = parse_address(url)
    host, port = address.host, address.port
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except socket.gaierror:
        refuse(f"--host {url}: there is no host {host!r}; the form is http://host:port")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        hint = (
            "start the server, or leave --host out to use the stack of this checkout"
            if error.errno == errno.ECONNREFUSED
            else "is the address right?"
        )
        raise CommandError(
            f"no server answers at {host} port {port} ({reason}): {hint}", COULD_NOT_TELL
        ) from None


def writable(flag: str, folder: Path) -> None:
    """Returns when files can be written to a folder, or it can be made; otherwise wrong use."""
    try:
        with contextlib.suppress(FileNotFoundError):
            # Names that no file can have.
            folder.lstat()
        there = _nearest(folder)
        if there.is_dir():
            tempfile.TemporaryFile(dir=there).close()
            return
    except NotADirectoryError:
        pass
    except OSError as error:
        refuse(f"{flag}: nothing can be written to {folder}: {error.strerror}")
    refuse(f"{flag}: {_nearest(folder)} is not a folder")


def writable_file(flag: str, file: Path) -> None:
    """Returns when a file of that name can be written; otherwise wrong use."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            file.lstat()
    except OSError as error:
        refuse(f"{flag}: {file}: {error.strerror}")
    if file.is_dir():
        refuse(f"{flag}: {file} is a folder, not a file")
    if file.exists() and not file.is_file():
        # A pipe or a device is written to, not replaced.
        if not os.access(file, os.W_OK):
            refuse(f"{flag}: nothing can be written to {file}: {os.strerror(errno.EACCES)}")
        return
    writable(flag, file.parent)


def _nearest(folder: Path) -> Path:
    """The folder itself, or what stands where it would be made."""
    return next((p for p in (folder, *folder.parents) if os.path.lexists(p)), Path())


def running(settings: RunSettings) -> None:
    """Returns when the processes of the server that were named exist; otherwise wrong use."""
    if absent := absent_processes(pids=settings.server_pid, name=settings.server_name):
        refuse(absent)


def room_for(settings: RunSettings) -> None:
    """Returns when the history of a run fits on the disk; otherwise wrong use."""
    needed = settings.submissions * BYTES_PER_SUBMISSION
    free = shutil.disk_usage(_nearest(Path(settings.results))).free
    if needed > free:
        refuse(
            f"--results: the history of {settings.submissions:,.0f} submissions takes about "
            f"{needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free in {settings.results}"
        )


def descriptors() -> int:
    """How many files a process may have open here, once it has asked for all; -1 is no limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def connections_that_fit(
    settings: RunSettings, *, workers: int, descriptors: int, together: bool = False
) -> int:
    """As many of `--connections` as each load process may open descriptors for; -1 is no limit.

    `workers` processes listen and as many submit, `together` the same ones. Raises BadSettings
    when the listeners do not fit: the run would end without them.
    """
    if descriptors < 0:
        return settings.connections
    each = -(-settings.listeners // workers)
    room = descriptors - DESCRIPTORS_BESIDE
    if each > room or room < 1:
        raise BadSettings(
            f"--listeners {settings.listeners} needs about {each + DESCRIPTORS_BESIDE:,} file "
            f"descriptors in a load process, and the limit is {descriptors:,}: raise it "
            "(`ulimit -Hn`), add processes (--workers, for locust --processes), or ask for fewer "
            "listeners"
        )
    left = room - each if together else room
    return max(1, min(settings.connections, left * workers))


def processes_that_fit(workers: int, cores: int) -> None:
    """Raises BadSettings for more load processes than any core could use."""
    if workers > PROCESSES_PER_CORE * cores:
        raise BadSettings(
            f"--workers {workers} starts {2 * workers:,} processes on {cores} cores: at most "
            f"{PROCESSES_PER_CORE * cores} here, and one of each kind for a core is enough"
        )


def check_run(settings: RunSettings, *, workers: int, together: bool = False) -> RunSettings:
    """The run as this machine can do it, with fewer connections if need be; otherwise wrong use.

    `workers` processes of this machine listen, 0 where nobody knows yet; `together` those that
    submit are the same.
    """
    try:
        read_signing_key(settings.signing_key)
        if workers:
            connections = connections_that_fit(
                settings, workers=workers, descriptors=descriptors(), together=together
            )
            settings = replace(settings, connections=connections)
    except (ValueError, OSError) as error:
        refuse(str(error))
    running(settings)
    writable("--results", Path(settings.results))
    room_for(settings)
    return settings


def check_options(values: Mapping[str, Any], *, host: str | None, processes: int) -> RunSettings:
    """`check_run` of parsed options with as many load processes of this machine, 0 where nobody
    knows yet; otherwise wrong use, or a ValueError with every fault."""
    settings = settings_from(values)
    if host and not settings.target:
        try:
            parse_address(host)
        except ValueError as error:
            refuse(f"--host {error}")
    described(settings.target, host)
    submits = parse_profile(settings.rate).submits
    return check_run(
        settings,
        # Each has one role, and the listeners get the smaller half.
        workers=max(1, processes // 2) if submits and processes else processes,
        together=processes == 1 and submits,
    )


def described(
    target_file: str, host: str | None, *, said_as: str = "--target "
) -> Description | None:
    """The server of `--target`, None without one; a file with faults ends the command.

    `said_as` comes before its name in the sentence.
    """
    if not target_file:
        return None
    try:
        return read_target_file(Path(target_file), os.environ, host=host or "")
    except BadTarget as error:
        refuse(said_as + str(error).removeprefix("--target "))


def warn_if_insecure(server: Description | None) -> None:
    """Says aloud that anybody could answer in the server's place."""
    if server is not None and server.tls.insecure:
        print(
            f"insecure: the certificate of {server.address.url} is not checked ([tls] insecure)",
            file=sys.stderr,
        )
