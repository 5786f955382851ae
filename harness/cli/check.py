"""`scoreboard check`: judge the history of a finished run."""

import json
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from harness.checker import Demands, Promises, Verdict
from harness.checker.saved_run import DatabaseUnreadable, NoHistory, judge_saved_run
from scoreboard.addresses import mysql_address
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, CommandError, command, refuse
from scoreboard_cli.types import SECONDS, Place, parsed, whole

INVARIANTS = frozenset(f"I{number}" for number in range(1, 11))
EXIT_CODES = {Verdict.TRUE: GOOD, Verdict.FALSE: BAD, Verdict.UNKNOWN: COULD_NOT_TELL}


def _mysql_url(text: str) -> str:
    mysql_address(text)
    return text


def _invariants(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("must name invariants from I1 to I10")
    if unknown := sorted(names - INVARIANTS):
        raise ValueError(f"must name invariants from I1 to I10, not {', '.join(unknown)}")
    return names


@command("check")
@click.argument("history", type=Place(exists=True, path_type=Path))
@click.option(
    "--mysql",
    type=parsed("URL", _mysql_url),
    help="Also judge by the ledger: mysql://user:password@host:port/database.",
)
@click.option(
    "--black-box",
    is_flag=True,
    help="Ignore a witness.json in the folder: judge from HTTP and streams alone.",
)
@click.option(
    "--skip",
    type=parsed("I4,I7,…", _invariants),
    default=frozenset(),
    help="Invariants that are not asked for, as when nobody sampled Redis or attacked.",
)
@click.option(
    "--accepted-min",
    type=whole(),
    default=1,
    help="Fewer accepted submissions prove nothing (1).",
)
@click.option(
    "--visible-within-s", type=SECONDS, help="The limit of invariant I10 (15; of a load run 60)."
)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON on stdout.")
def check_history(
    history: Path,
    mysql: str | None,
    black_box: bool,
    skip: frozenset[str],
    accepted_min: int,
    visible_within_s: float | None,
    as_json: bool,
) -> int:
    """Judge HISTORY, a history file or a folder of them.

    A run with --target needs no target file here: its history says what each answer meant and how
    users are called.

    Exit codes: 0 every promise holds, 1 one does not, 2 wrong use, 3 too little was seen to tell.
    """
    promises = Promises(
        demands=Demands(accepted_min=accepted_min),
        skip=skip,
    )
    if visible_within_s is not None:
        promises = replace(promises, visible_within_s=visible_within_s)
    try:
        judged = judge_saved_run(
            history, mysql_url=mysql or "", black_box=black_box, promises=promises
        )
    except (DatabaseUnreadable, NoHistory) as error:
        raise CommandError(str(error), COULD_NOT_TELL) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        refuse(f"{getattr(error, 'filename', None) or history}: {reason}")
    if as_json:
        found = {"verdict": judged.verdict, "findings": msgspec.to_builtins(judged.findings)}
        print(json.dumps(found, indent=1))
    else:
        from harness.chaos.report import findings_table

        print(findings_table(judged.findings))
        print(f"verdict: {judged.verdict}")
    return EXIT_CODES[judged.verdict]
