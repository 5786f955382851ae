"""POST /scores/updates: many submissions in one request, an outcome for each.

For game servers. Each item is a submission like any other: the same limits, and exactly once
by its own key. Refusing one item does not affect the others.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from scoreboard import ids
from scoreboard.errors import INTERNAL, Problem
from server.submit.commit import Committer
from server.submit.refusals import Refusals
from server.submit.submission import ParsedSubmission

ACCEPTED = 202


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What POST /scores/update would have answered for the item."""

    status: int
    submission_id: str | None = None
    code: str | None = None
    detail: str | None = None
    retry_after_s: int | None = None


Outcome = asyncio.Future[int] | Problem


def submit_each(committer: Committer, items: Sequence[ParsedSubmission | Problem]) -> list[Outcome]:
    """Submit what can be: a Problem for what is refused at once, a future for the rest."""
    return [_submitted(committer, item) for item in items]


async def results(
    refusals: Refusals,
    principal: str,
    items: Sequence[ParsedSubmission | Problem],
    outcomes: Sequence[Outcome],
) -> list[ItemResult]:
    """Wait for all outcomes; the results in the order of `items`.

    What is refused at once costs one timer, not one for each item.
    """
    pending = [outcome for outcome in outcomes if isinstance(outcome, asyncio.Future)]
    refused = [each for each in outcomes if isinstance(each, Problem) and each.kind.status < 500]
    if refused:
        pending.append(refusals.later(principal, refused[0], len(refused)))
    # Bounded by the committer's own deadline for each submission.
    await asyncio.gather(*pending, return_exceptions=True)
    return [_result(item, outcome) for item, outcome in zip(items, outcomes, strict=True)]


def _submitted(committer: Committer, item: ParsedSubmission | Problem) -> Outcome:
    if isinstance(item, Problem):
        return item
    try:
        problem = committer.over_limit(item.submission, keyed=item.keyed)
        return problem or committer.take(item.submission, keyed=item.keyed)
    except Problem as problem:
        return problem


def _result(item: ParsedSubmission | Problem, outcome: Outcome) -> ItemResult:
    problem = outcome if isinstance(outcome, Problem) else outcome.exception()
    if problem is None and isinstance(item, ParsedSubmission):
        return ItemResult(status=ACCEPTED, submission_id=ids.text(item.submission.id))
    if not isinstance(problem, Problem):
        problem = Problem(INTERNAL, "The submission failed; its effect is unknown.")
    return ItemResult(
        status=problem.kind.status,
        submission_id=ids.text(item.submission.id) if isinstance(item, ParsedSubmission) else None,
        code=problem.kind.code,
        detail=problem.detail,
        retry_after_s=problem.retry_after_s,
    )
