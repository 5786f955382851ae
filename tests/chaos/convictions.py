"""`python -m tests.chaos.convictions`: the table of planted bugs for RESULTS.md.

Runs the gauntlet with every planted bug and says how many runs its conviction took and in what
words. `--write RESULTS.md` replaces the table there. Exit status 1 when one went free.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from harness.resultsfile import replace_section
from tests.chaos.gauntlet import runs_until_convicted
from tests.chaos.mutations import MUTATIONS
from tests.support.services import empty_redis_database, open_services

SECTION = "planted-bugs"
RUNS_MAX = 5


def main() -> int:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="replace the table in this document")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        root = Path(folder)
        with open_services("auto", root / "services") as services:
            redis_url = empty_redis_database(services.redis_url)
            for name, mutation in MUTATIONS.items():
                runs, broken, words = runs_until_convicted(
                    services, redis_url, root / name, name, runs_max=RUNS_MAX
                )
                what = (mutation.plant.__doc__ or "").strip()
                print(f"{name}: {runs or 'NOT CONVICTED'}", file=sys.stderr, flush=True)
                rows.append((name.replace("_", " "), what, runs, ", ".join(sorted(broken)), words))
    table = [
        "## Planted bugs: what the checker convicts",
        "",
        "`python -m tests.chaos.convictions` plants each bug into the real code and runs a few "
        "seconds of flood and small faults, until the checker convicts it.",
        "",
        "| planted bug | what it does | convicted of | in run | in the checker's words |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {what} | {broken} | {runs or 'never'} | {words.replace('|', '/')} |"
            for name, what, runs, broken, words in rows
        ),
    ]
    section = "\n".join(table)
    if asked.write is None:
        print(section)
    else:
        document = asked.write.read_text() if asked.write.exists() else "# Results\n"
        asked.write.write_text(replace_section(document, SECTION, section))
    return 0 if all(runs for _, _, runs, _, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
