"""What `make bench-peers` says of its samples."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import picture, report
from benchmarks.peers.__main__ import main
from benchmarks.peers.run import turns
from benchmarks.peers.targets import TARGETS, Samples, Target, judge

FASTER = Target(group="g", what="ours beside theirs", figure="ours", against="theirs", bound=2)
QUICK = Target(group="g", what="latency", figure="ms", bound=100, at_most=True, unit="ms")
MACHINE = {
    "cpus": 2,
    "cpu": "cpu",
    "memory_mib": 1,
    "kernel": "6",
    "python": "3",
    "commit": "abc",
    "changed": False,
}


def test_ratios_are_taken_round_by_round_and_judged_by_their_median() -> None:
    found = judge(FASTER, {"ours": [10, 30, 100], "theirs": [10, 10, 10]})

    assert (found.median, found.low, found.high, found.rounds) == (3, 1, 10, 3)
    assert found.met


def test_one_good_round_does_not_meet_a_target() -> None:
    assert not judge(FASTER, {"ours": [10, 10, 100], "theirs": [10, 10, 10]}).met


def test_at_most_is_met_below_the_bound() -> None:
    assert judge(QUICK, {"ms": [90, 120, 80]}).met
    assert not judge(QUICK, {"ms": [110, 120, 80]}).met


@pytest.mark.parametrize(
    "samples",
    [{}, {"ours": [1.0]}, {"ours": [None], "theirs": [1.0]}, {"ours": [1.0], "theirs": [0.0]}],
)
def test_unmeasured_target_is_neither_met_nor_missed(samples: Samples) -> None:
    found = judge(FASTER, samples)

    assert (found.median, found.met) == (None, None)
    assert report.line(found).startswith("not measured ")


@pytest.mark.parametrize(
    ("median", "text"),
    [(100.4, "100.4"), (100.0004, "100.0004"), (99.97, "99.97"), (100.0, "100"), (110, "110")],
)
def test_a_figure_has_the_digits_that_tell_it_from_its_bound(median: float, text: str) -> None:
    assert report.judged(judge(QUICK, {"ms": [median]})) == text


def test_every_target_is_about_something_of_its_own() -> None:
    assert len({(t.figure, t.against, t.unit) for t in TARGETS}) == len(TARGETS)


def test_each_peer_has_each_place_in_a_round_at_some_time() -> None:
    names = ("a", "b", "c")

    orders = [turns(names, number) for number in range(6)]

    assert all(sorted(order) == sorted(names) for order in orders)
    assert {order[0] for order in orders} == set(names)
    assert {order[-1] for order in orders} == set(names)


def test_round_without_a_figure_misses_the_target_visibly() -> None:
    found = judge(QUICK, {"ms": [80.0, None, 90.0]})

    assert (found.median, found.rounds, found.missing) == (85, 2, 1)
    assert not found.met
    assert "1 more without a figure" in report.line(found)


IDLE = {"idle/ours": [8.0, 9.5, 9.0], "idle/literal": [20.0, 20.0, 20.0]}


def run_of(group: str, samples: Samples, **changes: Any) -> dict[str, Any]:
    settings = {"rounds": 3, "groups": [group], "load_before": 0.5}
    return {**report.document(samples, {}, [], MACHINE, settings), **changes}


def test_the_table_tells_target_median_and_spread() -> None:
    text = report.markdown(run_of("idle", IDLE), "results/x.json")

    assert "| idle: POST to event on the stream | ≤ 15 ms | **9** | 8 – 9.5 | met |" in text
    assert "3 interleaved rounds, commit abc;" in text
    assert "[`results/x.json`](results/x.json)" in text


def test_merged_parts_keep_the_first_of_duplicate_samples() -> None:
    reads = {"reads/ours": [5.0], "reads/constant": [5.0], "idle/ours": [99.0]}

    whole = report.merged([run_of("idle", IDLE), run_of("reads", reads, failures=["wrong"])])
    text = report.markdown(whole, "x.json")

    assert whole["samples"]["idle/ours"] == IDLE["idle/ours"]
    assert [result.met for result in report.results_of(whole)] == [True] * 3
    assert "idle: 3 rounds, commit abc; reads: 3 rounds, commit abc" in text
    assert "- wrong" in text


def test_a_failure_that_two_merged_parts_have_is_told_once() -> None:
    parts = [run_of("idle", IDLE, failures=["wrong"]), run_of("idle", IDLE, failures=["wrong"])]

    assert report.merged(parts)["failures"] == ["wrong"]


def test_merged_parts_keep_machine_commit_and_rounds_of_their_own() -> None:
    other = {**MACHINE, "kernel": "7", "commit": "def"}
    first = report.merged([run_of("idle", IDLE), run_of("reads", {"reads/ours": [5.0]})])
    newer = run_of("reads", {"reads/ours": [6.0], "reads/constant": [6.0]}, machine=other)

    text = report.head(report.merged([newer, first]))

    assert "several machines" in text
    assert "reads: 3 rounds, commit def, on 2 × cpu, 1 MiB, Linux 7, Python 3" in text
    assert "idle: 3 rounds, commit abc, on 2 × cpu, 1 MiB, Linux 6, Python 3" in text
    assert text.count("reads:") == 1


def test_a_run_of_everything_keeps_picture_and_table_apart(tmp_path: Path) -> None:
    measured, results = tmp_path / "run.json", tmp_path / "RESULTS.md"
    both = report.merged([run_of("idle", IDLE), run_of("everyday", EVERYDAY)])
    measured.write_text(report.to_json(both), "utf-8")

    main(["--merge", str(measured), "--write", str(results)])

    text = results.read_text("utf-8")
    assert text.count("p50 of the 202 at 100/s, relative to") == 1
    table = text[text.index("begin:peers") :]
    assert "everyday" not in table
    assert "idle/ours" in table


@pytest.mark.parametrize(("reads", "code"), [([9.0], 0), ([1.0], 1), ([None], 3)])
def test_the_exit_code_tells_met_from_missed_and_not_measured(
    tmp_path: Path, reads: list[float | None], code: int
) -> None:
    measured = tmp_path / "run.json"
    run = run_of("reads", {"reads/ours": reads, "reads/constant": [9.0]})
    measured.write_text(report.to_json(run), "utf-8")

    assert main(["--merge", str(measured)]) == code


def test_ours_stands_beside_the_literal_server_with_its_verdicts() -> None:
    samples: dict[str, list[float | None]] = {
        "beside/ours/throughput": [7000.0],
        "beside/literal/throughput": [18.0],
        "beside/ours/worker killed/to_last_p90_ms": [20.0, 22.0, 24.0],
        "beside/literal/worker killed/to_last_p90_ms": [300.0, None, 10000.0],
    }
    run = run_of("beside", samples)
    run["details"] = {
        "beside/ours/worker killed/rate": [{"verdict": "correct"}] * 3,
        "beside/literal/worker killed/rate": [{"verdict": v} for v in ("correct", "convicted")],
    }

    text = report.markdown(run, "x.json")

    assert "| most accepted and applied submissions/s | 7,000 | 18 |" in text
    assert "| submit → last listener, p90, ms, worker killed | 22 | 5,150 |" in text
    assert "| verdicts, worker killed | 3 × correct | 1 × correct, 1 × convicted |" in text
    assert "| verdicts, undisturbed | – | – |" in text
    assert "beside/ours" not in text


EVERYDAY: dict[str, list[float | None]] = {
    "everyday 100/ours/answer_p50_ms": [12.0, 11.0, 13.0],
    "everyday 100/ours/answer_p99_ms": [30.0, None, 34.0],
    "everyday 100/ours/cores": [0.9, 0.8, 1.0],
    "everyday 1000/ours/answer_p50_ms": [18.0],
    "everyday 1000/ours/answer_p99_ms": [40.0],
    "everyday 100/direct/answer_p50_ms": [1.5],
    "everyday 100/direct/answer_p99_ms": [5.0],
}


def test_the_picture_has_a_curve_for_each_peer_and_quantile_with_units() -> None:
    svg = picture.latency_over_load(EVERYDAY)

    assert picture.curves(EVERYDAY)["ours", "p99"] == [(100, 32), (1000, 40)]
    for text in ("100", "1,000", "10 ms", "this server", "SQL in the handler"):
        assert f">{text}</text>" in svg
    assert svg.count("<path") == 4
    # One colour a peer, the dashed line its p99.
    assert [svg.count(f'class="line {c} dashed"') for c in ("c1", "c2", "c3")] == [1, 1, 0]
    assert "prefers-color-scheme:dark" in svg
    assert "literal" not in svg


def test_without_everyday_figures_there_is_no_picture() -> None:
    assert picture.latency_over_load({"idle/ours": [9.0]}) == ""


def test_the_everyday_group_alone_writes_the_picture_and_leaves_the_table(tmp_path: Path) -> None:
    measured, results = tmp_path / "peers.json", tmp_path / "RESULTS.md"
    measured.write_text(report.to_json(run_of("everyday", EVERYDAY)), "utf-8")
    table = "<!-- begin:peers -->\nthe table\n<!-- end:peers -->"
    results.write_text(f"# Results\n\n{table}\n", "utf-8")

    main(["--merge", str(measured), "--write", str(results)])

    text = results.read_text("utf-8")
    assert text.index("## Latency over offered load") < text.index(table)
    kept = tmp_path / "docs" / "results"
    assert sorted(path.name for path in kept.iterdir()) == ["everyday.json", "everyday.svg"]


def test_results_open_with_the_picture_and_keep_the_rest() -> None:
    document = run_of("everyday", EVERYDAY)
    text = "# Results\n\nIntroduction.\n\n## First\n\n<!-- begin:x -->\n<!-- end:x -->\n"

    once = report.opened_with(text, report.opening(document, "x.json", "x.svg"))
    twice = report.opened_with(once, report.opening(document, "x.json", "y.svg"))

    assert once.index("Introduction.") < once.index("](x.svg)") < once.index("## First")
    assert "| 100/s | 12 ms / 32 ms, 0.90 cores | 1.5 ms / 5 ms |" in once
    assert "| 1,000/s | 18 ms / 40 ms | – |" in once
    assert "| p50 of the 202 at 100/s, relative to" in once
    assert twice == once.replace("](x.svg)", "](y.svg)")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rounds", "0"], "argument --rounds: must be a whole number from 1, not '0'"),
        (["--rounds", "nan"], "argument --rounds: must be a whole number from 1, not 'nan'"),
        (["--only", "nothing"], "argument --only: invalid choice"),
        (["--rates", "100,x"], "argument --rates: must be N or N,N,…, not '100,x'"),
        (["--peers", "ours,nobody"], "argument --peers: nobody: no peer of theirs"),
        (["--write", "folder"], "--write: folder is a folder, not a file"),
        (["--results", "file"], "--results: file is not a folder"),
        (["--merge", "absent"], "--merge absent: No such file or directory"),
        (["--merge", "file"], "--merge file: is no JSON"),
        (["--merge", "list"], "--merge list holds no result of these benchmarks"),
    ],
)
def test_wrong_use_is_told_before_anything_is_measured(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no JSON")
    (tmp_path / "list").write_text("[]")

    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert told in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3
