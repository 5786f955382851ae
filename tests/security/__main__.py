"""Attacks a private stack and writes the figures: `python -m tests.security [--seconds 60]`.

The corpus over raw sockets, Schemathesis on the API's own document, Hypothesis and
atheris on the parsers. Result in docs/results/security.json and in the section
`security` of RESULTS.md. Exit status 1 when anything was found.
"""

import argparse
import asyncio
import importlib.util
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.measure.machine import commit_of, fingerprint
from harness.report.results_document import keep_section
from tests.security.attack import Tally, attack
from tests.security.differential import run as compare_readers
from tests.security.fuzz import ROOT, fuzz, quiet
from tests.security.schemathesis_run import Report, schemathesis
from tests.security.targets import SEEDS, TARGETS
from tests.security.test_parsers import mutated
from tests.support.api import api_settings, running_api
from tests.support.services import fresh_database, open_services

HYPOTHESIS_EXAMPLES = 5_000
COMMAND = "python -m tests.security"


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


def _hypothesis() -> tuple[int, list[str]]:
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
    return inputs, finds


def _atheris(seconds: int) -> tuple[int, list[str]]:
    if not importlib.util.find_spec("atheris"):
        return 0, []
    done = [fuzz(name, seconds=seconds, seed=1) for name in TARGETS]
    finds = [f"{one.target}: {one.find}" for one in done if one.find]
    return sum(one.inputs for one in done), finds


def section(document: Mapping[str, Any], source: str) -> str:
    """The figures as a section of RESULTS.md."""
    rows = [
        f"| {row['what']} | {row['inputs']:,} | {row['server_errors']} | {len(row['finds'])} |"
        for row in document["rows"]
    ]
    machine = document["machine"]
    return "\n".join(
        [
            "## Security",
            "",
            f"Hostile and random inputs (`{COMMAND}`, Python {machine['python']}, commit"
            f" {commit_of(machine)}). A finding is an answer that the contract does not allow, an"
            " exception other than a refusal, or a broken invariant. Result file:"
            f" [`{source}`]({source}).",
            "",
            "| test | inputs | server errors | findings |",
            "|---|---:|---:|---:|",
            *rows,
        ]
    )


def main() -> int:
    """Run everything and write the result file and the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="Schemathesis' share")
    parser.add_argument("--fuzz-seconds", type=int, default=10, help="for each parser")
    parser.add_argument(
        "--compare", type=int, default=1_000_000, help="requests for five readers of HTTP"
    )
    options = parser.parse_args()
    quiet()
    started_s = time.time()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_services("local", Path(folder)) as services,
        fresh_database(services.mysql_url) as database,
    ):
        tally, report = asyncio.run(_on_the_wire(services, database, options.seconds))
    compared, differences = compare_readers(options.compare, seed=1, processes=2)
    generated, hypothesis_finds = _hypothesis()
    fuzzed, atheris_finds = _atheris(options.fuzz_seconds)
    rows: list[dict[str, Any]] = [
        _row(
            "attacks by name, raw sockets",
            tally.inputs,
            tally.server_errors,
            tally.unexpected,
        ),
        _row(
            f"Schemathesis, {report.operations} operations, all checks",
            report.cases,
            report.server_errors,
            list(report.failures),
        ),
        _row("requests read by five readers of HTTP", compared["inputs"], 0, differences),
        _row(f"Hypothesis, {len(TARGETS)} parsers", generated, 0, hypothesis_finds),
        _row(f"atheris, {len(TARGETS)} parsers", fuzzed, 0, atheris_finds),
    ]
    document = {
        "kind": "scoreboard-security",
        "version": 1,
        "started_unix_s": int(started_s),
        "machine": fingerprint(ROOT),
        "rows": rows,
    }
    keep_section(ROOT / "RESULTS.md", "security", document, lambda file: section(document, file))
    for row in rows:
        print(f"{row['what']}: {row['inputs']} inputs, {row['server_errors']} server errors")
        print("".join(f"  FOUND {find}\n" for find in row["finds"]), end="")
    return 1 if any(row["finds"] or row["server_errors"] for row in rows) else 0


def _row(what: str, inputs: int, server_errors: int, finds: list[str]) -> dict[str, Any]:
    return {"what": what, "inputs": inputs, "server_errors": server_errors, "finds": finds}


if __name__ == "__main__":
    sys.exit(main())
