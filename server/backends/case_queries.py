"""Queries of held submissions: which cases, in which order, after which. Not who may see them."""

import msgspec

CASES_QUERY = (
    "SELECT STRAIGHT_JOIN r.submission_id, l.user_id, u.name, l.increment, l.outcome, r.reasons,"
    " r.opened_at_us, r.decision, r.decided_by, r.decided_at_us"
    " FROM reviews r JOIN ledger l ON l.submission_id = r.submission_id"
    " LEFT JOIN users u ON u.id = l.user_id WHERE {} ORDER BY {} LIMIT %s"
)
"""With conditions and an order. The join is in the order written, so that an index gives it."""

HOLDERS_QUERY = (
    "SELECT l.user_id, u.name, COUNT(*), MIN(r.opened_at_us)"
    " FROM reviews r JOIN ledger l ON l.submission_id = r.submission_id"
    " LEFT JOIN users u ON u.id = l.user_id WHERE r.decision IS NULL"
    " GROUP BY l.user_id, u.name ORDER BY COUNT(*) DESC, l.user_id LIMIT %s OFFSET %s"
)
PLACE_QUERY = "SELECT opened_at_us, decided_at_us FROM reviews WHERE submission_id = UNHEX(%s)"


class CaseFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases are asked for; None: any."""

    open_only: bool = True
    user_id: int | None = None
    rule: str | None = None
    opened_before_us: int | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a case is in the order of cases."""

    submission_id: bytes
    opened_at_us: int
    decided_at_us: int | None


def cases_query(
    wanted: CaseFilter, limit: int, after: Place | None = None
) -> tuple[str, tuple[object, ...]]:
    """The query and its arguments for the next cases: oldest first when open, else the latest
    decision first and then those that are open."""
    conditions = ["r.decision IS NULL" if wanted.open_only else "TRUE"]
    arguments: list[object] = []
    for condition, argument in (
        ("l.user_id = %s", wanted.user_id),
        ("FIND_IN_SET(%s, REPLACE(r.reasons, ' ', ','))", wanted.rule),
        ("r.opened_at_us < %s", wanted.opened_before_us),
    ):
        if argument is not None:
            conditions.append(condition)
            arguments.append(argument)
    if after is not None:
        condition, more = _after(after, open_only=wanted.open_only)
        conditions.append(condition)
        arguments += more
    order = (
        "r.opened_at_us, r.submission_id"
        if wanted.open_only
        else "r.decided_at_us DESC, r.opened_at_us DESC, r.submission_id DESC"
    )
    return CASES_QUERY.format(" AND ".join(conditions), order), (*arguments, limit)


def _after(place: Place, *, open_only: bool) -> tuple[str, list[object]]:
    """The condition in steps that an index can take, which comparisons of rows are not."""
    sign = ">" if open_only else "<"
    opened, name = place.opened_at_us, place.submission_id.hex()
    later = (
        f"(r.opened_at_us {sign} %s OR (r.opened_at_us = %s AND r.submission_id {sign} UNHEX(%s)))"
    )
    arguments: list[object] = [opened, opened, name]
    if open_only:
        return later, arguments
    if place.decided_at_us is None:
        return f"r.decided_at_us IS NULL AND {later}", arguments
    decided = place.decided_at_us
    return (
        f"(r.decided_at_us IS NULL OR r.decided_at_us < %s OR (r.decided_at_us = %s AND {later}))",
        [decided, decided, *arguments],
    )
