"""Public keys from a JWKS file or URL, kept fresh. What a document may hold: `scoreboard.keys`.

Rotation: the source is read again every `interval_s`, and at once (but not more
often than `backoff.JWKS`) when a token names a key that is not known. A source that
fails or holds nonsense leaves the keys as they were.
"""

import asyncio
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from scoreboard import backoff
from scoreboard.keys import InvalidKeys, Key, parse_jwks

log = structlog.get_logger()

MAX_DOCUMENT_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 5.0


class JwksError(Exception):
    """The source cannot be used; the message is for the operator."""


class Jwks:
    """One source of keys; `on_keys` is told each new set."""

    def __init__(
        self, source: str, *, interval_s: float, on_keys: Callable[[Mapping[str, Key]], None]
    ) -> None:
        self._source = source
        self._interval_s = interval_s
        self._on_keys = on_keys
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """A token named an unknown key: look again soon."""
        self._wanted.set()

    async def load(self) -> None:
        """Read the source now. Raises JwksError."""
        try:
            document = await asyncio.to_thread(_read, self._source)
        except Exception as error:
            # Besides OSError, urllib hands on what broken HTTP makes of it.
            raise JwksError(f"cannot be read: {type(error).__name__}") from error
        try:
            self._on_keys(parse_jwks(document))
        except InvalidKeys as error:
            raise JwksError(str(error)) from error

    async def keep_fresh(self) -> None:
        """Read the source now and again and again, until cancelled."""
        while True:
            self._wanted.clear()
            try:
                await self.load()
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
