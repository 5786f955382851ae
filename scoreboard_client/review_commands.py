"""`scoreboard review`: held submissions, and decisions one by one or by what they share.

Prints one JSON object per line. Exit codes as in `commands`; 1 also when a decision was refused,
3 when the effect of one is unknown.
"""

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
import msgspec

from scoreboard.domain import MAX_USER_ID
from scoreboard.fraud import Reason
from scoreboard.tokens import SCOPE_REVIEW
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, command, group, refuse
from scoreboard_cli.types import SECONDS, whole
from scoreboard_client.client import ScoreboardClient
from scoreboard_client.commands import SECRET_FILE, Server, talks
from scoreboard_client.retry import RetryPolicy
from scoreboard_client.reviews import DECISIONS_MAX, PAGE_MAX, CaseFilter, CaseResult

USER = click.option("--user", type=whole("ID", least=1, most=MAX_USER_ID), help="Of this user.")
RULE = click.option(
    "--rule", type=click.Choice([reason.value for reason in Reason]), help="Held by this rule."
)
OLDER = click.option("--older-than", type=SECONDS, help="Opened at least this long ago.")
IDS = click.argument("ids", nargs=-1, metavar="[ID]...")


@group("review")
def review() -> None:
    """List held submissions and decide them (docs/operations.md).

    The token is SCOREBOARD_TOKEN with the scope scores:review, or is made with the secret in
    --secret-file, SCOREBOARD_JWT_SECRET or the running stack.
    """


@command("list")
@USER
@RULE
@OLDER
@click.option("--all", "decided_too", is_flag=True, help="Also decided ones, latest first.")
@click.option("--after", metavar="ID", help="Only after this case, the last of the page before.")
@click.option(
    "--limit", type=whole(least=1, most=PAGE_MAX), default=PAGE_MAX, help=f"How many ({PAGE_MAX})."
)
@SECRET_FILE
@talks
async def list_cases(
    server: Server,
    retry: RetryPolicy,
    user: int | None,
    rule: str | None,
    older_than: float | None,
    decided_too: bool,
    after: str | None,
    limit: int,
    secret_file: Path | None,
) -> int:
    """Print held submissions, oldest first."""
    wanted = _filter(user, rule, older_than, decided_too=decided_too)
    async with server.operator(retry, secret_file, SCOPE_REVIEW) as client:
        _print_each(await client.held_cases(wanted, after=after, limit=limit))
    return GOOD


@command("users")
@SECRET_FILE
@talks
async def list_users(server: Server, retry: RetryPolicy, secret_file: Path | None) -> int:
    """Print the users with open cases, most cases first."""
    async with server.operator(retry, secret_file, SCOPE_REVIEW) as client:
        for offset in itertools.count(0, PAGE_MAX):
            found = await client.case_holders(offset=offset)
            _print_each(found)
            if len(found) < PAGE_MAX:
                break
    return GOOD


def _deciding(decision: str, effect: str) -> click.Command:
    @command(
        decision,
        help=f"{effect}: these, or all that are open now and fit the options.\n\n"
        "`list` with the same options shows which these are.",
    )
    @IDS
    @USER
    @RULE
    @OLDER
    @SECRET_FILE
    @talks
    async def decide(
        server: Server,
        retry: RetryPolicy,
        ids: tuple[str, ...],
        user: int | None,
        rule: str | None,
        older_than: float | None,
        secret_file: Path | None,
    ) -> int:
        async with server.operator(retry, secret_file, SCOPE_REVIEW) as client:
            return await _decide(client, decision, ids, user, rule, older_than)

    return decide


approve = _deciding("approve", "Apply held submissions")
reject = _deciding("reject", "End held submissions without effect")

for each in (list_cases, list_users, approve, reject):
    review.add_command(each)


async def _decide(
    client: ScoreboardClient,
    decision: str,
    ids: Sequence[str],
    user: int | None,
    rule: str | None,
    older_than: float | None,
) -> int:
    chosen = user is not None or rule is not None or older_than is not None
    if bool(ids) == chosen:
        refuse("name cases by id, or choose them by --user, --rule or --older-than")
    statuses = set()
    async for part in _parts(client, ids, _filter(user, rule, older_than or 0)):
        results = await client.decide(dict.fromkeys(part, decision))
        _print_each(results)
        statuses |= {_code(result) for result in results}
    return COULD_NOT_TELL if COULD_NOT_TELL in statuses else max(statuses, default=GOOD)


async def _parts(
    client: ScoreboardClient, ids: Sequence[str], wanted: CaseFilter
) -> AsyncIterator[Sequence[str]]:
    """What is decided in one request each: parts of `ids`, else of the open cases of now."""
    for first in range(0, len(ids), DECISIONS_MAX):
        yield ids[first : first + DECISIONS_MAX]
    last: str | None = None
    while not ids:
        page = await client.held_cases(wanted, after=last, limit=DECISIONS_MAX)
        if page:
            yield [case.submission_id for case in page]
            last = page[-1].submission_id
        if len(page) < DECISIONS_MAX:
            return


def _filter(
    user: int | None, rule: str | None, older_than_s: float | None, *, decided_too: bool = False
) -> CaseFilter:
    before_us = None
    if older_than_s is not None:
        before_us = max(1, time.time_ns() // 1000 - int(older_than_s * 1_000_000))
    return CaseFilter(user=user, rule=rule, opened_before_us=before_us, decided_too=decided_too)


def _code(result: CaseResult) -> int:
    if result.status == 200:
        return GOOD
    return BAD if result.status < 500 else COULD_NOT_TELL


def _print_each(rows: Sequence[msgspec.Struct]) -> None:
    for row in rows:
        print(msgspec.json.encode(row).decode(), flush=True)
