"""Ctrl-C while a program is still being imported: it ends without a traceback.

Not how a command takes Ctrl-C: from its run on that is an exception, as anywhere in Python.
"""

import contextlib
import signal
from collections.abc import Sequence


def run(prog: str, arguments: Sequence[str] | None = None, *, package: str = "") -> int:
    """`scoreboard_cli.group.run`, whose imports take the time that this module is for."""
    begins()
    from scoreboard_cli.group import run

    return run(prog, arguments, package=package)


def begins() -> None:
    """Nothing has been done yet that needs an end of its own."""
    _replace(signal.default_int_handler, signal.SIG_DFL)


def ends() -> None:
    """From here on Ctrl-C is an exception."""
    _replace(signal.SIG_DFL, signal.default_int_handler)


def _replace(old: object, new: "signal._HANDLER") -> None:
    # Whoever started us may have said that Ctrl-C is not for us; only the main thread may say more.
    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGINT) is old:
            signal.signal(signal.SIGINT, new)
