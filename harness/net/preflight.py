"""One GET, one POST and one stream before any load: does the server take what the run will send?

The POST has a valid token and an empty body, which no server may apply, so the board stays as it
is. Not a test of the server: what it answers beyond the status is nobody's business here.
"""

import http.client
import socket
import time
from collections.abc import Callable

from harness.net.http_wire import SubmissionRequests, stream_request
from harness.net.target import Target, TargetError
from scoreboard import contract
from scoreboard.signing import SigningKey

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
) -> None:
    """Ask once for what the run will do; `token` for submissions, `stream_token` for streams.

    An empty `token` or a `stream_token` of None leaves that request out. Raises TargetError.
    """
    host = target.host_header
    get = f"GET {contract.SCORES_PATH}?limit=1 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    _ask(target, f"GET {contract.SCORES_PATH}", get, lambda answer: answer.status == 200)
    if token:
        requests = SubmissionRequests(
            host_header=host,
            tokens={1: token},
            run_id=f"preflight-{time.time_ns()}",
            signing_key=signing_key,
        )
        _ask(
            target,
            f"POST {contract.UPDATE_PATH}",
            requests.without_content(1),
            lambda answer: answer.status in TAKEN or answer.status // 100 == 2,
            hint={401: SIGNED_HINT if signing_key else UNSIGNED_HINT},
        )
    if stream_token is not None:
        _ask(
            target,
            f"GET {contract.STREAM_PATH}",
            stream_request(host, None, stream_token),
            lambda answer: (
                answer.status == 200
                and answer.getheader("Content-Type", "").startswith("text/event-stream")
            ),
            hint={
                401: TOKEN_HINT if stream_token else "its streams need tokens: --stream-auth",
                200: "it is no event stream",
                503: "it has no room for a stream",
                429: "it has no room for a stream of this address",
            },
        )


def _ask(
    target: Target,
    what: str,
    request: bytes,
    good: Callable[[http.client.HTTPResponse], bool],
    hint: dict[int, str] | None = None,
) -> None:
    try:
        with socket.create_connection(target.address, TIMEOUT_S) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            try:
                answer.begin()
                if not good(answer):
                    raise TargetError(
                        refusal(
                            what,
                            answer.status,
                            location=answer.getheader("Location", ""),
                            hint=(hint or {}).get(answer.status, ""),
                        )
                    )
            finally:
                answer.close()
    except TimeoutError:
        raise TargetError(
            f"preflight: {what} had no answer within {TIMEOUT_S:g} s from {target.base_url}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TargetError(f"preflight: {what} failed at {target.base_url}: {reason}") from None
