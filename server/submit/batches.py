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
from server.submit.submission import ParsedSubmission

ACCEPTED = 202


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What POST /scores/update would have answered for the item."""

    status: int
    submission_id: str | None = None
    code: str | None = None
    detail: str | None = None
    retry_after_s: int | None = None


async def submit_all(
    committer: Committer, items: Sequence[ParsedSubmission | Problem]
) -> list[ItemResult]:
    """Submit what can be, and wait for all of it; results in the order of `items`."""
    waits: list[asyncio.Future[int] | Problem] = []
    for item in items:
        if isinstance(item, Problem):
            waits.append(item)
            continue
        try:
            waits.append(committer.submit(item.submission, keyed=item.keyed))
        except Problem as problem:
            waits.append(problem)
    pending = [wait for wait in waits if isinstance(wait, asyncio.Future)]
    # Bounded by the committer's own deadline for each submission.
    await asyncio.gather(*pending, return_exceptions=True)
    return [_result(item, wait) for item, wait in zip(items, waits, strict=True)]


def _result(item: ParsedSubmission | Problem, wait: "asyncio.Future[int] | Problem") -> ItemResult:
    problem = wait if isinstance(wait, Problem) else wait.exception()
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
