"""The parsers under generated input: Hypothesis, and a moment of atheris where it runs."""

import importlib.util

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.security.fuzz import fuzz
from tests.security.targets import SEEDS, TARGETS

EXAMPLES = 150


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """A good input with a part replaced, which gets further than noise does."""
    return st.builds(
        lambda start, length, piece: seed[:start] + piece + seed[start + length :],
        st.integers(0, len(seed)),
        st.integers(0, 12),
        st.binary(max_size=24) | st.text(max_size=8).map(lambda text: text.encode()),
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_raises_nothing_but_its_refusal(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.binary(max_size=300) | st.one_of([mutated(seed) for seed in SEEDS[name]]))
    @example(SEEDS[name][0])
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


if importlib.util.find_spec("atheris"):

    @pytest.mark.parametrize("name", ["claims"])
    def test_coverage_guided_fuzzing_finds_nothing_in_a_moment(name: str) -> None:
        """`python -m tests.security.fuzz` takes its time for all of them."""
        fuzzed = fuzz(name, seconds=2, seed=1)

        assert fuzzed.find == ""
        assert fuzzed.inputs > 100
