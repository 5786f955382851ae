"""What a server shows, what is asked of it, and what people are told of both."""

import msgspec
import pytest

from harness.capabilities import (
    CONTRACT,
    Capabilities,
    EventIds,
    Framing,
    Signs,
    describe,
    missing,
    refined,
    why_unmeasured,
)
from harness.engines.event_signs import IDS_SEEN_MAX, EventSigns
from harness.measure.slo import parse_slo, unmeasurable
from harness.net.sse_parser import Span

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


def test_figure_is_unmeasured_only_without_its_capability() -> None:
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


UPDATE = b'event: update\ndata: {"user":"A","score":1}\n\n'


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([None, None], EventIds.NONE),
        ([b"1", None, b"2"], EventIds.OPAQUE),
        ([b"a", b"b"], EventIds.OPAQUE),
        ([b"5", b"9", b"7"], EventIds.OPAQUE),
        ([b"5", b"9", b"100000000000000000"], EventIds.ORDERED),
        ([b"7", b"8", b"9"], EventIds.GAPLESS),
        ([], EventIds.UNSEEN),
    ],
)
def test_kind_of_ids_is_told_from_the_events_of_a_run(
    ids: list[bytes | None], kind: EventIds
) -> None:
    signs = EventSigns()

    for text in ids:
        field = b"" if text is None else b"id: " + text + b"\n"
        signs.see(Span(field + UPDATE, 0))

    assert signs.signs.event_ids is kind


def test_signs_of_a_long_run_are_bounded() -> None:
    signs = EventSigns()
    for number in range(1, 3 * IDS_SEEN_MAX):
        signs.see(Span(b": committed 5\nid: %d\n" % number + UPDATE, 0))

    assert signs.signs == Signs(event_ids=EventIds.GAPLESS, commit_stamps=True)
    assert len(signs._seen) == IDS_SEEN_MAX


def test_run_shows_what_the_preflight_could_not() -> None:
    before = Capabilities(sequence_header=False)

    shown = refined(
        before,
        [
            Signs(event_ids=EventIds.GAPLESS, commit_stamps=False),
            Signs(),
            Signs(submission_ids=False, outcome_address=True),
        ],
    )

    assert shown == Capabilities(
        sequence_header=False,
        event_ids=EventIds.GAPLESS,
        commit_stamps=False,
        submission_ids=False,
        outcome_address=True,
    )


def test_processes_that_saw_different_ids_leave_the_weaker_kind() -> None:
    seen = [Signs(event_ids=kind) for kind in (EventIds.GAPLESS, EventIds.ORDERED)]
    mixed = [Signs(event_ids=kind) for kind in (EventIds.GAPLESS, EventIds.NONE)]

    assert refined(Capabilities(), seen).event_ids is EventIds.ORDERED
    assert refined(Capabilities(), mixed).event_ids is EventIds.OPAQUE


def test_ids_judged_by_content_never_pass_for_followed_ones() -> None:
    before = Capabilities(sequence_header=True, early_head=False)

    assert not before.follows_ids
    assert not refined(before, [Signs(event_ids=EventIds.GAPLESS)]).follows_ids
    assert refined(CONTRACT, [Signs(event_ids=EventIds.OPAQUE)]).follows_ids
