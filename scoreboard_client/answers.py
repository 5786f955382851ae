"""Answers of the server: their bytes, the types they are decoded to, and why one is missing.

Not when to try again: see `retry`.
"""

import os
import time
from dataclasses import dataclass

import aiohttp
import msgspec

from scoreboard import contract, sse
from scoreboard.domain import Standing
from scoreboard_client.errors import BadAnswer, EffectUnknown, Problem, Refused
from scoreboard_client.retry import parse_retry_after

ANSWER_BYTES_MAX = 1 << 20


class _AcceptedBody(msgspec.Struct, frozen=True, rename="camel"):
    submission_id: str


class _StatusBody(msgspec.Struct, frozen=True, rename="camel"):
    submission_id: str
    status: str
    score: int | None = None
    seq: int | None = None
    reason: str | None = None


class _ManagedBody(msgspec.Struct, frozen=True, rename="camel"):
    seq: int
    user_id: int
    user: str | None
    score: int | None


class _ProblemBody(msgspec.Struct, frozen=True):
    code: str = "unknown"
    title: str = ""
    detail: str = ""


_accepted = msgspec.json.Decoder(_AcceptedBody)
_status = msgspec.json.Decoder(_StatusBody)
_managed = msgspec.json.Decoder(_ManagedBody)
_problem = msgspec.json.Decoder(_ProblemBody)
_standings = msgspec.json.Decoder(list[Standing])


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A submission the server holds durably: `attempts` sends were needed."""

    submission_id: str
    idempotency_key: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Managed:
    """Who stands on the board after an order, which is change `seq`; `user` and `score` are None
    for a player who was removed."""

    seq: int
    user_id: int
    user: str | None
    score: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """Lines of the board, best first; `seq` is the last change they contain, if the server said."""

    seq: int | None
    scores: tuple[Standing, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a submission: `status` is pending, applied, held (for review) or rejected.

    Applied has the user's `score` after it and its `seq`; rejected has a `reason`.
    """

    submission_id: str
    status: str
    score: int | None
    seq: int | None
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    seq: str
    body: bytes
    retry_after_s: float | None


async def read(response: aiohttp.ClientResponse) -> Answer:
    """The whole answer. Raises aiohttp.ClientPayloadError when it is too long."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return Answer(
        status=response.status,
        seq=response.headers.get(contract.SEQ_HEADER, ""),
        body=bytes(body),
        retry_after_s=parse_retry_after(response.headers.get("Retry-After"), now_s=time.time()),
    )


def refusal_of(answer: Answer) -> Refused:
    """What an answer that is no success says (RFC 9457)."""
    try:
        body = _problem.decode(answer.body)
    except msgspec.DecodeError:
        # A proxy in between answers in its own words.
        body = _ProblemBody()
    return Refused(
        Problem(
            status=answer.status,
            code=body.code,
            title=body.title or "the server gave no reason",
            detail=body.detail,
            retry_after_s=answer.retry_after_s,
        )
    )


def top_of(answer: Answer) -> Top:
    """The board of a 200. Raises BadAnswer."""
    try:
        scores = _standings.decode(answer.body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the board is malformed: {error}") from error
    return Top(seq=sse.parse_last_event_id(answer.seq), scores=tuple(scores))


def outcome_of(answer: Answer) -> Outcome:
    """The outcome of a 200. Raises BadAnswer."""
    try:
        body = _status.decode(answer.body)
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the outcome is malformed: {error}") from error
    return Outcome(
        submission_id=body.submission_id,
        status=body.status,
        score=body.score,
        seq=body.seq,
        reason=body.reason,
    )


def counts_of(answer: Answer) -> dict[str, int]:
    """The numbers of a 200. Raises BadAnswer."""
    try:
        return msgspec.json.decode(answer.body, type=dict[str, int])
    except msgspec.DecodeError as error:
        raise BadAnswer(f"the numbers are malformed: {error}") from error


def managed_of(answer: Answer, key: str) -> Managed:
    """Who stands there now, of a 200. Raises EffectUnknown, since the order was carried out."""
    try:
        body = _managed.decode(answer.body)
    except msgspec.DecodeError as error:
        raise EffectUnknown(key, f"the 200 is malformed: {error}") from error
    return Managed(seq=body.seq, user_id=body.user_id, user=body.user, score=body.score)


def accepted_of(answer: Answer, key: str, attempts: int) -> Accepted:
    """The submission of a 202. Raises EffectUnknown, since it was accepted under some id."""
    try:
        body = _accepted.decode(answer.body)
    except msgspec.DecodeError as error:
        raise EffectUnknown(key, f"the 202 is malformed: {error}") from error
    return Accepted(submission_id=body.submission_id, idempotency_key=key, attempts=attempts)


def reason_of(error: BaseException) -> str:
    """Why no answer came, in words; class names of libraries mean nothing to a person."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no host {error.host!r}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate was refused: {error.certificate_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer broke off"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or "the connection failed"
