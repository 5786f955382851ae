"""What kind of ids and stamps the events of a run bear, seen once per stretch of bytes. No I/O."""

from harness.capabilities import EventIds, Signs
from harness.net.sse_parser import Kind, Span

IDS_SEEN_MAX = 1000
"""After so many different ids their kind is known."""


class EventSigns:
    """Looks at the spans of one process as they are first received. Bounded."""

    def __init__(self) -> None:
        self._events = self._with_id = self._numbers = 0
        self._stamps = False
        self._seen: set[int] = set()
        self._newest = -1
        self._grows = True

    def see(self, span: Span) -> None:
        """Take note of a fresh span."""
        if len(self._seen) >= IDS_SEEN_MAX:
            return
        self._stamps = self._stamps or any(stamp for stamp, _, _ in span.groups)
        for item in span.items:
            if item.kind is not Kind.UPDATE:
                continue
            self._events += 1
            self._with_id += item.last_event_id is not None
            if item.id >= 0:
                self._numbers += 1
                self._grows = self._grows and (item.id > self._newest or item.id in self._seen)
                self._newest = max(self._newest, item.id)
                self._seen.add(item.id)

    @property
    def signs(self) -> Signs:
        """What was seen so far."""
        if not self._events:
            return Signs()
        return Signs(event_ids=self._ids(), commit_stamps=self._stamps)

    def _ids(self) -> EventIds:
        if not self._with_id:
            return EventIds.NONE
        if self._numbers < self._events or not self._grows:
            return EventIds.OPAQUE
        gapless = self._newest - min(self._seen) + 1 == len(self._seen)
        return EventIds.GAPLESS if gapless else EventIds.ORDERED
