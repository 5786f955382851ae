"""What a swarm is told: which server, how many listeners, how they come, leave and return."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.capabilities import CONTRACT, Capabilities
from harness.engines.churn import Churn
from harness.net.http_wire import stream_request
from harness.net.sse_parser import AS_SPECIFIED, Reading
from harness.net.tls import Wrap


@dataclass(frozen=True, kw_only=True)
class SwarmSettings:
    """What a swarm needs. `start_unix_ns` is second 0 of the series.

    Listeners carry the `tokens` in turn, so that there is one per player, not per listener.
    Every `gzip_every`-th accepts gzip, as every browser does, and every `snapshot_every`-th asks
    for a snapshot where it has nothing to resume from; 0 is none of them.

    A listener comes back when the server's `retry` says, or within `reconnect_s` where that is
    given. A stream silent for `silence_ns` is given up; 0 waits for ever. What listeners are held
    to follows from the server's `capabilities`.

    `wrap` makes a socket speak TLS. Where a server is not as specified, `request` builds the GET of
    listener n (counted from `first_number`) from after an id. `reading` is how events are read.
    """

    address: tuple[str, int]
    host_header: str
    listeners: int
    start_unix_ns: int
    first_number: int = 0
    connect_per_s: float = 5000.0
    seed: int = 1
    kernel_stamps: bool = True
    tokens: Sequence[str] = field(default=(), repr=False)
    gzip_every: int = 0
    snapshot_every: int = 0
    reconnect_s: tuple[float, float] | None = None
    silence_ns: int = 0
    churn: Sequence[Churn] = ()
    capabilities: Capabilities = CONTRACT
    events_max: int = 1_000_000
    """Where events have no ids to follow, how many different ones are kept apart."""
    wrap: Wrap | None = None
    request: Callable[[int, int | bytes | None], bytes] | None = None
    reading: Reading = AS_SPECIFIED

    def opening_request(self, index: int, last_event_id: int | bytes | None) -> bytes:
        """The GET with which a listener opens its stream, from after an id if it has one."""
        if self.request is not None:
            return self.request(index, last_event_id)
        return stream_request(
            self.host_header,
            last_event_id,
            self.tokens[index % len(self.tokens)] if self.tokens else "",
            gzip=_every(index, self.gzip_every),
            snapshot=_every(index, self.snapshot_every),
        )


def _every(index: int, nth: int) -> bool:
    return nth > 0 and index % nth == 0
