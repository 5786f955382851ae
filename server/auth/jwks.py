"""Public keys from a JWKS file or URL, kept fresh. What a document may hold: `scoreboard.keys`.

Rotation: the source is read again every `interval_s`, and at once (but at most
every `backoff.JWKS`) when a token names an unknown key. A source that fails or is
malformed leaves the keys as they were, until they are `max_age_s` old: then none is left.
"""

import asyncio
import math
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from adapters.reasons import reason_of
from scoreboard import backoff
from scoreboard.keys import InvalidKeys, KeySet, parse_jwks

log = structlog.get_logger()

MAX_DOCUMENT_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 5.0


class JwksError(Exception):
    """The source cannot be used; the message is for the operator."""


class Source(NamedTuple):
    """Where a document is, and the issuer whose tokens its keys prove; None: every allowed one."""

    issuer: str | None
    place: str

    @property
    def is_address(self) -> bool:
        """Whether it is fetched by HTTP; otherwise it is a file."""
        return urlsplit(self.place).scheme in ("http", "https")


def jwks_sources(value: str) -> tuple[Source, ...]:
    """The setting: files or URLs, each alone or as `issuer|place`. Raises ValueError."""
    found = []
    for entry in value.split():
        issuer, bar, place = entry.rpartition("|")
        if not place or (bar and not issuer):
            raise ValueError("must be files or URLs separated by blanks, each may be issuer|URL")
        source = Source(issuer or None, place)
        if "://" in place and not source.is_address:
            raise ValueError("must be files or URLs of http or https")
        found.append(source)
    return tuple(found)


class Jwks:
    """One source of keys."""

    def __init__(
        self,
        source: str,
        *,
        interval_s: float,
        max_age_s: float = math.inf,
        issuer: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._issuer = issuer
        self._interval_s = interval_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """A token named an unknown key: look again soon."""
        self._wanted.set()

    async def load(self) -> KeySet:
        """The keys that the source has now. Raises JwksError."""
        try:
            document = await asyncio.to_thread(_read, self._source)
        except Exception as error:
            # Besides OSError, urllib hands on what broken HTTP makes of it.
            raise JwksError(f"cannot be read: {reason_of(error)}") from error
        try:
            return parse_jwks(document, self._issuer)
        except InvalidKeys as error:
            raise JwksError(str(error)) from error

    async def keep_fresh(self, on_keys: Callable[[KeySet], None]) -> None:
        """Read the source now and periodically, until cancelled; `on_keys` gets each new set."""
        read_at: float | None = None
        while True:
            self._wanted.clear()
            try:
                on_keys(await self.load())
                read_at = self._clock()
            except JwksError as error:
                log.warning("jwks_not_read", source=self._source, reason=str(error))
                self._wanted.set()
                if read_at is not None and self._clock() - read_at > self._max_age_s:
                    # Whoever revokes all keys by taking the document away is heard at last.
                    log.error("jwks_too_old", source=self._source, max_age_s=self._max_age_s)
                    on_keys({})
                    read_at = None
            await asyncio.sleep(min(backoff.JWKS.first_s, self._interval_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._interval_s - backoff.JWKS.first_s)):
                    await self._wanted.wait()


def _read(source: str) -> bytes:
    if urlsplit(source).scheme not in ("http", "https"):
        document = Path(source).read_bytes()
    else:
        with urllib.request.urlopen(source, timeout=FETCH_TIMEOUT_S) as response:
            document = response.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError("too large")
    return document
