"""Ids: keyed ones repeat, timed ones sort, and all are UUIDs that others accept."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreboard import ids

short = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


def test_a_key_names_the_same_id_in_every_version_of_this_program() -> None:
    """Stored ledgers depend on it: a change here would apply retries a second time."""
    assert ids.text(ids.keyed_submission_id("1", "abc")) == "15a82dbf-e1ca-8413-8a48-7c11ee3e6515"


@given(short, short, short, short)
def test_principal_and_key_both_count_and_do_not_run_together(
    principal: str, key: str, other_principal: str, other_key: str
) -> None:
    same = (principal, key) == (other_principal, other_key)

    assert (
        ids.keyed_submission_id(principal, key)
        == ids.keyed_submission_id(other_principal, other_key)
    ) == same
    assert ids.keyed_submission_id(principal + key, "k") != ids.keyed_submission_id(
        principal, key + "k"
    )


def test_keyed_ids_are_uuids_of_version_8() -> None:
    parsed = uuid.UUID(bytes=ids.keyed_submission_id("1", "abc"))

    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)


def test_timed_ids_are_uuids_of_version_7() -> None:
    parsed = uuid.UUID(bytes=ids.time_ordered_id(1_764_000_000_123, b"\xff" * 10))

    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_764_000_000_123


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10))
def test_timed_ids_sort_by_time(now_ms: int, earlier: bytes, later: bytes) -> None:
    assert ids.time_ordered_id(now_ms, earlier) < ids.time_ordered_id(now_ms + 1, later)


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(AssertionError):
        ids.time_ordered_id(1, b"\0" * 9)


@given(st.binary(min_size=16, max_size=16))
def test_text_and_parse_are_inverse(identifier: bytes) -> None:
    assert ids.parse(ids.text(identifier)) == identifier
    assert ids.parse(ids.text(identifier).upper()) == identifier


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "00000000000000000000000000000001",
        "{00000000-0000-0000-0000-000000000001}",
        "urn:uuid:00000000-0000-0000-0000-000000000001",
        "0_000000-0000-0000-0000-000000000001",
        "0x000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-00000000000١",
        "00000000-0000-0000-0000-00000000001",
        " 0000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000001\n",
        "0-0000000-0000-0000-0000-000000000001",
    ],
)
def test_only_the_usual_form_parses(value: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|hexadecimal|base 16"):
        ids.parse(value)
