"""Attacks a private stack and writes the figures: `python -m tests.security [--only PART]`.

The corpus over raw sockets, Schemathesis on the API's own document, five readers of HTTP on the
same requests, Hypothesis and atheris on the parsers. Result in docs/results/security.json and in
the section `security` of RESULTS.md; parts that did not run keep the rows that they have there.
Exit status 1 when anything was found.
"""

import argparse
import asyncio
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.measure.machine import fingerprint
from harness.report.results_document import KEPT, keep_section
from tests.security.attack import Tally, attack
from tests.security.differential import run as compare_readers
from tests.security.fuzz import ROOT, fuzz, quiet
from tests.security.page import SECTION, added, merged, read_kept, section
from tests.security.schemathesis_run import Report, schemathesis
from tests.security.targets import SEEDS, TARGETS
from tests.security.test_parsers import mutated
from tests.support.api import api_settings, running_api
from tests.support.services import fresh_database, open_services

HYPOTHESIS_EXAMPLES = 5_000
DOCUMENT = ROOT / KEPT / f"{SECTION}.json"


async def _on_the_wire(services: Any, database: str, seconds: int) -> tuple[Tally, Report]:
    options = {
        "mysql_url": database,
        "redis_url": services.redis_url,
        "temporal_address": services.temporal_address,
        "task_queue": "security",
    }
    limits = api_settings(**options, rate_limit_count=1_000_000, request_timeout_s=2.0)
    with tempfile.TemporaryDirectory() as folder:
        async with running_api(limits, embedded_worker=True) as api:
            tally = await attack(api.port)
            report = await schemathesis(api.port, Path(folder), seconds=seconds, seed=1)
    return tally, report


def _attacks(options: argparse.Namespace) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_services("local", Path(folder)) as services,
        fresh_database(services.mysql_url) as database,
    ):
        tally, report = asyncio.run(_on_the_wire(services, database, options.seconds))
    return [
        _row("attacks by name, raw sockets", tally.inputs, tally.unexpected, tally.server_errors),
        _row(
            f"Schemathesis, {report.operations} operations, all checks",
            report.cases,
            list(report.failures),
            report.server_errors,
        ),
    ]


def _readers(options: argparse.Namespace) -> list[dict[str, Any]]:
    counts, differences = compare_readers(options.compare, seed=options.seed, processes=2)
    what = (
        "request heads, targets and bodies read by five readers: our parser, the server with and"
        " without its fast path, Sanic, httptools"
    )
    return [_row(what, counts["inputs"], differences)]


def _hypothesis(_: argparse.Namespace) -> list[dict[str, Any]]:
    inputs, finds = 0, []
    for name, target in TARGETS.items():

        def counted(data: bytes) -> None:
            nonlocal inputs
            inputs += 1
            target(data)  # noqa: B023

        anything = st.binary(max_size=400) | st.one_of([mutated(seed) for seed in SEEDS[name]])
        thorough = settings(
            max_examples=HYPOTHESIS_EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        try:
            # The function runs to its end within this iteration.
            thorough(given(anything)(counted))()
        except Exception as error:
            # Whatever a target raises is a finding.
            finds.append(f"{name}: {error!r}")
    return [_row(f"Hypothesis, {len(TARGETS)} parsers", inputs, finds)]


def _atheris(options: argparse.Namespace) -> list[dict[str, Any]]:
    done = []
    if importlib.util.find_spec("atheris"):
        done = [fuzz(name, seconds=options.fuzz_seconds, seed=1) for name in TARGETS]
    finds = [f"{one.target}: {one.find}" for one in done if one.find]
    return [_row(f"atheris, {len(TARGETS)} parsers", sum(one.inputs for one in done), finds)]


def _row(what: str, inputs: int, finds: list[str], server_errors: int = 0) -> dict[str, Any]:
    return {"what": what, "inputs": inputs, "server_errors": server_errors, "finds": finds}


PARTS = {
    "attacks": _attacks,
    "readers": _readers,
    "hypothesis": _hypothesis,
    "atheris": _atheris,
}


def main() -> int:
    """Run the parts and write the result file and the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--page", action="store_true", help="only write the section again")
    parser.add_argument("--seconds", type=int, default=60, help="Schemathesis' share")
    parser.add_argument("--fuzz-seconds", type=int, default=10, help="for each parser")
    parser.add_argument(
        "--compare", type=int, default=1_000_000, help="requests for five readers of HTTP"
    )
    parser.add_argument("--seed", type=int, default=1, help="of those requests")
    parser.add_argument(
        "--more", action="store_true", help="add to the kept inputs of the part, with another seed"
    )
    options = parser.parse_args()
    quiet()
    found = 0
    for part in () if options.page else options.only or PARTS:
        started_s = int(time.time())
        rows = PARTS[part](options)
        kept = read_kept(DOCUMENT)
        added_up = added(kept, part, rows) if options.more else rows
        _write(merged(kept, part, added_up, fingerprint(ROOT), started_s, order=[*PARTS]))
        for row in rows:
            print(f"{row['what']}: {row['inputs']:,} inputs, {row['server_errors']} server errors")
            print("".join(f"  FOUND {find}\n" for find in row["finds"]), end="", flush=True)
            found += len(row["finds"]) + row["server_errors"]
    if options.page:
        _write(read_kept(DOCUMENT))
    return 1 if found else 0


def _write(document: dict[str, Any]) -> None:
    """Keep the document and write the section."""
    page = ROOT / "RESULTS.md"
    keep_section(page, SECTION, document, lambda file: section(document, file, ROOT / KEPT))


if __name__ == "__main__":
    sys.exit(main())
