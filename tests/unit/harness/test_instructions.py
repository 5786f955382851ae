"""Instructions are read out of callgrind's parts, and growth beyond their spread fails."""

from collections.abc import Mapping, Sequence

import pytest

from harness.bench.compare_revisions import Judged
from harness.bench.instructions import count_both, instructions_of, with_instructions


def judged(name: str, judgement: str = "same") -> Judged:
    return Judged(
        name=name,
        base_ns=1.0,
        head_ns=1.0,
        change=0.0,
        p_value=1.0,
        rounds=10,
        calls=(1, 1),
        peak_bytes=(1, 1),
        judgement=judgement,
    )


def test_parts_between_marks_belong_to_the_cases_in_order() -> None:
    # Start-up, then a measured call and what lies between two in turns.
    totals = [9000, 110, 5, 100, 5, 70, 5, 200]
    parts = [f"version: 1\nsummary: {total}\n\ntotals: {total}\n" for total in totals]

    found = instructions_of({"first": 2, "second": 2}, lambda number: parts[number - 1])

    assert found == {"first": 100, "second": 70}


def test_part_without_a_total_is_an_error() -> None:
    with pytest.raises(OSError, match="without a total"):
        instructions_of({"first": 1}, lambda _: "version: 1\n")


def test_case_that_grew_is_counted_again_and_the_least_kept() -> None:
    told = {"base": [100, 100], "head": [110, 101]}
    asked: list[tuple[str, ...]] = []

    def count(side: str, names: Sequence[str]) -> Mapping[str, int]:
        asked.append(tuple(names))
        return {"grown": told[side].pop(0), **({} if names else {"steady": 50, side: 1})}

    assert count_both(count) == {"grown": (100, 101), "steady": (50, 50)}
    assert asked == [(), (), ("grown",), ("grown",)]


@pytest.mark.parametrize(
    ("pair", "judgement", "why"),
    [
        ((1000, 1000), "same", ""),
        ((1000, 1030), "same", ""),
        ((1000, 1040), "more", "+4.0% instructions"),
        ((1000, 500), "same", ""),
    ],
)
def test_more_instructions_than_equal_code_differs_by_fail(
    pair: tuple[int, int], judgement: str, why: str
) -> None:
    [found] = with_instructions([judged("case")], {"case": pair})

    assert (found.judgement, found.why, found.instructions) == (judgement, why, pair)


def test_case_that_was_not_counted_keeps_its_judgement() -> None:
    [found] = with_instructions([judged("case", "worse")], {})

    assert (found.judgement, found.instructions) == ("worse", None)
