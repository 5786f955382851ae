"""`GET /scores/stream` and its tickets. Who may listen: `stream_gate`; what they get: `hub`."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import contract
from scoreboard.gzipped import accepts_gzip
from server.board.query import parse_flag, parse_resume
from server.http.protocol import Detached, detach
from server.http.responses import NOT_STORED, WireBytes, is_unmodified, json_response
from server.http.routing import Route
from server.stream.hub import Hub
from server.stream.stream_gate import Entry, StreamGate

_EVENT_STREAM = "text/event-stream"
_STREAM_FIELDS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "vary": "accept-encoding",
}


class StreamRoutes:
    """The handlers; `gzip`: compress for listeners that accept it; `fields` are added to heads."""

    def __init__(
        self,
        gate: StreamGate,
        hub: Hub,
        *,
        gzip: bool,
        fields: Callable[[Request], tuple[tuple[str, str], ...]],
    ) -> None:
        self._gate = gate
        self._hub = hub
        self._gzip = gzip
        self._fields = fields

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        return (
            Route("GET", contract.STREAM_PATH, "stream", self.get_stream),
            Route("POST", contract.TICKET_PATH, "ticket", self.post_ticket),
        )

    async def get_stream(self, request: Request) -> HTTPResponse:
        """Turn the connection into an event stream, which leaves Sanic."""
        arguments = request.get_args(keep_blank_values=True)
        resume = parse_resume(request.headers.getall("last-event-id", []), arguments)
        snapshot = parse_flag(arguments, "snapshot")
        # HTTP/1.0, as nginx speaks it by default, has no chunks: such a stream ends with its
        # connection, and a cut one could not be told from a whole gzip file.
        chunked = request.version != "1.0"
        gzip = (
            self._gzip and chunked and accepts_gzip(request.headers.getall("accept-encoding", ()))
        )
        head = stream_head(self._fields(request), gzip=gzip, chunked=chunked)
        entry: Entry | None = None
        try:
            entry = await self._gate.enter(request, arguments)
            opening, cursor = await self._hub.opening(resume, snapshot=snapshot)
            # No await from here on: the opening is only right at this moment.
            asked = request.headers.getall("if-none-match", ())
            if request.method == "HEAD" or is_unmodified(asked, None):
                # To `*` the answer becomes 304: there is a stream.
                return self._head_only(entry, gzip=gzip)
            listener = self._hub.attach(
                detach(request), head.dated(), opening, cursor, gzip=gzip, chunked=chunked
            )
        except BaseException:
            if entry is not None:
                entry.failed()
            raise
        if entry is not None:
            entry.opened(listener)
        raise Detached

    def _head_only(self, entry: Entry | None, *, gzip: bool) -> HTTPResponse:
        if entry is not None:
            entry.failed()
        headers = _STREAM_FIELDS | ({"content-encoding": "gzip"} if gzip else {})
        return HTTPResponse(headers=headers, content_type=_EVENT_STREAM)

    async def post_ticket(self, request: Request) -> HTTPResponse:
        """A ticket for the token's subject."""
        return json_response(await self._gate.issue_ticket(request), NOT_STORED)


@lru_cache(maxsize=64)
def stream_head(
    fields: tuple[tuple[str, str], ...], *, gzip: bool, chunked: bool = True
) -> WireBytes:
    """The status line and header fields of an event stream's response."""
    found = {"content-type": _EVENT_STREAM} | _STREAM_FIELDS
    for name, value in fields:
        found[name] = f"{found[name]}, {value}" if name in found else value
    if gzip:
        found["content-encoding"] = "gzip"
    if chunked:
        found["transfer-encoding"] = "chunked"
    found["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in found.items())
    return WireBytes(b"HTTP/1.1 200 OK\r\n", f"{lines}\r\n".encode())
