"""What a server shows beyond the specification, and what the harness can therefore ask of it. Pure.

The specification asks for `POST /scores/update`, `GET /scores` and a stream of updates. Event
ids, commit stamps, a sequence header, pages, submission ids and resuming are more than that: a
server that has none of them keeps the specification all the same. What a server does not show is
not asked of it. How the harness finds out is `harness.net.preflight`.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import msgspec

ID_BYTES_MAX = 1024
"""Longer event ids are not kept: the listener then reconnects without one."""
FAR_FROM_SEQ = 1_000_000
"""An id further than this from the sequence header of the same moment counts something else."""


class EventIds(StrEnum):
    """What the `id` fields of a stream are."""

    UNSEEN = "unseen"
    """No event has been received yet."""
    NONE = "none"
    OPAQUE = "opaque"
    """Text to be sent back on reconnect, and nothing else: UUIDs, Redis ids, ids of some events."""
    ORDERED = "ordered"
    """Decimal numbers that grow, with gaps: milliseconds, snowflakes."""
    GAPLESS = "gapless"
    """Decimal numbers, each one more than the previous."""


class StreamGzip(StrEnum):
    """How a stream is compressed for a listener that accepts gzip."""

    NOT_ASKED = "not asked"
    NONE = "none"
    CHUNKS = "self-contained chunks"
    """Equal chunks are decompressed once for all listeners."""
    ORDINARY = "ordinary"
    """Each listener has a decompressor of its own."""


class Framing(StrEnum):
    """Where the body of a stream ends."""

    UNSEEN = "unseen"
    CHUNKED = "chunked"
    LENGTH = "content length"
    CLOSE = "until close"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a server showed. None: not seen either way, so not asked."""

    sequence_header: bool | None = None
    """`Scoreboard-Seq` on GET /scores: the number of changes that the answer contains."""
    event_ids: EventIds = EventIds.UNSEEN
    commit_stamps: bool | None = None
    """`: committed <µs>` comments before events."""
    snapshots: bool | None = None
    """`event: snapshot` or `event: reset` with the board and its seq."""
    resumes: bool | None = None
    """A stream opened with `Last-Event-ID` continues there, or says with a reset that it cannot."""
    page_rows: int | None = None
    """Rows of GET /scores without a query."""
    limit: bool | None = None
    """`?limit=` is honoured."""
    offset: bool | None = None
    """`?offset=` is honoured, so that the whole board can be read."""
    submission_ids: bool | None = None
    """The answer of a POST names the submission."""
    outcome_address: bool | None = None
    """The answer of a POST carries a `Location` at which the outcome can be read."""
    stream_gzip: StreamGzip = StreamGzip.NOT_ASKED
    gzip_us_per_event: float | None = None
    """Measured here: what an event costs each listener that has a decompressor of its own."""
    gzip_kib_per_listener: float | None = None
    stream_tokens: bool | None = None
    """A stream without a token is refused."""
    stream_http: str = ""
    """HTTP version of the stream's answer: 1.0 or 1.1."""
    stream_framing: Framing = Framing.UNSEEN
    early_head: bool | None = None
    """A stream's head comes at once. False: only with the first event."""
    database: bool = False
    """The harness may read the server's MySQL."""

    @property
    def follows_ids(self) -> bool:
        """Each event is one change, and its id the change's number on the board.

        Only then listeners can be held to contiguous ids, and events joined by id. Every other
        server is judged by the content of its events. Where no stream was looked at, because the
        run has no listeners, the board's number alone tells how many changes there were.
        """
        unasked = (
            self.early_head is None
            and self.stream_framing is Framing.UNSEEN
            and self.event_ids is EventIds.UNSEEN
        )
        return self.sequence_header is True and (unasked or self.event_ids is EventIds.GAPLESS)


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a run saw of a server. None: it saw nothing of the kind."""

    event_ids: EventIds = EventIds.UNSEEN
    commit_stamps: bool | None = None
    submission_ids: bool | None = None
    outcome_address: bool | None = None


def refined(before: Capabilities, signs: Iterable[Signs]) -> Capabilities:
    """What was known before a run, and what the run showed besides. What all processes saw counts;
    ids that were followed stay as they are, since each of them was compared."""
    shown = before
    for seen in signs:
        changes: dict[str, Any] = {
            name: value if known is None else known and value
            for name in ("commit_stamps", "submission_ids", "outcome_address")
            if (value := getattr(seen, name)) is not None
            for known in (getattr(shown, name),)
        }
        if not before.follows_ids:
            changes["event_ids"] = _weaker(shown.event_ids, seen.event_ids, before)
        shown = msgspec.structs.replace(shown, **changes)
    return shown


def _weaker(one: EventIds, other: EventIds, before: Capabilities) -> EventIds:
    kinds = {one, other} - {EventIds.UNSEEN}
    if not kinds:
        return EventIds.UNSEEN
    if EventIds.NONE in kinds and len(kinds) > 1:
        return EventIds.OPAQUE
    if before.sequence_header:
        # Judged by content, so they did not prove to be the numbers of changes.
        kinds = {EventIds.ORDERED if kind is EventIds.GAPLESS else kind for kind in kinds}
    return next(kind for kind in EventIds if kind in kinds)


CONTRACT = Capabilities(
    sequence_header=True,
    event_ids=EventIds.GAPLESS,
    commit_stamps=True,
    snapshots=True,
    resumes=True,
    limit=True,
    offset=True,
    submission_ids=True,
    outcome_address=True,
    stream_http="1.1",
    stream_framing=Framing.CHUNKED,
    early_head=True,
)
"""What a server with the whole contract of docs/architecture.md shows."""


class Unlock(msgspec.Struct, frozen=True):
    """A capability and what can be asked of a server that shows it."""

    capability: str
    words: str
    unlocks: str


UNLOCKS = (
    Unlock(
        "sequence_header",
        "a Scoreboard-Seq header on GET /scores",
        "how many changes wait, and each read of the board compared with one seq",
    ),
    Unlock(
        "event_ids",
        "gapless decimal event ids",
        "each listener's events compared id by id",
    ),
    Unlock(
        "commit_stamps",
        "commit stamps on the stream",
        "lag from commit to listener",
    ),
    Unlock(
        "offset",
        "limit and offset on GET /scores",
        "every user's score, not the best ten only",
    ),
    Unlock(
        "submission_ids",
        "submission ids in the answers of POST",
        "each submission's outcome by name",
    ),
    Unlock(
        "resumes",
        "resuming after Last-Event-ID",
        "events sent while a listener was away",
    ),
    Unlock(
        "early_head",
        "a stream's head before its first event",
        "connect times",
    ),
    Unlock(
        "database",
        "a look into MySQL (--mysql-url)",
        "each submission's row in the ledger",
    ),
)
FIGURE_NEEDS = {
    "lag": "commit_stamps",
    "reach_first": "commit_stamps",
    "reach_median": "commit_stamps",
    "reach_last": "commit_stamps",
    "connect": "early_head",
    "catch_up": "event_ids",
}
"""Durations (`harness.measure.figures`) that a server must show something for."""


def shows(capabilities: Capabilities, name: str) -> bool | None:
    """Whether a server shows the capability of that name; None where it is not known."""
    if name == "event_ids":
        unseen = capabilities.event_ids is EventIds.UNSEEN
        return None if unseen else capabilities.event_ids is EventIds.GAPLESS
    value: bool | None = getattr(capabilities, name)
    return value


def why_unmeasured(capabilities: Capabilities, duration: str) -> str:
    """Why a server cannot give a duration, as words after "because"; empty where it may."""
    needed = FIGURE_NEEDS.get(duration, "")
    if not needed or shows(capabilities, needed) is not False:
        return ""
    words = next(unlock.words for unlock in UNLOCKS if unlock.capability == needed)
    return f"the server does not show {words}"


def missing(capabilities: Capabilities) -> Iterator[Unlock]:
    """What the server did not show and what each would unlock, each once."""
    return (unlock for unlock in UNLOCKS if shows(capabilities, unlock.capability) is not True)


def _cost(shown: Capabilities) -> str:
    if shown.gzip_us_per_event is None or shown.gzip_kib_per_listener is None:
        return ""
    return (
        f" (a decompressor for each listener: {shown.gzip_kib_per_listener:.0f} KiB, and "
        f"{shown.gzip_us_per_event:.1f} µs an event)"
    )


def describe(capabilities: Capabilities) -> Iterator[str]:
    """A block of lines for people: what the server shows, and what is therefore not asked."""
    shown = [u.words for u in UNLOCKS if shows(capabilities, u.capability) is True]
    stream = [
        f"event ids {capabilities.event_ids}",
        f"HTTP/{capabilities.stream_http}" if capabilities.stream_http else "",
        "" if capabilities.stream_framing is Framing.UNSEEN else capabilities.stream_framing,
        "" if capabilities.early_head is not False else "no head before the first event",
        "tokens needed" if capabilities.stream_tokens else "",
        f"gzip {capabilities.stream_gzip}{_cost(capabilities)}",
    ]
    yield "the server shows:  " + ("; ".join(shown) or "the specification, nothing beyond it")
    yield "  its streams:     " + ", ".join(filter(None, stream))
    yield "  events judged:   " + ("by id" if capabilities.follows_ids else "by content")
    for head, known in (("not asked:", False), ("asked if shown:", None)):
        for unlock in missing(capabilities):
            if shows(capabilities, unlock.capability) is known:
                yield f"  {head:<17}{unlock.unlocks} (needs {unlock.words})"
                head = ""
