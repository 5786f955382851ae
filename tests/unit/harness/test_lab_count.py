"""The count over many runs of the lab: runs of several calls, repeated ones, and the table."""

from pathlib import Path

import msgspec

from harness.checker import Finding, Verdict
from harness.lab.count import LabFault, LabRun, after, kept_runs, markdown, terminal

POWER = LabFault(kind="power loss", target="mysql1", fired="pid 1 killed", recovery_ms=1500)
GOOD = LabRun(seed=1, commit="abc", rate=400, verdict="true", accepted=25_000, faults=(POWER,))
BROKEN = LabRun(seed=2, commit="abc", broken="mysql1 took longer than 40 s\nmore")
DOUBTED = LabRun(
    seed=3,
    commit="abc",
    findings=(
        Finding(
            invariant="non-vacuity",
            verdict=Verdict.UNKNOWN,
            explanations=("3 attempts unknown, 5 demanded",),
        ),
    ),
)
CONVICTED = LabRun(
    seed=4,
    commit="abc",
    verdict="false",
    findings=(
        Finding(
            invariant="I6 no regress",
            verdict=Verdict.FALSE,
            explanations=("reader | r1 was taken back",),
            violations=2,
        ),
    ),
)


def kept_in(folder: Path, *runs: LabRun) -> Path:
    folder.mkdir(exist_ok=True)
    for run in runs:
        (folder / f"{run.seed}.json").write_bytes(msgspec.json.encode(run))
    return folder


def test_the_count_sums_runs_and_names_what_does_not_hold() -> None:
    runs = [GOOD, BROKEN, DOUBTED, CONVICTED]

    assert (
        "4 runs: 1 true, 1 false, 2 without a verdict; 1 faults of 1 kinds fired; "
        "25,000 submissions acknowledged, 2 findings unexplained" in terminal(runs)
    )
    page = markdown(runs, "docs/results/lab.json")
    assert "| 1 | true | 25,000 | 1 of 1 |  |" in page
    assert "| 2 | unknown | 0 | 0 of 0 | mysql1 took longer than 40 s |" in page
    assert "| 3 | unknown | 0 | 0 of 0 | non-vacuity: 3 attempts unknown, 5 demanded |" in page
    assert "| 4 | false | 0 | 0 of 0 | I6 no regress: reader / r1 was taken back |" in page
    assert "| power loss | 1 of 1 | 1.5, 1.5 |" in page


def test_the_table_names_the_command_that_makes_it() -> None:
    runs = [GOOD, msgspec.structs.replace(GOOD, seed=20, listeners=80), BROKEN]

    assert (
        '`make chaos ARGS="--lab --seeds 20 --rate 400 --listeners 80 --write RESULTS.md"` at `abc`'
        in markdown(runs, "docs/results/lab.json")
    )


def test_runs_of_several_calls_are_one_count(tmp_path: Path) -> None:
    page_file = tmp_path / "lab.json"
    page_file.write_bytes(msgspec.json.encode([GOOD, DOUBTED]))
    settled = msgspec.structs.replace(DOUBTED, verdict="true", findings=())
    folder = kept_in(tmp_path / "runs", msgspec.structs.replace(GOOD, verdict="unknown"), settled)

    found = kept_runs(page_file, folder)
    assert found == {1: GOOD, 3: after(settled, DOUBTED)}
    # What an earlier run came to stays told, once, also by the file that is written now.
    page_file.write_bytes(msgspec.json.encode(list(found.values())))
    assert kept_runs(page_file, folder) == found
    assert kept_runs(tmp_path / "nothing") == {}


def test_a_run_without_a_verdict_is_repeated_and_stays_told() -> None:
    assert not DOUBTED.settled
    assert not BROKEN.settled
    assert CONVICTED.settled

    again = after(msgspec.structs.replace(GOOD, seed=3), DOUBTED)

    assert again.earlier == ("unknown at abc: non-vacuity: 3 attempts unknown, 5 demanded",)
    assert f"- Seed 3, before: {again.earlier[0]}" in markdown([again], "lab.json")


def test_what_convicted_once_stays_told_after_the_cause_is_mended() -> None:
    again = after(msgspec.structs.replace(GOOD, seed=4), CONVICTED)
    once_more = after(GOOD, again)

    assert again.earlier == ("false at abc: I6 no regress: reader | r1 was taken back",)
    assert once_more.earlier == again.earlier
