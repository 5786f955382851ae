"""Equal code passes, slower code fails, more calls fail, and the error rates say how surely."""

import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from harness.__main__ import main
from harness.bench import prove
from harness.bench.compare_revisions import (
    SIGNIFICANCE,
    Sample,
    compare_sides,
    coverage_of,
    error_rates,
    least_detectable,
    measure_sides,
    rounds_that_show,
    tally,
)
from harness.bench.runner import count_calls, one_call_more, slowed
from harness.cli import bench_compare
from harness.report.document import BenchProofResult
from harness.report.result_files import read_result_as
from harness.report.results_document import bench_gate_section

CASES = [f"case{n}" for n in range(20)]


def noisy(draw: random.Random, **slower: float) -> Sample:
    # The least of seven blocks spreads by about a percent; now and then a round is disturbed.
    return {
        name: {
            "ns": 1000.0
            * (1 + abs(draw.gauss(0, 0.01)) + (0.2 if draw.random() < 0.05 else 0))
            * slower.get(name, 1.0),
            "calls": 10,
            "peak_bytes": 5000,
        }
        for name in CASES
    }


def test_equal_code_is_not_called_worse() -> None:
    draw = random.Random(1)

    for _ in range(10):
        judged = compare_sides(lambda _side, _names: noisy(draw))
        assert [j.name for j in judged if j.judgement == "worse"] == []


def test_a_planted_slowdown_is_found_and_nothing_else() -> None:
    draw = random.Random(2)

    def measure(side: str, _: Sequence[str]) -> Sample:
        return noisy(draw, case3=1.15 if side == "head" else 1.0)

    judged = compare_sides(measure)

    assert [j.name for j in judged if j.judgement == "worse"] == ["case3"]


def test_a_change_below_the_least_effect_is_no_regression_however_sure() -> None:
    draw = random.Random(3)

    def measure(side: str, _: Sequence[str]) -> Sample:
        return noisy(draw, case3=1.05 if side == "head" else 1.0)

    assert all(j.judgement == "same" for j in compare_sides(measure))


def test_more_calls_or_memory_fail_regardless_of_time() -> None:
    draw = random.Random(4)

    def measure(side: str, _: Sequence[str]) -> Sample:
        sample = {name: dict(values) for name, values in noisy(draw).items()}
        if side == "head":
            sample["case1"]["calls"] = 11
            sample["case2"]["peak_bytes"] = 9000
        return sample

    judged = {j.name: j.judgement for j in compare_sides(measure)}

    assert [name for name, word in judged.items() if word == "more"] == ["case1", "case2"]


def test_only_ambiguous_cases_are_measured_again() -> None:
    draw = random.Random(5)
    asked: list[tuple[str, ...]] = []

    def measure(side: str, names: Sequence[str]) -> Sample:
        asked.append(tuple(names))
        sample = noisy(draw, case3=1.09 if side == "head" else 1.0)
        return {name: sample[name] for name in (names or CASES)}

    judged = compare_sides(measure)

    assert "case3" in asked[-1]
    assert len(asked[-1]) < 5
    assert {j.rounds for j in judged} == {10, 20}


def test_sides_alternate_and_swap_the_first_turn() -> None:
    order: list[str] = []
    measure_sides(lambda side, _: order.append(side) or {}, (), rounds=4)  # type: ignore[func-returns-value]

    assert order == ["base", "head", "head", "base", "base", "head", "head", "base"]


def test_error_rates_are_low_on_ordinary_noise() -> None:
    draw = random.Random(6)
    rounds = [noisy(draw) for _ in range(20)]

    rates = error_rates(rounds, planted=(0.15, 0.3), rounds=10, trials=50, seed=1)

    assert rates["false_alarm_rate"] < 0.001
    assert rates["false_alarm_comparisons"] < 0.02
    assert rates["miss_rates"]["15%"] < 0.05
    assert rates["miss_rates"]["30%"] == 0


@pytest.mark.parametrize(("spread", "least", "most"), [(0.005, 0.1, 0.1), (0.05, 0.12, 0.3)])
def test_least_detectable_slowdown_grows_with_the_noise(
    spread: float, least: float, most: float
) -> None:
    draw = random.Random(8)
    base, head = ([draw.gauss(1000, 1000 * spread) for _ in range(10)] for _ in range(2))

    found = least_detectable(base, head, significance=SIGNIFICANCE / 20, effect=0.08)

    assert found is not None
    assert least <= found <= most


def test_least_detectable_slowdown_is_none_when_noise_hides_a_doubling() -> None:
    noise = [100.0, 1000.0] * 5

    assert least_detectable(noise, noise, significance=0.0025, effect=0.08) is None


def lines_run(call: Callable[[], int]) -> int:
    """How many lines the call runs: unlike its time, the same on a busy machine."""
    lines = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        assert call() == 7
    finally:
        sys.settrace(before)
    return lines


def test_planted_slowdowns_are_proportional_or_one_call() -> None:
    once, twice = (lines_run(slowed(lambda: 7, spins)) for spins in (2000, 4000))

    assert twice / once == pytest.approx(2, rel=0.01)
    assert count_calls(one_call_more(dict)) - count_calls(dict) == 1


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees whose cases take 1 µs and 10,000 instructions; a planted turn adds to both."""
    draw = random.Random(7)

    def spins_of(plant: Sequence[str]) -> dict[str, int]:
        return json.loads(plant[1]) if "--spins" in plant else {}

    def run_tree(_: Path, names: Sequence[str], plant: Sequence[str] = ()) -> Sample:
        calls = 11 if "--one-more-call" in plant else 10
        return {
            name: {
                "ns": draw.gauss(1000, 2) * (1.1 if name in spins_of(plant) else 1),
                "calls": calls,
                "peak_bytes": 5000,
            }
            for name in names or CASES
        }

    def count_instructions(
        _: Path, names: Sequence[str] = (), plant: Sequence[str] = ()
    ) -> dict[str, int]:
        return {
            name: draw.randint(10_000, 10_020) + (900 if name in spins_of(plant) else 0)
            for name in names or CASES
        }

    @contextlib.contextmanager
    def unpacked(revision: str) -> Iterator[Path]:
        yield Path(revision)

    for module in (bench_compare, prove):
        monkeypatch.setattr(module, "run_tree", run_tree, raising=False)
        monkeypatch.setattr(module, "count_instructions", count_instructions)
        monkeypatch.setattr(module, "missing", lambda: "")
    monkeypatch.setattr(bench_compare, "unpacked", unpacked)
    monkeypatch.setattr(prove, "TRIALS", 5)
    monkeypatch.setattr(prove, "CASES", tuple(CASES[:4]))


@pytest.mark.usefixtures("simulated")
def test_self_test_of_compare_publishes_both_error_rates(tmp_path: Path) -> None:
    assert main(["bench-compare", "--prove", "--results", str(tmp_path)]) == 0

    [path] = tmp_path.glob("bench-*.json")
    document = json.loads(path.read_text())
    assert document["real"] == {
        "equal": {"comparisons": 2, "decisions": 24, "wrong": 0, "rate": 0.0},
        "slower": {"comparisons": 2, "decisions": 8, "wrong": 0, "rate": 0.0},
        "one_more_call": {"comparisons": 1, "decisions": 4, "wrong": 0, "rate": 0.0},
        "instructions_equal": {"comparisons": 12, "decisions": 240, "wrong": 0, "rate": 0.0},
        "instructions_slower": {"comparisons": 8, "decisions": 160, "wrong": 0, "rate": 0.0},
    }
    assert document["trials"] == 5
    assert document["instruction_spread"] <= 0.002
    assert document["instruction_growth"] >= 0.088
    proof = read_result_as(path, BenchProofResult)
    section = bench_gate_section(proof, "docs/results/bench-gate.json")
    assert "false alarm) | 0 of 240 decisions in 12 comparisons (0.0%) |" in section
    assert "a 10% slowdown not reported (miss) | 0 of 8 decisions in 2 comparisons" in section
    assert "Times alone miss 0% at +10%" in section


@pytest.mark.usefixtures("simulated")
def test_proof_without_valgrind_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bench_compare, prove):
        monkeypatch.setattr(module, "missing", lambda: "valgrind is not installed")

    assert main(["bench-compare", "--prove", "--results", str(tmp_path)]) == 0

    [path] = tmp_path.glob("bench-*.json")
    section = bench_gate_section(read_result_as(path, BenchProofResult), "f.json")
    assert "instructions: a 10% slowdown not reported (miss) | instructions were not" in section


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(
    ("uncounted", "told"),
    [
        ("", "instructions see any growth above 3%"),
        ("no valgrind", "instructions were not counted: no valgrind; only times can show"),
    ],
)
def test_comparison_tells_what_it_can_see(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uncounted: str,
    told: str,
) -> None:
    monkeypatch.setattr(bench_compare, "missing", lambda: uncounted)

    assert main(["bench-compare", "--results", str(tmp_path)]) == 0

    out = capsys.readouterr().out
    assert told in out
    assert "times see a 10% slowdown in 20 of 20 cases here" in out


@pytest.mark.parametrize(("cases", "least"), [(1, 4), (2, 4), (19, 4), (60, 5)])
def test_so_many_rounds_can_show_a_slowdown_and_fewer_cannot(cases: int, least: int) -> None:
    def found(rounds: int) -> bool:
        names = [f"case{number}" for number in range(cases)]

        def measure(side: str, asked: Sequence[str]) -> Sample:
            took = 1000 if side == "base" else 5000
            return {
                n: {"ns": took + draw.random(), "calls": 1, "peak_bytes": 1} for n in asked or names
            }

        draw = random.Random(1)
        return compare_sides(measure, rounds=rounds)[0].judgement == "worse"

    assert rounds_that_show(cases) == least
    assert found(least)
    assert not found(least - 1)


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(
    ("words", "code"), [((), 0), (("--no-instructions",), 3), (("--only", "case1"), 0)]
)
def test_few_rounds_without_instructions_cannot_tell(
    words: Sequence[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench-compare", "--rounds", "2", "--results", str(tmp_path), *words]

    assert main(command) == code
    told = "2 rounds cannot show that a case is slower"
    assert (told in capsys.readouterr().out) == (code == 3)


@pytest.mark.parametrize("rounds", ["0", "-1"])
def test_rounds_below_one_are_wrong_use(rounds: str) -> None:
    assert main(["bench-compare", "--rounds", rounds]) == 2


def test_a_tally_counts_the_decisions_that_are_not_the_right_one() -> None:
    draw = random.Random(7)

    def measure(side: str, _: Sequence[str]) -> Sample:
        return noisy(draw, case3=1.5 if side == "head" else 1.0)

    found = tally([compare_sides(measure) for _ in range(2)], right=("same", "better"))

    assert (found.comparisons, found.decisions, found.wrong) == (2, 40, 2)
    assert found.rate == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("head_counts", "grown"),
    [
        ([9, 8], {}),
        ([9, 9], {"sql statements": (8, 9)}),
        ([8], {}),
    ],
)
def test_a_count_that_grew_is_taken_again_and_the_least_stands(
    head_counts: list[int], grown: dict[str, tuple[int, int]]
) -> None:
    told = {"base": [8] * len(head_counts), "head": list(head_counts)}

    def count(tree: Path) -> dict[str, int]:
        return {"sql statements": told[tree.name].pop(0)}

    counts = bench_compare.count_sides({side: Path(side) for side in told}, count)

    assert bench_compare.more_counts(counts["base"], counts["head"]) == grown
    assert told == {"base": [], "head": []}


@pytest.mark.parametrize(
    ("base", "head", "asked", "gap"),
    [
        ("ab", "ab", "", ""),
        ("ab", "abc", "", ""),
        ("ab", "a", "", "this tree has lost b"),
        ("", "ab", "", "the base has no benchmarks in this folder"),
        ("ab", "", "", "this tree has no benchmarks in this folder"),
        ("a", "b", "", "the two trees have no case in common"),
        ("", "", "x", "no such case: x"),
        ("a", "a", "ax", "no such case: x"),
    ],
)
def test_coverage_names_what_a_comparison_cannot_see(
    base: str, head: str, asked: str, gap: str
) -> None:
    sides = {"base": base, "head": head}

    coverage = coverage_of(
        lambda side, _: {name: {"ns": 1.0, "calls": 1, "peak_bytes": 1} for name in sides[side]},
        tuple(asked),
    )

    assert (gap in coverage.gaps()) if gap else (coverage.gaps() == [])
