"""Reads that fail: a line of the log, and a 503 that says what cannot be read. Not the reads."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from adapters.mysql import MYSQL_ERRORS
from adapters.reasons import reason_of
from adapters.redis import REDIS_ERRORS
from scoreboard.errors import UNAVAILABLE, Problem

log = structlog.get_logger()


def unreadable(what: str) -> Problem:
    """`what` in the plural, as people call it."""
    return Problem(UNAVAILABLE, f"{what} cannot be read now.", retry_after_s=1)


@contextmanager
def readable(event: str, what: str) -> Iterator[None]:
    """Raises Problem (unavailable) for what MySQL and Redis raise inside, and logs `event`."""
    try:
        yield
    except (*MYSQL_ERRORS, *REDIS_ERRORS) as error:
        log.warning(event, error=reason_of(error))
        raise unreadable(what) from None
