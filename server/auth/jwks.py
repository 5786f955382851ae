"""Public keys from a JWKS file or URL, kept fresh. What a document may hold: `scoreboard.keys`.

Rotation: the source is read again every `interval_s`, and at once (but at most
every `backoff.JWKS`) when a token names an unknown key. A source that fails or is
malformed leaves the keys as they were.
"""

import asyncio
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from adapters.reasons import reason_of
from scoreboard import backoff
from scoreboard.keys import InvalidKeys, Key, parse_jwks

log = structlog.get_logger()

MAX_DOCUMENT_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 5.0


class JwksError(Exception):
    """The source cannot be used; the message is for the operator."""


class Jwks:
    """One source of keys."""

    def __init__(self, source: str, *, interval_s: float) -> None:
        self._source = source
        self._interval_s = interval_s
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """A token named an unknown key: look again soon."""
        self._wanted.set()

    async def load(self) -> Mapping[str, Key]:
        """The keys that the source has now. Raises JwksError."""
        try:
            document = await asyncio.to_thread(_read, self._source)
        except Exception as error:
            # Besides OSError, urllib hands on what broken HTTP makes of it.
            raise JwksError(f"cannot be read: {reason_of(error)}") from error
        try:
            return parse_jwks(document)
        except InvalidKeys as error:
            raise JwksError(str(error)) from error

    async def keep_fresh(self, on_keys: Callable[[Mapping[str, Key]], None]) -> None:
        """Read the source now and periodically, until cancelled; `on_keys` gets each new set."""
        while True:
            self._wanted.clear()
            try:
                on_keys(await self.load())
            except JwksError as error:
                log.warning("jwks_not_read", reason=str(error))
                self._wanted.set()
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
