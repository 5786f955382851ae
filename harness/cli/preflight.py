"""What commands that measure check before they start: the server's address, the environment.

Imports neither `ssl` nor Locust, which has to patch the process first.
"""

import errno
import os
import socket
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from harness.measure.settings import RunSettings
from harness.net.server_processes import absent_processes
from harness.targets.description import Description, parse_address
from harness.targets.target_file import BadTarget, read_target_file
from scoreboard_cli.group import COULD_NOT_TELL, CommandError, refuse
from scoreboard_cli.types import parsed

CONNECT_TIMEOUT_S = 5.0
BYTES_PER_SUBMISSION = 600
"""In the histories of a run: sent, answered, and heard by listeners."""


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
    """Returns when files can be written to a folder, which is made; otherwise wrong use."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (FileExistsError, NotADirectoryError):
        refuse(f"{flag}: {folder} is not a folder")
    except OSError as error:
        refuse(f"{flag}: nothing can be written to {folder}: {error.strerror}")


def writable_file(flag: str, file: Path) -> None:
    """Returns when a file of that name can be written; otherwise wrong use."""
    if file.is_dir():
        refuse(f"{flag}: {file} is a folder, not a file")
    writable(flag, file.parent)


def running(settings: RunSettings) -> None:
    """Returns when the processes of the server that were named exist; otherwise wrong use."""
    if absent := absent_processes(pids=settings.server_pid, name=settings.server_name):
        refuse(absent)


def room_for(settings: RunSettings, free_bytes: int) -> None:
    """Returns when the history of a run fits on the disk; otherwise wrong use."""
    submissions = settings.submissions
    if submissions * BYTES_PER_SUBMISSION > free_bytes:
        refuse(
            f"--results: the history of {submissions:,.0f} submissions takes about "
            f"{submissions * BYTES_PER_SUBMISSION / 1e6:,.0f} MB, and {free_bytes / 1e6:,.0f} MB "
            f"are free in {settings.results}"
        )


def described(target_file: str, host: str | None) -> Description | None:
    """The server of `--target`, None without one; a file with faults ends the command."""
    if not target_file:
        return None
    try:
        return read_target_file(Path(target_file), os.environ, host=host or "")
    except BadTarget as error:
        refuse(str(error))


def warn_if_insecure(server: Description | None) -> None:
    """Says aloud that anybody could answer in the server's place."""
    if server is not None and server.tls.insecure:
        print(
            f"insecure: the certificate of {server.address.url} is not checked ([tls] insecure)",
            file=sys.stderr,
        )


def drop_locust_variables(environ: MutableMapping[str, str]) -> None:
    """Removes LOCUST_* variables, which are for Locust's own command, and says so."""
    dropped = sorted(name for name in environ if name.startswith("LOCUST_"))
    for name in dropped:
        del environ[name]
    if dropped:
        print(
            f"ignored: {', '.join(dropped)} (only the command locust reads these)", file=sys.stderr
        )
