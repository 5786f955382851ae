"""Why a service failed, for the logs: its own number and words, and no secret.

Not for answers to clients: what goes wrong inside stays in the log.
"""

import re

from temporalio.service import RPCError

REASON_MAX_CHARS = 300

_CREDENTIALS = re.compile(r"(\w+://[^:/@\s]*):[^@\s]*@")
_PYTHONS_NUMBER = re.compile(r"\[Errno -?\d+\] |Error -?\d+ (?=connecting|while)")


def reason_of(error: BaseException) -> str:
    """One line: `OperationalError: 1045 Access denied for user …`; the class alone says little.

    A server's message names users, hosts, tables and commands, and never a password. Addresses
    with credentials, which a client may repeat, lose them.
    """
    words = _words(error).partition("\n")[0].strip()
    cause = error.__cause__
    if cause is not None and (why := _words(cause).partition("\n")[0].strip()) not in words:
        # "Can't connect" with a certificate that nobody trusts.
        words = f"{words} ({type(cause).__name__}: {why})".strip()
    words = _CREDENTIALS.sub(r"\1:***@", words)
    name = type(error).__name__
    return f"{name}: {words}"[:REASON_MAX_CHARS] if words else name


def _words(error: BaseException) -> str:
    if isinstance(error, RPCError):
        return f"{error.status.name} {error.message}"
    number, *rest = error.args or ("",)
    if isinstance(number, int) and rest:
        # MySQL's number and text, or those of the operating system.
        text = str(rest[0])
        return text if isinstance(error, OSError) else f"{number} {_PYTHONS_NUMBER.sub('', text)}"
    text = _PYTHONS_NUMBER.sub("", str(error))
    if not text and isinstance(error, TimeoutError):
        return "no answer in time"
    return text
