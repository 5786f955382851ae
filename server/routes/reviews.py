"""`/admin/reviews`: held submissions and their end. What may be decided: see `board.reviews`."""

from collections.abc import Callable, Sequence

from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Client

from scoreboard import contract
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.board import reviews
from server.http.responses import NOT_STORED, json_response
from server.http.routing import Route
from server.routes.submissions import parse_submission_id


class ReviewRoutes:
    """The handlers; `client` returns the Temporal client, or raises Problem (unavailable)."""

    def __init__(
        self,
        ledger: LedgerReader,
        *,
        principal: Callable[[Request], Principal],
        client: Callable[[], Client],
        task_queue: str,
    ) -> None:
        self._task_queue = task_queue
        self._ledger = ledger
        self._principal = principal
        self._client = client

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        path = contract.REVIEWS_PATH
        return (
            Route("GET", path, "cases", self.get_cases),
            Route("GET", f"{path}/users", "holders", self.get_holders),
            Route("POST", f"{path}/<submission_id>", "decision", self.post_decision),
        )

    async def get_cases(self, request: Request) -> HTTPResponse:
        """Held submissions: the open cases, or all with `?all=1`, a page at a time."""
        reviews.may_review(self._principal(request))
        wanted = reviews.parse_cases_request(request.get_args(keep_blank_values=True))
        return json_response(await reviews.cases(self._ledger, wanted), NOT_STORED)

    async def get_holders(self, request: Request) -> HTTPResponse:
        """The users with open cases."""
        reviews.may_review(self._principal(request))
        return json_response(await reviews.holders(self._ledger), NOT_STORED)

    async def post_decision(self, request: Request, submission_id: str) -> HTTPResponse:
        """Approve or reject a held submission."""
        principal = self._principal(request)
        reviews.may_review(principal)
        decision = reviews.parse_decision(request.headers.get("content-type", ""), request.body)
        decided = await reviews.decide(
            self._client(),
            self._ledger,
            parse_submission_id(submission_id),
            decision,
            principal,
            task_queue=self._task_queue,
        )
        return json_response(decided, NOT_STORED)
