"""Reads of the board as a traffic class of their own: open loop, conditional, percentiles apart.

A `Submitter` that sends GETs. Every reader of a process knows the newest ETag that one of them was
given, as a page that polls does, and sends it back; a 304 is an answer like any other, counted
besides.
"""

from collections.abc import Callable, Iterator
from typing import Any

from harness.engines.submitter import FAIL, OK, UNKNOWN, Submitter, SubmitterSettings
from harness.net.http_wire import header_of

COUNTERS = {
    "intended": "reads_intended",
    "ok": "reads_ok",
    "fail": "reads_failed",
    "unknown": "reads_failed",
    "dropped": "reads_dropped",
    "status_304": "reads_not_modified",
}
"""Counters of the engine that a run keeps, under names of their own."""


class BoardReader(Submitter):
    """The engine. `request` builds the GET of read n with an ETag, empty for none."""

    def __init__(
        self,
        settings: SubmitterSettings,
        arrivals: Iterator[tuple[int, int]],
        request: Callable[[int, str], bytes],
    ) -> None:
        self._etag = ""
        super().__init__(
            settings,
            arrivals,
            lambda _: (0, 0),
            lambda number, _user, _increment: request(number, self._etag),
            read_answer=self._read,
        )

    def _content_of(self, answer: bytes) -> bytes:
        return answer

    def _read(self, status: int, answer: bytes) -> tuple[str, None]:
        if status == 200:
            self._etag = header_of(answer, "etag") or ""
        if status in (200, 304):
            return OK, None
        return (FAIL if 400 <= status < 500 else UNKNOWN), None

    def take_figures(self) -> list[list[Any]]:
        """The series since the last time, under the names that a run keeps them by."""
        # What was sent is no evidence: a read changes nothing.
        self.take_records()
        found: list[list[Any]] = []
        for number, counters, histograms in self.series.drain():
            kept: dict[str, int] = {}
            for name, ours in COUNTERS.items():
                if count := counters.get(name, 0):
                    kept[ours] = kept.get(ours, 0) + count
            times = {"read": histograms["response"]} if "response" in histograms else {}
            found.append([number, kept, times])
        return found
