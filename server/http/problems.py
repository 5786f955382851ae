"""Turns refusals and failures into RFC 9457 responses; the only place that does.

A response repeats nothing that the client sent and reveals nothing internal: unknown
exceptions become `internal`, and their traceback goes to the log.
"""

import math
import time
from functools import lru_cache

import msgspec
import structlog
from sanic import exceptions
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard.errors import (
    FORBIDDEN,
    HEADER_TOO_LARGE,
    INTERNAL,
    MALFORMED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    RATE_LIMITED,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    UNAUTHORIZED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    URI_TOO_LONG,
    Problem,
    ProblemKind,
)
from scoreboard.ratelimit import RateLimit
from server.http.head import METHODS
from server.http.protocol import RefusedHead
from server.http.routing import Handler

log = structlog.get_logger()

CONTENT_TYPE = "application/problem+json"
LOG_INTERVAL_S = 1.0

_BY_STATUS: dict[int, tuple[ProblemKind, str]] = {
    401: (UNAUTHORIZED, "Send a valid bearer token."),
    403: (FORBIDDEN, "This token does not allow it."),
    404: (NOT_FOUND, "There is nothing at this address."),
    405: (METHOD_NOT_ALLOWED, "This address does not take that method."),
    408: (REQUEST_TIMEOUT, "The request took too long to arrive."),
    413: (TOO_LARGE, "The request is too large."),
    414: (URI_TOO_LONG, "The address is too long."),
    415: (UNSUPPORTED_MEDIA_TYPE, "Send the body without a content coding."),
    431: (HEADER_TOO_LARGE, "The header fields are too large."),
    503: (UNAVAILABLE, "The answer took too long; its effect is unknown."),
}


class Problems(ErrorHandler):
    """Sanic's error handler: every exception of a request ends up here."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__()
        window_s = math.ceil(limit.window_us / 1_000_000)
        # draft-ietf-httpapi-ratelimit-headers-11: items of one policy.
        self._policy = f'"per-user";q={limit.count};w={window_s}'
        self._quota_lines = lru_cache(maxsize=4096)(self._quota_line)
        # By code: when a refusal was last logged, and how many were suppressed since.
        self._logged: dict[str, tuple[float, int]] = {}

    def quota(self, left: int) -> dict[str, str]:
        """The fields that tell the sender of an accepted submission what is left."""
        return {"ratelimit-policy": self._policy, "ratelimit": f'"per-user";r={left}'}

    def quota_line(self, left: int) -> bytes:
        """The same as lines of a head."""
        return self._quota_lines(left)

    def _quota_line(self, left: int) -> bytes:
        return "".join(f"{name}: {value}\r\n" for name, value in self.quota(left).items()).encode()

    def answering(self, handler: Handler) -> Handler:
        """The handler, with its Problems answered here: cheaper than an exception inside Sanic."""

        async def answer(request: Request, **parameters: str) -> HTTPResponse:
            try:
                return await handler(request, **parameters)
            except Problem as problem:
                return self.answer(problem, path=request.path)

        return answer

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """The response for any exception."""
        if isinstance(exception, Problem):
            return self.answer(exception, path=request.path)
        headers = {}
        if isinstance(exception, exceptions.RequestCancelled):
            # The client has gone: nobody gets this answer, and nothing is wrong here.
            return HTTPResponse(status=UNAVAILABLE.status)
        if isinstance(exception, exceptions.SanicException) and exception.status_code != 500:
            status = exception.status_code
            fallback = (MALFORMED, "The request is not valid HTTP/1.1.")
            kind, detail = _BY_STATUS.get(status, fallback)
            problem = Problem(kind, detail, retry_after_s=1 if status == 503 else None)
            if "Allow" in exception.headers:
                headers["allow"] = exception.headers["Allow"]
            elif status == 405:
                headers["allow"] = ", ".join(METHODS)
            if status == 415:
                headers["accept-encoding"] = "identity"
            if isinstance(exception, RefusedHead):
                self._log("head_refused", kind.code, status=status, reason=exception.reason)
        else:
            log.error("request_failed", path=request.path, exc_info=exception)
            problem = Problem(INTERNAL, "The request failed; its effect is unknown.")
        response = self.answer(problem, path=request.path)
        response.headers.update(headers)
        return response

    def answer(self, problem: Problem, *, path: str = "") -> HTTPResponse:
        """The response for a problem. Logs 5xx refusals."""
        kind = problem.kind
        if kind.status >= 500 and kind is not INTERNAL:
            self._log_refusal(problem, path)
        headers: dict[str, str] = {"cache-control": "no-store"}
        if problem.retry_after_s is not None:
            headers["retry-after"] = str(problem.retry_after_s)
        if kind is RATE_LIMITED:
            headers["ratelimit-policy"] = self._policy
            headers["ratelimit"] = f'"per-user";r=0;t={problem.retry_after_s or 1}'
        if kind is UNAUTHORIZED:
            headers["www-authenticate"] = 'Bearer realm="scoreboard"'
        return HTTPResponse(
            msgspec.json.encode(
                {
                    "type": f"urn:scoreboard:problem:{kind.code}",
                    "title": kind.title,
                    "status": kind.status,
                    "code": kind.code,
                    "detail": problem.detail,
                    **problem.members,
                }
            ),
            status=kind.status,
            headers=headers,
            content_type=CONTENT_TYPE,
        )

    def _log_refusal(self, problem: Problem, path: str) -> None:
        code = problem.kind.code
        self._log("request_refused", code, path=path, code=code, detail=problem.detail)

    def _log(self, event: str, key: str, **about: object) -> None:
        """At most one line a second per key: an unavailable backend refuses thousands."""
        now = time.monotonic()
        logged_at, suppressed = self._logged.get(key, (-math.inf, 0))
        if now - logged_at < LOG_INTERVAL_S:
            self._logged[key] = (logged_at, suppressed + 1)
            return
        self._logged[key] = (now, 0)
        log.warning(event, suppressed=suppressed, **about)
