"""What commands that measure check before they start: the server's address, the environment.

Imports neither `ssl` nor Locust, which has to patch the process first.
"""

import errno
import os
import socket
import sys
from collections.abc import MutableMapping

from harness.net.http_wire import parse_base_url
from scoreboard_cli.group import COULD_NOT_TELL, CommandError, refuse
from scoreboard_cli.types import parsed

CONNECT_TIMEOUT_S = 5.0


def base_url(text: str) -> str:
    """The address of a server as typed. Raises ValueError with the form that is right."""
    try:
        parse_base_url(text)
        if any(mark in text for mark in " ?#@"):
            raise ValueError
    except ValueError:
        raise ValueError(f"must look like http://host:port, not {text!r}") from None
    return text


HOST = parsed("URL", base_url)


def reachable(url: str) -> None:
    """Returns when something listens at `url`; otherwise ends the command with a sentence.

    A name that does not resolve is wrong use; a server that is away leaves nothing to judge.
    """
    host, port, _ = parse_base_url(url)
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


def drop_locust_variables(environ: MutableMapping[str, str]) -> None:
    """Removes LOCUST_* variables, which are for Locust's own command, and says so."""
    dropped = sorted(name for name in environ if name.startswith("LOCUST_"))
    for name in dropped:
        del environ[name]
    if dropped:
        print(
            f"ignored: {', '.join(dropped)} (only the command locust reads these)", file=sys.stderr
        )
