"""The section of RESULTS.md: parts that ran at different times, and what excess costs others."""

from pathlib import Path
from typing import Any

from tests.security.page import added, merged, read_kept, section

KEPT = Path(__file__).parents[2] / "docs" / "results"
ORDER = ("attacks", "readers")


def part(commit: str, what: str, inputs: int) -> dict[str, Any]:
    return {
        "rows": [{"what": what, "inputs": inputs, "server_errors": 0, "finds": []}],
        "machine": {"commit": commit, "changed": False},
        "started_s": 1,
    }


def test_a_part_that_runs_again_replaces_its_own_rows_alone(tmp_path: Path) -> None:
    document = read_kept(tmp_path / "none.json")
    for name, run in (
        ("readers", part("aaa", "read by five", 1_000_000)),
        ("attacks", part("bbb", "attacks", 1)),
        ("attacks", part("ccc", "attacks", 317)),
    ):
        document = merged(document, name, **run, order=ORDER)

    page = section(document, "security.json", KEPT)

    rows = [line for line in page.splitlines() if line.endswith(("aaa |", "bbb |", "ccc |"))]
    assert rows == ["| attacks | 317 | 0 | 0 | ccc |", "| read by five | 1,000,000 | 0 | 0 | aaa |"]


def test_slices_of_a_run_add_up_to_one_row(tmp_path: Path) -> None:
    document = read_kept(tmp_path / "none.json")
    for inputs in (100_000, 900_000):
        run = part("aaa", "read by five", inputs)
        run["rows"] = added(document, "readers", run["rows"])
        document = merged(document, "readers", **run, order=ORDER)

    assert "| read by five | 1,000,000 | 0 | 0 | aaa |" in section(document, "s.json", KEPT)


def test_the_page_tells_what_a_hostile_user_costs_the_others() -> None:
    document = merged(read_kept(KEPT / "none"), "attacks", **part("a", "x", 1), order=ORDER)

    page = section(document, "security.json", KEPT)

    for connections in (14, 40):
        assert f"beside one hostile user on {connections} connections" in page
        assert f"not accepted meanwhile ({connections} connections) | ≤ 0 " in page
