"""Addresses and their handlers: HEAD and conditional requests beside each GET, and OPTIONS.

Not Sanic's router, to which `add_routes` adds them.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from server.http.responses import is_unmodified

Handler = Callable[..., Coroutine[Any, Any, HTTPResponse]]
"""Takes the request and the path's parameters; refuses by raising a Problem."""

_PREFLIGHT = {
    "access-control-allow-headers": (
        "authorization, cache-control, content-digest, content-type, idempotency-key,"
        " if-none-match, last-event-id, scoreboard-seq, signature, signature-input, traceparent,"
        " tracestate"
    ),
    "access-control-max-age": "600",
}


class Route(NamedTuple):
    """One method at one path; `name` is unique in the application."""

    method: str
    path: str
    name: str
    handler: Handler


def add_routes(
    app: Sanic[Any, Any],
    routes: Iterable[Route],
    *,
    base: str,
    around: Callable[[Route], Handler],
    check_origin: Callable[[Request], object],
) -> None:
    """Answer at `base` and each route's path; `around` wraps its handler.

    `check_origin` raises Problem for a page that may not ask.
    """
    methods: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        taken = [route.method]
        if route.method == "GET":
            taken = ["GET", "HEAD"]
            route = route._replace(handler=_conditional(route.handler))
        app.add_route(around(route), base + route.path, methods=taken, name=route.name)
        methods[route.path] += taken
    if base:
        methods[""] = ["GET", "HEAD"]
        app.add_route(_moved(f"{base}/"), base, methods=methods[""], name="base")
    for number, (path, taken) in enumerate(methods.items()):
        handler = around(Route("OPTIONS", path, "", _options(taken, check_origin)))
        app.add_route(handler, base + path, methods=["OPTIONS"], name=f"options_{number}")


def _conditional(handler: Handler) -> Handler:
    """The handler, with 304 in place of a representation that the client has.

    The precondition counts only where the answer would be 200 (RFC 9110, section 13.2.1).
    """

    async def answer(request: Request, **parameters: str) -> HTTPResponse:
        response = await handler(request, **parameters)
        tags = request.headers.getall("if-none-match", ())
        if tags and response.status == 200 and is_unmodified(tags, response.headers.get("etag")):
            response.headers.pop("content-encoding", None)
            return HTTPResponse(status=304, headers=response.headers)
        return response

    return answer


def _options(taken: Iterable[str], check_origin: Callable[[Request], object]) -> Handler:
    allowed = ", ".join([*sorted(taken), "OPTIONS"])

    async def answer(request: Request, **_parameters: str) -> HTTPResponse:
        headers = {"allow": allowed}
        if "origin" in request.headers:
            check_origin(request)
            headers |= {"access-control-allow-methods": allowed} | _PREFLIGHT
        return HTTPResponse(status=204, headers=headers)

    return answer


def _moved(address: str) -> Handler:
    async def answer(_request: Request) -> HTTPResponse:
        return HTTPResponse(status=308, headers={"location": address})

    return answer
