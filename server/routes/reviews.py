"""`/admin/reviews`: held submissions and their end. What may be decided: see `server.review`."""

from collections.abc import Callable, Sequence

from sanic.request import Request
from sanic.response import HTTPResponse
from temporalio.client import Client

from scoreboard import contract
from scoreboard.tokens import Principal
from server.backends.mysql import LedgerReader
from server.http.responses import NOT_STORED, json_response
from server.http.routing import Route
from server.review import cases, decisions
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
            Route("POST", f"{path}/decisions", "decisions", self.post_decisions),
            Route("GET", f"{path}/users", "holders", self.get_holders),
            Route("POST", f"{path}/<submission_id>", "decision", self.post_decision),
        )

    async def get_cases(self, request: Request) -> HTTPResponse:
        """Held submissions: the open cases, or all with `?all=1`, a page at a time."""
        cases.may_review(self._principal(request))
        wanted = cases.parse_cases_request(request.get_args(keep_blank_values=True))
        return json_response(await cases.cases(self._ledger, wanted), NOT_STORED)

    async def get_holders(self, request: Request) -> HTTPResponse:
        """The users with open cases, a page at a time."""
        cases.may_review(self._principal(request))
        wanted = cases.parse_holders_request(request.get_args(keep_blank_values=True))
        return json_response(await cases.holders(self._ledger, wanted), NOT_STORED)

    async def post_decisions(self, request: Request) -> HTTPResponse:
        """Approve or reject many held submissions; each has a result of its own."""
        principal = self._principal(request)
        cases.may_review(principal)
        wanted = decisions.parse_decisions(request.headers.get("content-type", ""), request.body)
        results = await decisions.decide_all(
            self._client(), self._ledger, wanted, principal, task_queue=self._task_queue
        )
        return json_response(results, NOT_STORED)

    async def post_decision(self, request: Request, submission_id: str) -> HTTPResponse:
        """Approve or reject a held submission."""
        principal = self._principal(request)
        cases.may_review(principal)
        decision = decisions.parse_decision(request.headers.get("content-type", ""), request.body)
        decided = await decisions.decide(
            self._client(),
            self._ledger,
            parse_submission_id(submission_id),
            decision,
            principal,
            task_queue=self._task_queue,
        )
        return json_response(decided, NOT_STORED)
