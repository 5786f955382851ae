"""`harness compare A B` says by its exit code whether B is worse."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from tests.unit.harness.documents import run_document


def verdict(**words: Any) -> dict[str, Any]:
    return {**run_document()["verdict"], **words}


def without_times() -> list[dict[str, Any]]:
    return [{**second, "times": {}} for second in run_document()["seconds"]]


@pytest.mark.parametrize(
    ("after", "code", "told"),
    [
        (run_document(), 0, "same"),
        (run_document(response_us=3000), 0, "better"),
        (run_document(response_us=9000), 1, "worse"),
        (run_document(verdict=verdict(valid=False)), 3, "the second run is not valid"),
        (run_document(response_us=9000, verdict=verdict(valid=False)), 3, "not valid"),
        (run_document(verdict=verdict(correct=False)), 3, "could not be told correct"),
        (run_document(verdict=verdict(correct=False), converged=False), 1, "run is not correct"),
        (run_document(seconds=[]), 3, "nothing in common to compare"),
        (run_document(seconds=run_document()["seconds"][:7]), 3, "too few seconds"),
        (run_document(seconds=without_times()), 3, "the second run has lost response p50"),
        (run_document(settings={"rate": "500"}), 3, "had different loads: rate: 1000 and 500"),
        (run_document(settings={"rate": "500"}, response_us=9000), 3, "had different loads"),
        (run_document(settings={"seed": 2}), 0, "not the same: seed: 1 and 2"),
    ],
)
def test_compare_exit_code_tells_worse_and_incorrect_runs(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    after: dict[str, Any],
    code: int,
    told: str,
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    before = {**run_document(), "run_id": "20260101-000000-aaaa"}
    for path, document in zip(paths, (before, after), strict=True):
        path.write_text(json.dumps(document))

    assert main(["compare", *map(str, paths)]) == code
    assert told in capsys.readouterr().out


def test_compare_of_a_run_with_itself_tells_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(run_document()))

    assert main(["compare", str(path), str(path)]) == 3
    assert "could not tell: both files hold the same run" in capsys.readouterr().out


def test_compare_asks_about_the_order_when_the_second_run_is_the_older(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    begun = run_document()["started_unix_s"]
    for number, path in enumerate(paths):
        run = {**run_document(), "run_id": str(number), "started_unix_s": begun - number}
        path.write_text(json.dumps(run))

    assert main(["compare", *map(str, paths)]) == 0
    assert "the second run is the older one" in capsys.readouterr().out


def test_compare_refuses_a_file_that_is_not_a_result(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")

    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "none.json")]) == 2
