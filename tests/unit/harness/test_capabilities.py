"""What a server shows, what is asked of it, and what people are told of both."""

import msgspec
import pytest

from harness.capabilities import (
    CONTRACT,
    Capabilities,
    EventIds,
    Framing,
    describe,
    missing,
    why_unmeasured,
)
from harness.measure.slo import parse_slo, unmeasurable

NOTHING = Capabilities(
    sequence_header=False, event_ids=EventIds.NONE, commit_stamps=False, early_head=False
)


@pytest.mark.parametrize(
    ("header", "ids", "follows"),
    [
        (True, EventIds.GAPLESS, True),
        (True, EventIds.ORDERED, False),
        (True, EventIds.UNSEEN, False),
        (False, EventIds.GAPLESS, False),
        (None, EventIds.GAPLESS, False),
    ],
)
def test_ids_are_followed_only_with_sequence_header_and_gapless_numbers(
    header: bool | None, ids: EventIds, follows: bool
) -> None:
    shown = Capabilities(sequence_header=header, event_ids=ids, stream_framing=Framing.CHUNKED)

    assert shown.follows_ids is follows


@pytest.mark.parametrize("header", [True, False])
def test_run_without_listeners_is_judged_by_the_boards_number_alone(header: bool) -> None:
    assert Capabilities(sequence_header=header).follows_ids is header


def test_each_missing_capability_is_named_once_with_what_it_unlocks() -> None:
    lines = list(describe(NOTHING))

    needs = [unlock.words for unlock in missing(NOTHING)]
    assert len(needs) == len(set(needs))
    for words in needs:
        assert sum(words in line for line in lines) == 1


def test_whole_contract_lacks_only_the_database() -> None:
    assert [unlock.capability for unlock in missing(CONTRACT)] == ["database"]


def test_figure_is_unmeasured_only_where_its_capability_is_known_to_be_absent() -> None:
    assert "commit stamps" in why_unmeasured(NOTHING, "lag")
    assert why_unmeasured(Capabilities(), "lag") == ""
    assert why_unmeasured(CONTRACT, "lag") == ""
    assert why_unmeasured(NOTHING, "response") == ""


def test_limit_on_a_figure_that_the_server_cannot_give_is_told() -> None:
    limits = parse_slo("lag_p99<1s,p99<1s,errors<1%")

    assert [text.split(":")[0] for text in unmeasurable(limits, NOTHING)] == [
        "the limit lag_p99<1s cannot be judged"
    ]
    assert unmeasurable(limits, CONTRACT) == []


def test_capabilities_travel_as_plain_values() -> None:
    plain = msgspec.to_builtins(CONTRACT)

    assert plain["event_ids"] == "gapless"
    assert msgspec.convert(plain, Capabilities) == CONTRACT
