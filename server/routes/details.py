"""Handlers around single submissions and users: outcome, rank, and the reviewers' cases.

What they answer is decided in `outcomes`, `ranks` and `reviews`; here requests are
parsed and the parts asked. The hot path is in `app`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Client

from adapters.redis import Redis
from scoreboard import contract, ids
from scoreboard.domain import MAX_USER_ID
from scoreboard.errors import MALFORMED, NOT_FOUND, UNAVAILABLE, Problem
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.board import reviews
from server.board.outcomes import PENDING, Outcomes
from server.board.query import parse_flag, parse_number
from server.board.ranks import NEIGHBOURS_DEFAULT, NEIGHBOURS_MAX, Ranks

JSON = "application/json"
PENDING_RETRY_S = "1"


class Details:
    """The handlers; `client` gives the Temporal client, or None while it is away."""

    def __init__(
        self,
        *,
        redis: Redis,
        ledger: LedgerReader,
        principal: Callable[[Request], Principal],
        client: Callable[[], Client | None],
    ) -> None:
        self._ledger = ledger
        self._outcomes = Outcomes(redis, ledger)
        self._ranks = Ranks(redis, ledger)
        self._principal = principal
        self._client = client

    async def get_outcome(self, request: Request, submission_id: str) -> HTTPResponse:
        """What became of a submission."""
        status = await self._outcomes.status(
            _submission_id(submission_id), self._principal(request)
        )
        headers = {"cache-control": "no-store"}
        if status.status == PENDING:
            headers["retry-after"] = PENDING_RETRY_S
        return _answer(status, headers)

    async def get_user(self, request: Request, user_id: str) -> HTTPResponse:
        """A user's score, rank and neighbours."""
        if (
            not (user_id.isascii() and user_id.isdigit())
            # Before it is made a number: Python refuses to make one of thousands of digits.
            or len(user_id) > len(str(MAX_USER_ID))
            or not 0 < int(user_id) <= MAX_USER_ID
        ):
            raise Problem(NOT_FOUND, "There is no such user.")
        neighbours = parse_number(
            request.get_args(keep_blank_values=True),
            "neighbours",
            NEIGHBOURS_DEFAULT,
            least=0,
            most=NEIGHBOURS_MAX,
        )
        seq, found = await self._ranks.around(int(user_id), neighbours)
        return _answer(found, {"cache-control": "no-cache", contract.SEQ_HEADER: str(seq)})

    async def get_cases(self, request: Request) -> HTTPResponse:
        """Held submissions: the open cases, or all with `?all=1`."""
        reviews.may_review(self._principal(request))
        arguments: Mapping[str, Sequence[str]] = request.get_args(keep_blank_values=True)
        found = await reviews.cases(self._ledger, open_only=not parse_flag(arguments, "all"))
        return _answer(found, {"cache-control": "no-store"})

    async def post_decision(self, request: Request, submission_id: str) -> HTTPResponse:
        """Approve or reject a held submission."""
        principal = self._principal(request)
        reviews.may_review(principal)
        decision = reviews.parse_decision(request.headers.get("content-type", ""), request.body)
        client = self._client()
        if client is None:
            raise Problem(UNAVAILABLE, "A backend is away.", retry_after_s=1)
        decided = await reviews.decide(client, _submission_id(submission_id), decision, principal)
        return _answer(decided, {"cache-control": "no-store"})

    def add_routes(self, app: Sanic[Any, Any]) -> None:
        """Put the handlers at their addresses."""
        app.add_route(self.get_outcome, f"{contract.OUTCOMES_PATH}/<submission_id>", name="outcome")
        app.add_route(self.get_user, f"{contract.USERS_PATH}/<user_id>", name="user")
        app.add_route(self.get_cases, contract.REVIEWS_PATH, name="cases")
        app.add_route(
            self.post_decision,
            f"{contract.REVIEWS_PATH}/<submission_id>",
            methods=["POST"],
            name="decision",
        )


def _submission_id(text: str) -> bytes:
    try:
        return ids.parse(text)
    except ValueError:
        raise Problem(MALFORMED, "A submission id is a UUID.") from None


def _answer(value: object, headers: dict[str, str]) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), headers=headers, content_type=JSON)
