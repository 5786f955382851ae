"""Equal code passes, slower code fails, more calls fail, and the error rates say how surely."""

import random
from collections.abc import Sequence

from harness.benchcompare import Sample, compare_sides, error_rates, measure_sides

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


def test_one_more_function_call_or_more_memory_fails_whatever_the_time() -> None:
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


def test_sides_take_turns_and_swap_who_begins() -> None:
    order: list[str] = []
    measure_sides(lambda side, _: order.append(side) or {}, (), rounds=4)  # type: ignore[func-returns-value]

    assert order == ["base", "head", "head", "base", "base", "head", "head", "base"]


def test_error_rates_are_low_on_ordinary_noise() -> None:
    draw = random.Random(6)
    rounds = [noisy(draw) for _ in range(20)]

    rates = error_rates(rounds, planted=0.15, rounds=10, trials=50, seed=1)

    assert rates["false_alarm_rate"] < 0.001
    assert rates["miss_rate"] < 0.05
