"""The problems an API may answer, as values. Not how they become HTTP: see the server.

Problem(Exception)  a refusal with a stable code, a status and a safe detail
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProblemKind:
    """A kind of refusal: `code` is stable for programs, `title` is for people (RFC 9457)."""

    code: str
    status: int
    title: str


MALFORMED = ProblemKind(code="malformed", status=400, title="Malformed request")
UNAUTHORIZED = ProblemKind(code="unauthorized", status=401, title="Valid token required")
FORBIDDEN = ProblemKind(code="forbidden", status=403, title="Not allowed for this token")
NOT_FOUND = ProblemKind(code="not_found", status=404, title="No such resource")
METHOD_NOT_ALLOWED = ProblemKind(
    code="method_not_allowed", status=405, title="Method not allowed here"
)
REQUEST_TIMEOUT = ProblemKind(
    code="request_timeout", status=408, title="Request took too long to arrive"
)
PLAYER_EXISTS = ProblemKind(code="player_exists", status=409, title="The user id is taken")
ALREADY_DECIDED = ProblemKind(code="already_decided", status=409, title="The case has been decided")
TOO_LARGE = ProblemKind(code="too_large", status=413, title="Body too large")
URI_TOO_LONG = ProblemKind(code="uri_too_long", status=414, title="Address too long")
UNSUPPORTED_MEDIA_TYPE = ProblemKind(
    code="unsupported_media_type", status=415, title="Body must be application/json"
)
INVALID = ProblemKind(code="invalid", status=422, title="Body fails validation")
KEY_REUSED = ProblemKind(
    code="idempotency_key_reused", status=422, title="Idempotency-Key used with another body"
)
UNKNOWN_USER = ProblemKind(
    code="unknown_user", status=404, title="The submission is for a user who does not exist"
)
RATE_LIMITED = ProblemKind(code="rate_limited", status=429, title="Too many submissions")
TOO_MANY_STREAMS = ProblemKind(
    code="too_many_streams", status=429, title="Too many event streams for one client"
)
HEADER_TOO_LARGE = ProblemKind(code="header_too_large", status=431, title="Header fields too large")
INTERNAL = ProblemKind(code="internal", status=500, title="Internal error")
UNAVAILABLE = ProblemKind(code="unavailable", status=503, title="A backend is unavailable")
OVERLOADED = ProblemKind(code="overloaded", status=503, title="Too many submissions are waiting")


class Problem(Exception):
    """A request that ends in a refusal.

    `detail` is sent to the client: it never repeats input and never names
    internals. `retry_after_s` becomes Retry-After, `members` further members of
    the answer (RFC 9457, section 3.2).
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        retry_after_s: int | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{kind.code}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members = members or {}
