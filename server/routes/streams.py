"""`GET /scores/stream` and its tickets. Who may listen: `stream_gate`; what they get: `hub`."""

from collections.abc import Sequence
from functools import lru_cache

from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import contract
from scoreboard.errors import MALFORMED, Problem
from scoreboard.gzipped import accepts_gzip
from server.board.query import parse_flag, parse_resume
from server.http.protocol import Detached, detach
from server.http.responses import NOT_STORED, json_response
from server.http.routing import Route
from server.stream.hub import Hub
from server.stream.stream_gate import Entry, StreamGate

_PREFLIGHT = {
    "access-control-allow-headers": "authorization, last-event-id",
    "access-control-max-age": "600",
}


class StreamRoutes:
    """The handlers; `gzip`: compress for listeners that accept it."""

    def __init__(self, gate: StreamGate, hub: Hub, *, gzip: bool) -> None:
        self._gate = gate
        self._hub = hub
        self._gzip = gzip

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        stream, ticket = contract.STREAM_PATH, contract.TICKET_PATH
        return (
            Route("GET", stream, "stream", self.get_stream),
            Route("POST", ticket, "ticket", self.post_ticket),
            Route("OPTIONS", stream, "stream_preflight", self.preflight),
            Route("OPTIONS", ticket, "ticket_preflight", self.preflight),
        )

    async def get_stream(self, request: Request) -> HTTPResponse:
        """Turn the connection into an event stream, which leaves Sanic."""
        arguments = request.get_args(keep_blank_values=True)
        resume = parse_resume(request.headers.getall("last-event-id", []), arguments)
        if request.version != "1.1":
            raise Problem(MALFORMED, "The event stream needs HTTP/1.1.")
        snapshot = parse_flag(arguments, "snapshot")
        entry: Entry | None = None
        try:
            entry = await self._gate.enter(request, arguments)
            opening, cursor = await self._hub.opening(resume, snapshot=snapshot)
            # No await from here on: the opening is only right at this moment.
            gzip = self._gzip and accepts_gzip(request.headers.getall("accept-encoding", ()))
            head = stream_head(() if entry is None else entry.headers, gzip=gzip)
            listener = self._hub.attach(detach(request), head, opening, cursor, gzip=gzip)
        except BaseException:
            if entry is not None:
                entry.failed()
            raise
        if entry is not None:
            entry.opened(listener)
        raise Detached

    async def post_ticket(self, request: Request) -> HTTPResponse:
        """A ticket for the token's subject."""
        cors, ticket = await self._gate.issue_ticket(request)
        return json_response(ticket, dict(cors) | NOT_STORED)

    async def preflight(self, request: Request) -> HTTPResponse:
        """Whether a page of another origin may send a token (CORS)."""
        return HTTPResponse(status=204, headers=dict(self._gate.cors(request)) | _PREFLIGHT)


@lru_cache(maxsize=64)
def stream_head(headers: tuple[tuple[str, str], ...], *, gzip: bool) -> bytes:
    """The status line and headers of an event stream's response."""
    return (
        "HTTP/1.1 200 OK\r\n"
        "content-type: text/event-stream\r\n"
        "cache-control: no-store\r\n"
        "x-accel-buffering: no\r\n"
        "vary: accept-encoding\r\n"
        + ("content-encoding: gzip\r\n" if gzip else "")
        + "".join(f"{name}: {value}\r\n" for name, value in headers)
        + "transfer-encoding: chunked\r\n"
        "connection: close\r\n\r\n"
    ).encode()
