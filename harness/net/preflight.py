"""A few requests before any load: does the server take what the run will send, and what does it
show beyond the specification?

The POST has a valid token and an empty body, which no server may apply, so the board stays as it
is. It decides about the token alone: what a router or a parser makes of a body that no client
sends says nothing of those that the run sends, whose own answers then decide
(`harness.run.board_watch.refused_alike`). Not a test of the server: what it does not show is not
asked of it later (`harness.capabilities`).
"""

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from harness.capabilities import Capabilities
from harness.net.exchange import Answer, exchange
from harness.net.http_wire import SubmissionRequests, stream_request, submission_id_of
from harness.net.stream_look import StreamLook, look_at_stream, of_streams
from harness.net.target import Target, TargetError
from harness.targets.answers import SPECIFIED_SCORES, read_scores
from harness.targets.description import Description, without_pages
from harness.targets.requests import StreamRequests, Values, read_request
from harness.targets.template import BadTemplate
from scoreboard import contract
from scoreboard.signing import SigningKey

T = TypeVar("T")
log = logging.getLogger(__name__)
TIMEOUT_S = 10.0
OF_TOKENS = (401, 403)
"""What a token is refused with; or a body that names no user, where it must be the token's."""
OF_LOAD = (429, 503)
"""What a submission is refused with whatever it holds."""
TOKEN_HINT = (
    "set SCOREBOARD_JWT_SECRET to the secret that it checks tokens with; where that is right, it "
    "may refuse the claims iss and aud, which [token] in a file (--target) leaves out"
)
STREAM_TOKEN_HINT = "its streams need tokens: --stream-auth"
SCORES_TOKEN_HINT = "its board needs a token: auth = true of [scores] in a file, --target"
OTHER_SCORES_HINT = "describe it in a file, --target; `scoreboard target init` writes a first one"
UNSIGNED_HINT = f"{TOKEN_HINT}; where it requires signed requests, give --signing-key"
SIGNED_HINT = f"{TOKEN_HINT}, and check --signing-key"
FORM_HINT = (
    "describe the requests that it takes in a file, --target; "
    "[submit] increments where it takes no 49 to 97"
)
HINTS = {
    400: FORM_HINT,
    401: UNSIGNED_HINT,
    403: "the token's subject, the user's id, may not do this there: give its users and claims in"
    " a file, --target",
    404: "is this the address of a scoreboard, without a path?",
    405: "is this the address of a scoreboard, without a path?",
    415: FORM_HINT,
    422: FORM_HINT,
    429: "more --players share its rate limit, or raise SCOREBOARD_RATE_LIMIT_COUNT there",
    500: "look into the server's log",
    503: "it is not ready or sheds load: wait until /readyz answers 200",
}


DESCRIBED_HINTS = dict.fromkeys((400, 401, 403, 404, 405), "look at [scores] in the target file")
DESCRIBED_ROWS = 100


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
    user: Values | None = None,
    signing_key: SigningKey | None = None,
    stream_token: str | None = None,
    stream_gzip: bool = False,
) -> Capabilities:
    """Ask for what the run will do; `token` for submissions, `stream_token` for streams.

    An empty `token` or a `stream_token` of None leaves that request out; a server with a
    description is asked as `user`. Raises TargetError.
    """
    server = target.server
    board = _board(target) if server is None else _described_board(target, server, user or {})
    shown = {"database": bool(target.mysql_url), **board}
    if server is not None:
        # What an empty submission does to a server of somebody's own is unknown: none is sent.
        shown["submission_ids"] = bool(server.submit.id)
    elif token:
        shown |= _post(target, token, signing_key)
    if stream_token is not None:
        shown |= _streams(
            target,
            stream_token,
            _stream_requests(target, user or {}, gzip=stream_gzip),
            gzip=stream_gzip,
            seq=board["seq"],
        )
    del shown["seq"]
    return Capabilities(**shown)


def _board(target: Target) -> dict[str, Any]:
    """What GET /scores shows, with and without a query, and its seq (None without a header)."""
    what = f"GET {contract.SCORES_PATH}"
    answer, body = _get(target, "")
    if answer.status != 200:
        raise _refused(what, answer, dict.fromkeys(OF_TOKENS, SCORES_TOKEN_HINT))
    seq = _seq(answer)
    try:
        users = [user for user, _ in read_scores(SPECIFIED_SCORES, body)]
    except ValueError as error:
        raise TargetError(f"preflight: {what}: {error}: {OTHER_SCORES_HINT}") from None
    shown = {"seq": seq, "sequence_header": seq is not None, "page_rows": len(users)}
    if len(users) < 2:
        return shown
    first, second = (
        _users(answer, body)
        for answer, body in (_get(target, "?limit=1"), _get(target, "?limit=1&offset=1"))
    )
    limit = len(first) == 1
    return {**shown, "limit": limit, "offset": limit and len(second) == 1 and second != first}


def _described_board(target: Target, server: Description, user: Values) -> dict[str, Any]:
    """The same of a server with a description; it may number its changes, too."""
    call = server.scores.call
    what = f"{call.method} {call.path}"
    asked = {name for name in ("limit", "offset") if f"{{{name}}}" in str(call.query)}

    bare = without_pages(server)

    def read(limit: int, offset: int, server: Description = server) -> tuple[Answer, list[str]]:
        try:
            request = read_request(server, user, limit=limit, offset=offset)
        except BadTemplate as error:
            raise TargetError(f"preflight: {error}") from None
        answer, body = _ask(target, what, request)
        if not any(low <= answer.status <= high for low, high in server.scores.accepted):
            raise _refused(what, answer, DESCRIBED_HINTS)
        try:
            return answer, [user for user, _ in read_scores(server.scores, body)]
        except ValueError as error:
            raise TargetError(f"preflight: {what}: {error} ([scores] in the file)") from None

    def page(offset: int) -> list[str]:
        """The user of a page of one; nobody where a query that no file names was refused."""
        try:
            return read(1, offset)[1]
        except TargetError:
            if bare is server:
                raise
            return []

    answer, users = read(DESCRIBED_ROWS, 0, bare)
    seq = _seq(answer)
    shown = {"seq": seq, "sequence_header": seq is not None, "page_rows": len(users)}
    limit = "limit" in asked and len(users) > 1 and len(page(0)) == 1
    second = page(1) if limit and "offset" in asked else []
    return {**shown, "limit": limit, "offset": len(second) == 1 and second != users[:1]}


def _seq(answer: Answer) -> int | None:
    header = answer.getheader(contract.SEQ_HEADER, "")
    return int(header) if header.isascii() and header.isdigit() and len(header) < 19 else None


def _get(target: Target, query: str) -> tuple[Answer, bytes]:
    path = contract.SCORES_PATH
    get = f"GET {path}{query} HTTP/1.1\r\nHost: {target.host_header}\r\n\r\n".encode()
    return _ask(target, f"GET {path}", get)


def _users(answer: Answer, body: bytes) -> list[str]:
    """The users of a page; nobody where it was refused."""
    if answer.status != 200:
        return []
    try:
        return [user for user, _ in read_scores(SPECIFIED_SCORES, body)]
    except ValueError:
        return []


def _post(target: Target, token: str, signing_key: SigningKey | None) -> dict[str, Any]:
    requests = SubmissionRequests(
        host_header=target.host_header,
        tokens={1: token},
        run_id=f"preflight-{time.time_ns()}",
        signing_key=signing_key,
    )
    what = f"POST {contract.UPDATE_PATH}"
    try:
        answer, body = _ask(target, what, requests.without_content(1))
        if answer.status in OF_TOKENS:
            # Names its user, and nobody's score changes where it is applied.
            answer, body = _ask(target, what, requests.make(1, 1, 0))
    except TargetError as error:
        log.debug("an empty submission decides nothing: %s", error)
        return {}
    if 300 <= answer.status < 400 or answer.status in (*OF_TOKENS, *OF_LOAD):
        raise _refused(what, answer, {401: SIGNED_HINT if signing_key else UNSIGNED_HINT})
    if answer.status // 100 != 2:
        return {}
    return {
        "submission_ids": submission_id_of(body) is not None,
        "outcome_address": answer.getheader("Location") != "",
    }


StreamRequest = Callable[[int | None, str], bytes]
"""The GET of a stream from after an id, with a token or without (empty)."""


def _stream_requests(target: Target, user: Values, *, gzip: bool) -> StreamRequest:
    server = target.server
    if server is None:
        return lambda last, token: stream_request(target.host_header, last, token, gzip=gzip)
    streams = StreamRequests(server)

    def request(last: int | None, token: str) -> bytes:
        del token
        try:
            return streams.make(user, last, gzip=gzip)
        except BadTemplate as error:
            raise TargetError(f"preflight: {error}") from None

    return request


def _streams(
    target: Target, token: str, request: StreamRequest, *, gzip: bool, seq: int | None
) -> dict[str, Any]:
    """What a stream shows that is opened as the run opens it, and one that resumes before `seq`."""
    call = target.server.stream.call if target.server else None
    what = f"{call.method} {call.path}" if call else f"GET {contract.STREAM_PATH}"

    def look(last: int | None, token: str) -> StreamLook:
        asked = request(last, token)
        return _reaching(
            target, what, lambda: look_at_stream(lambda: target.connect(TIMEOUT_S), asked)
        )

    plain = look(None, token)
    if plain.status and not (plain.status == 200 and plain.is_event_stream):
        raise TargetError(
            refusal(
                what,
                plain.status,
                location=plain.location,
                hint={
                    **dict.fromkeys(OF_TOKENS, TOKEN_HINT if token else STREAM_TOKEN_HINT),
                    200: "it is no event stream",
                    503: "it has no room for a stream",
                    429: "it has no room for a stream of this address",
                }.get(plain.status, ""),
            )
        )
    # Only where the answer to a resume can be understood, and the server speaks at once.
    resumed = look(max(0, seq - 1), token) if seq is not None and plain.status else None
    shown = of_streams(plain, resumed, seq=seq, gzip=gzip)
    if token and target.server is None:
        shown["stream_tokens"] = look(None, "").status in (401, 403)
    return shown


def _refused(what: str, answer: Answer, hints: dict[int, str] | None = None) -> TargetError:
    return TargetError(
        refusal(
            what,
            answer.status,
            location=answer.getheader("Location", ""),
            hint=(hints or {}).get(answer.status, ""),
        )
    )


def _ask(target: Target, what: str, request: bytes) -> tuple[Answer, bytes]:
    def ask() -> tuple[Answer, bytes]:
        with target.connect(TIMEOUT_S) as connection:
            answer = exchange(connection, request, timeout_s=TIMEOUT_S)
            return answer, answer.body

    return _reaching(target, what, ask)


def _reaching(target: Target, what: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except TimeoutError:
        raise TargetError(
            f"preflight: {what} had no answer within {TIMEOUT_S:g} s from {target.base_url}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise TargetError(f"preflight: {what} failed at {target.base_url}: {reason}") from None
