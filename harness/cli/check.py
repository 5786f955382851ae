"""`python -m harness check`: judge the history of a finished run."""

import argparse
import gc
import json
import sys
from pathlib import Path

import msgspec

from harness.checker import Demands, Promises, Verdict, check, gather, overall
from harness.evidence.history import history_paths, read_history
from harness.evidence.witness import Witness

WITNESS_FILE = "witness.json"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `check`."""
    parser = subparsers.add_parser("check", help="judge the history of a finished run")
    parser.add_argument("history", type=Path, help="a history file or a folder of them")
    parser.add_argument(
        "--mysql", help="read the ledger as a witness: mysql://user:password@host/db"
    )
    parser.add_argument(
        "--black-box",
        action="store_true",
        help="ignore a witness.json in the folder: judge from HTTP and streams alone",
    )
    parser.add_argument(
        "--skip",
        default="",
        help="invariants not asked for, such as I4,I7 when nobody sampled Redis or attacked",
    )
    parser.add_argument("--accepted-min", type=int, default=1, help="fewer prove nothing")
    parser.add_argument("--visible-within-s", type=float, default=15.0, help="for I10")
    parser.add_argument("--json", action="store_true", help="findings as JSON on stdout")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    # Millions of small records and no garbage: collecting would take longer than judging.
    gc.disable()
    try:
        return _judge(arguments)
    finally:
        gc.enable()


def _judge(arguments: argparse.Namespace) -> int:
    try:
        files = [read_history(path) for path in history_paths(arguments.history)]
        witness = _witness(arguments)
    except (OSError, msgspec.DecodeError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    skip = {name.strip() for name in arguments.skip.split(",") if name.strip()}
    if witness is None:
        skip.add("I4")
    findings = check(
        gather(files, witness),
        Promises(
            visible_within_s=arguments.visible_within_s,
            demands=Demands(accepted_min=arguments.accepted_min),
            skip=frozenset(skip),
        ),
    )
    verdict = overall(findings)
    if arguments.json:
        print(json.dumps({"verdict": verdict, "findings": msgspec.to_builtins(findings)}, indent=1))
    else:
        from harness.chaos.report import findings_table

        print(findings_table(findings))
        print(f"verdict: {verdict}")
    return 0 if verdict is Verdict.TRUE else 1


def _witness(arguments: argparse.Namespace) -> Witness | None:
    from harness.evidence.database import load_witness, read_witness

    if arguments.black_box:
        return None
    if arguments.mysql:
        return read_witness(arguments.mysql)
    kept = arguments.history / WITNESS_FILE if arguments.history.is_dir() else None
    return load_witness(kept) if kept is not None and kept.exists() else None
