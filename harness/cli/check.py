"""`scoreboard check`: judge the history of a finished run."""

import gc
import json
from pathlib import Path

import click
import msgspec

from harness.checker import Demands, Promises, Verdict, check, gather, overall
from harness.evidence.history import history_paths, read_history
from harness.evidence.witness import Witness
from scoreboard.settings import mysql_address
from scoreboard_cli.group import BAD, COULD_NOT_TELL, GOOD, CommandError, command, refuse
from scoreboard_cli.types import SECONDS, parsed, whole

WITNESS_FILE = "witness.json"
EXIT_CODES = {Verdict.TRUE: GOOD, Verdict.FALSE: BAD, Verdict.UNKNOWN: COULD_NOT_TELL}


def _mysql_url(text: str) -> str:
    mysql_address(text)
    return text


@command("check")
@click.argument("history", type=click.Path(path_type=Path))
@click.option(
    "--mysql",
    type=parsed("URL", _mysql_url),
    help="Read the ledger as a witness: mysql://user:password@host:port/database.",
)
@click.option(
    "--black-box",
    is_flag=True,
    help="Ignore a witness.json in the folder: judge from HTTP and streams alone.",
)
@click.option(
    "--skip",
    default="",
    metavar="I4,I7,…",
    help="Invariants that are not asked for, as when nobody sampled Redis or attacked.",
)
@click.option(
    "--accepted-min",
    type=whole(),
    default=1,
    help="Fewer accepted submissions prove nothing (1).",
)
@click.option(
    "--visible-within-s", type=SECONDS, default=15.0, help="The limit of invariant I10 (15)."
)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON on stdout.")
def check_history(
    history: Path,
    mysql: str | None,
    black_box: bool,
    skip: str,
    accepted_min: int,
    visible_within_s: float,
    as_json: bool,
) -> int:
    """Judge HISTORY, a history file or a folder of them.

    Exit codes: 0 every promise holds, 1 one does not, 2 wrong use, 3 too little was seen to tell.
    """
    skipped = {name.strip() for name in skip.split(",") if name.strip()}
    # Millions of small records and no garbage: collecting would take longer than judging.
    gc.disable()
    try:
        files = [read_history(path) for path in history_paths(history)]
        witness = None if black_box else _witness(history, mysql)
        findings = check(
            gather(files, witness),
            Promises(
                visible_within_s=visible_within_s,
                demands=Demands(accepted_min=accepted_min),
                skip=frozenset(skipped | (set() if witness else {"I4"})),
            ),
        )
    except (OSError, msgspec.DecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        refuse(f"{getattr(error, 'filename', None) or history}: {reason}")
    finally:
        gc.enable()
    verdict = overall(findings)
    if as_json:
        print(json.dumps({"verdict": verdict, "findings": msgspec.to_builtins(findings)}, indent=1))
    else:
        from harness.chaos.report import findings_table

        print(findings_table(findings))
        print(f"verdict: {verdict}")
        if not files:
            print(f"{history} holds no history")
    return EXIT_CODES[verdict]


def _witness(history: Path, mysql: str | None) -> Witness | None:
    from harness.evidence.database import load_witness, read_witness

    if mysql:
        import pymysql

        try:
            return read_witness(mysql)
        except pymysql.Error as error:
            where = mysql_address(mysql)
            raise CommandError(
                f"the ledger at {where.host} port {where.port} cannot be read: {error.args[-1]}",
                COULD_NOT_TELL,
            ) from None
    kept = history / WITNESS_FILE if history.is_dir() else None
    return load_witness(kept) if kept is not None and kept.exists() else None
