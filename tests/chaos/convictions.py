"""`python -m tests.chaos.convictions`: the table of planted bugs for RESULTS.md.

Runs the mutation test for every planted bug and prints how many runs the checker needed and the
violation it reported. `--write RESULTS.md` replaces the table there and keeps the result file. Exit
status 1 when a bug was not found.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.measure.machine import fingerprint
from harness.report.results_document import KEPT, keep_section
from tests.chaos.gauntlet import runs_until_convicted
from tests.chaos.mutations import MUTATIONS
from tests.support.services import empty_redis_database, open_services

SECTION = "planted-bugs"
RUNS_MAX = 5


def convictions() -> list[dict[str, Any]]:
    """The result for each planted bug; `runs` is 0 where the checker did not find it."""
    found = []
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        root = Path(folder)
        with open_services("auto", root / "services") as services:
            redis_url = empty_redis_database(services.redis_url)
            for name, mutation in MUTATIONS.items():
                runs, broken, words = runs_until_convicted(
                    services, redis_url, root / name, name, runs_max=RUNS_MAX
                )
                print(f"{name}: {runs or 'NOT FOUND'}", file=sys.stderr, flush=True)
                found.append(
                    {
                        "name": name.replace("_", " "),
                        "what": (mutation.plant.__doc__ or "").strip(),
                        "runs": runs,
                        "broken": sorted(broken),
                        "words": words,
                    }
                )
    return found


def section(document: Mapping[str, Any], file: str) -> str:
    """The section of RESULTS.md."""
    machine = document["machine"]
    commit = machine["commit"] + (", changed" if machine["changed"] else "")
    return "\n".join(
        [
            "## Planted bugs: mutation test of the checker",
            "",
            "`python -m tests.chaos.convictions` plants each bug into the real code and runs load "
            "with small faults for a few seconds, until the checker reports a violation. "
            f"Commit {commit}, "
            f"{machine['cpus']} CPUs ({machine['cpu']}). Result file: [`{file}`]({file}).",
            "",
            "| planted bug | description | promises violated | found in run | first violation |",
            "|---|---|---|---|---|",
            *(
                f"| {bug['name']} | {bug['what']} | {', '.join(bug['broken'])} | "
                f"{bug['runs'] or 'never'} | {bug['words'].replace('|', '/')} |"
                for bug in document["bugs"]
            ),
        ]
    )


def main() -> int:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="replace the table in this document")
    asked = parser.parse_args()
    document: dict[str, Any] = {
        "kind": "scoreboard-planted-bugs",
        "version": 1,
        "started_unix_s": int(time.time()),
        "machine": fingerprint(),
        "bugs": convictions(),
    }
    if asked.write is None:
        print(section(document, f"{KEPT}/{SECTION}.json"))
    else:
        keep_section(asked.write, SECTION, document, lambda file: section(document, file))
    return 0 if all(bug["runs"] for bug in document["bugs"]) else 1


if __name__ == "__main__":
    sys.exit(main())
