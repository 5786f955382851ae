"""`POST /scores/update`, `POST /scores/updates` and the outcome of a submission.

What a submission must look like is decided in `server.submit`; most single ones never come here,
but take the fast path.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sanic.request import Request
from sanic.response import HTTPResponse

from scoreboard import contract, ids
from scoreboard.errors import MALFORMED, Problem
from server.availability import Availability
from server.board.outcomes import PENDING, Outcomes
from server.http.responses import JSON, NOT_STORED, json_response
from server.http.routing import Route
from server.submit.batches import results, submit_each
from server.submit.commit import Committer
from server.submit.refusals import Refusals
from server.submit.submission_parser import SubmissionParser

if TYPE_CHECKING:
    from server.observe.tracing import Tracing

PENDING_RETRY_S = "1"
_ACCEPTED = f'{{"message":"{contract.ACCEPTED_MESSAGE}","submissionId":"%s"}}'


class SubmissionRoutes:
    """The handlers; `learn` remembers a plain submission for the fast path.

    `accept` makes the answer to an accepted submission, `quota` its fields for the rate limit.
    """

    def __init__(
        self,
        parser: SubmissionParser,
        committer: Committer,
        refusals: Refusals,
        outcomes: Outcomes,
        availability: Availability,
        *,
        learn: Callable[[Request], None],
        accept: Callable[[str], HTTPResponse],
        quota: Callable[[int], Mapping[str, str]],
        tracing: "Tracing | None",
    ) -> None:
        self._parser = parser
        self._committer = committer
        self._refusals = refusals
        self._outcomes = outcomes
        self._availability = availability
        self._learn = learn
        self._accept = accept
        self._quota = quota
        self._tracing = tracing
        self._turn = asyncio.Lock()

    def routes(self) -> Sequence[Route]:
        """Their addresses."""
        return (
            Route("POST", contract.UPDATE_PATH, "update", self.post_update),
            Route("POST", contract.OUTCOMES_PATH, "updates", self.post_updates),
            Route("GET", f"{contract.OUTCOMES_PATH}/<submission_id>", "outcome", self.get_outcome),
        )

    async def post_update(self, request: Request) -> HTTPResponse:
        """Accept a submission: durable in a started workflow when this answers 202."""
        self._availability.require_true_clock()
        principal = self._parser.principal(request)
        parsed = self._parser.one(request, principal)
        self._availability.require_work_taken()
        if self._tracing is not None:
            self._tracing.note(parsed.submission.id)
        problem = self._committer.over_limit(parsed.submission, keyed=parsed.keyed)
        if problem is not None:
            raise problem
        left = await self._committer.take(parsed.submission, keyed=parsed.keyed)
        if self._parser.is_plain(request):
            self._learn(request)
        response = self._accept(ids.text(parsed.submission.id))
        response.headers.update(self._quota(left))
        return response

    async def post_updates(self, request: Request) -> HTTPResponse:
        """Accept many submissions; each item of the answer is what its own request would get."""
        self._availability.require_true_clock()
        principal = self._parser.principal(request)
        # One batch is read at a time, and what others have sent is read between two of them.
        async with self._turn:
            await asyncio.sleep(0)
            self._refusals.check(principal)
            items = self._parser.many(request, principal)
            self._availability.require_work_taken()
            outcomes = submit_each(self._committer, items)
        if self._tracing is not None:
            for item in items:
                if not isinstance(item, Problem):
                    self._tracing.note(item.submission.id)
        return json_response(await results(self._refusals, principal.subject, items, outcomes))

    async def get_outcome(self, request: Request, submission_id: str) -> HTTPResponse:
        """The outcome of a submission."""
        wanted = parse_submission_id(submission_id)
        status = await self._outcomes.status(wanted, self._parser.principal(request))
        retry = {"retry-after": PENDING_RETRY_S} if status.status == PENDING else {}
        return json_response(status, NOT_STORED | retry)


def accepted_response(name: str, *, base: str = "") -> HTTPResponse:
    """The answer to an accepted submission of that id; `base` is where the API is mounted."""
    return HTTPResponse(
        _ACCEPTED % name,
        status=202,
        headers={"location": f"{base}{contract.OUTCOMES_PATH}/{name}"},
        content_type=JSON,
    )


def parse_submission_id(text: str) -> bytes:
    """The id in a path. Raises Problem (malformed)."""
    try:
        return ids.parse(text)
    except ValueError:
        raise Problem(MALFORMED, "A submission id is a UUID.") from None
