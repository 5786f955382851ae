"""A few requests before any load: does the server take what the run will send, and what does it
show beyond the specification?

The POST has a valid token and an empty body, which no server may apply, so the board stays as it
is. Not a test of the server: what it does not show is not asked of it later
(`harness.capabilities`).
"""

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from harness.capabilities import Capabilities
from harness.net.http_wire import SubmissionRequests, stream_request, submission_id_of
from harness.net.stream_look import StreamLook, look_at_stream, of_streams
from harness.net.target import Target, TargetError
from scoreboard import contract
from scoreboard.signing import SigningKey

T = TypeVar("T")
TIMEOUT_S = 10.0
TAKEN = (400, 422)
"""An empty submission is refused for its body only after its token was accepted."""
TOKEN_HINT = "set SCOREBOARD_JWT_SECRET to the secret that it checks tokens with"
UNSIGNED_HINT = f"{TOKEN_HINT}; where it requires signed requests, give --signing-key"
SIGNED_HINT = f"{TOKEN_HINT}, and check --signing-key"
HINTS = {
    401: UNSIGNED_HINT,
    403: "the token's subject, the user's id, may not do this there",
    404: "is this the address of a scoreboard, without a path?",
    405: "is this the address of a scoreboard, without a path?",
    429: "more --players share its rate limit, or raise SCOREBOARD_RATE_LIMIT_COUNT there",
    500: "look into the server's log",
    503: "it is not ready or sheds load: wait until /readyz answers 200",
}


def refusal(what: str, status: int, *, location: str = "", hint: str = "") -> str:
    """One sentence: what the server answered, and what to do."""
    if 300 <= status < 400:
        advice = f"it redirects to {location or 'elsewhere'}: give that address as --host"
    else:
        advice = hint or HINTS.get(status, "is this the address of a scoreboard?")
    return f"preflight: {what} was answered with {status}: {advice}"


def preflight(
    target: Target,
    *,
    token: str = "",
    signing_key: SigningKey | None = None,
    stream_token: str | None = None,
    stream_gzip: bool = False,
) -> Capabilities:
    """Ask for what the run will do; `token` for submissions, `stream_token` for streams.

    An empty `token` or a `stream_token` of None leaves that request out. Raises TargetError.
    """
    board = _board(target)
    shown = {"database": bool(target.mysql_url), **board}
    if token:
        shown |= _post(target, token, signing_key)
    if stream_token is not None:
        shown |= _streams(target, stream_token, gzip=stream_gzip, seq=board["seq"])
    del shown["seq"]
    return Capabilities(**shown)


def _board(target: Target) -> dict[str, Any]:
    """What GET /scores shows, with and without a query, and its seq (None without a header)."""
    answer, body = _get(target, "")
    if answer.status != 200:
        raise _refused(f"GET {contract.SCORES_PATH}", answer)
    header = answer.getheader(contract.SEQ_HEADER, "")
    seq = int(header) if header.isascii() and header.isdigit() and len(header) < 19 else None
    users = _users(body)
    shown = {"seq": seq, "sequence_header": seq is not None, "page_rows": len(users)}
    if len(users) < 2:
        return shown
    first, second = (
        _users(body) if answer.status == 200 else []
        for answer, body in (_get(target, "?limit=1"), _get(target, "?limit=1&offset=1"))
    )
    limit = len(first) == 1
    return {**shown, "limit": limit, "offset": limit and len(second) == 1 and second != first}


def _get(target: Target, query: str) -> tuple[http.client.HTTPResponse, bytes]:
    path = contract.SCORES_PATH
    get = f"GET {path}{query} HTTP/1.1\r\nHost: {target.host_header}\r\n\r\n".encode()
    return _ask(target, f"GET {path}", get)


def _users(body: bytes) -> list[str]:
    try:
        return [str(row["user"]) for row in json.loads(body)]
    except (ValueError, KeyError, TypeError):
        return []


def _post(target: Target, token: str, signing_key: SigningKey | None) -> dict[str, Any]:
    requests = SubmissionRequests(
        host_header=target.host_header,
        tokens={1: token},
        run_id=f"preflight-{time.time_ns()}",
        signing_key=signing_key,
    )
    what = f"POST {contract.UPDATE_PATH}"
    answer, body = _ask(target, what, requests.without_content(1))
    taken = answer.status // 100 == 2
    if not taken and answer.status not in TAKEN:
        raise _refused(what, answer, {401: SIGNED_HINT if signing_key else UNSIGNED_HINT})
    if not taken:
        return {}
    return {
        "submission_ids": submission_id_of(body) is not None,
        "outcome_address": answer.getheader("Location") is not None,
    }


def _streams(target: Target, token: str, *, gzip: bool, seq: int | None) -> dict[str, Any]:
    """What a stream shows that is opened as the run opens it, and one that resumes before `seq`."""

    def look(last: int | None, token: str) -> StreamLook:
        request = stream_request(target.host_header, last, token, gzip=gzip)
        return _reaching(
            target,
            f"GET {contract.STREAM_PATH}",
            lambda: look_at_stream(target.address, request, timeout_s=TIMEOUT_S),
        )

    plain = look(None, token)
    if plain.status and not (plain.status == 200 and plain.is_event_stream):
        raise TargetError(
            refusal(
                f"GET {contract.STREAM_PATH}",
                plain.status,
                location=plain.location,
                hint={
                    401: TOKEN_HINT if token else "its streams need tokens: --stream-auth",
                    200: "it is no event stream",
                    503: "it has no room for a stream",
                    429: "it has no room for a stream of this address",
                }.get(plain.status, ""),
            )
        )
    # Only where the answer to a resume can be understood, and the server speaks at once.
    resumed = look(max(0, seq - 1), token) if seq is not None and plain.status else None
    shown = of_streams(plain, resumed, seq=seq, gzip=gzip)
    if token:
        shown["stream_tokens"] = look(None, "").status in (401, 403)
    return shown


def _refused(
    what: str, answer: http.client.HTTPResponse, hints: dict[int, str] | None = None
) -> TargetError:
    return TargetError(
        refusal(
            what,
            answer.status,
            location=answer.getheader("Location", ""),
            hint=(hints or {}).get(answer.status, ""),
        )
    )


def _ask(target: Target, what: str, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    def ask() -> tuple[http.client.HTTPResponse, bytes]:
        with socket.create_connection(target.address, TIMEOUT_S) as connection:
            connection.sendall(request)
            with http.client.HTTPResponse(connection) as answer:
                answer.begin()
                return answer, answer.read()

    return _reaching(target, what, ask)


def _reaching(target: Target, what: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except TimeoutError:
        raise TargetError(
            f"preflight: {what} had no answer within {TIMEOUT_S:g} s from {target.base_url}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TargetError(f"preflight: {what} failed at {target.base_url}: {reason}") from None
