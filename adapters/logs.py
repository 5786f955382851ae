"""Logging of every process: one line per event, readable on a terminal, JSON otherwise."""

import logging
import sys
from collections.abc import Iterable

import structlog

from scoreboard.settings.names import unknown

log = structlog.get_logger()


def configure_logging() -> None:
    """Call once, before anything logs. Lines go to stderr; debug events are dropped."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # JSON has no room for an exception object: without this its traceback is lost.
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


def tell_unknown(names: Iterable[str]) -> None:
    """Log each variable of the environment that looks like a setting of ours and is none."""
    for sentence in unknown(names):
        log.warning("unknown_setting", problem=sentence)
