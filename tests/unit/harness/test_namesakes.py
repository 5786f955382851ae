"""Players who share a name are told apart by their ids, from the first look to the verdict."""

import msgspec
import pytest

from harness.checker import Promises, Verdict, check
from harness.evidence import board_look
from harness.evidence.board_look import look
from harness.evidence.database_snapshot import UserRow
from harness.evidence.history import InitialBoard
from harness.net.sse_parser import Reading, Span
from harness.net.target import Page, Target
from harness.targets.answers import event_reader, read_board, read_scores
from harness.targets.description import Scores, Stream, specified_scores, specified_stream
from harness.targets.namesakes import labels_of
from scoreboard.domain import Change, Standing
from scoreboard.sse import Snapshot, encode_snapshot, encode_updates
from tests.unit.harness import story as stories
from tests.unit.harness.story import assert_convicts, finish, good_story

LABELS = {1: "Alice (user 1)", 3: "Alice (user 3)"}
BOARD = [Standing(user=u, score=s, user_id=i) for u, s, i in (("Alice", 9, 3), ("Bob", 5, 2))]


def test_only_players_who_share_a_name_get_labels() -> None:
    assert labels_of([(1, "Alice"), (2, "Bob"), (3, "Alice")]) == LABELS
    assert labels_of([(1, "Alice"), (1, "Alice"), (2, "Bob")]) == {}


@pytest.mark.parametrize(
    "block",
    [
        encode_updates([Change(seq=7, user_id=3, name="Alice", score=9, committed_us=1)]),
        b'id: 7\nevent: update\ndata: {"user":"Alice","score":9.0,"userId":3}\n\n',
        b'event: update\ndata: {"userId":3,"score":9,"user":"Alice"}\n\n',
        encode_snapshot("reset", Snapshot(seq=7, scores=BOARD)),
        encode_snapshot("snapshot", Snapshot(seq=7, scores=BOARD)),
    ],
)
def test_events_name_players_who_share_a_name_by_their_labels(block: bytes) -> None:
    [item] = Span(block, 0, Reading(labels=LABELS)).items
    [plain] = Span(block, 0).items

    shown = [(row.user, row.score) for row in (item.top.scores if item.top else ())]
    assert (shown or [(item.user, item.score)])[0] == ("Alice (user 3)", 9)
    assert (plain.top.scores[0].user if plain.top else plain.user) == "Alice"


@pytest.mark.parametrize(
    "data", [b'{"user":"Alice","score":9}', b'{"user":"Alice","score":9,"userId":"x"}']
)
def test_an_event_without_an_id_of_ours_keeps_its_name(data: bytes) -> None:
    [item] = Span(b"event: update\ndata: " + data + b"\n\n", 0, Reading(labels=LABELS)).items

    assert (item.user, item.score) == ("Alice", 9)


def test_described_servers_rows_and_events_are_labelled_alike() -> None:
    body = msgspec.json.encode(BOARD)
    scores, stream = Scores(call=specified_scores()), Stream(call=specified_stream())

    assert read_scores(scores, body, LABELS) == [("Alice (user 3)", 9), ("Bob", 5)]
    assert read_scores(scores, body) == [("Alice", 9), ("Bob", 5)]
    assert read_board(scores, body)[1] == [3, 2]
    event = msgspec.json.encode(BOARD[0])
    assert event_reader(stream, LABELS)("update", event) == [("Alice (user 3)", 9)]


@pytest.mark.parametrize("given", [None, LABELS])
def test_a_look_at_the_board_keeps_both_players_of_one_name(
    monkeypatch: pytest.MonkeyPatch, given: dict[int, str] | None
) -> None:
    names = ["Alice", "Bob", "Alice"] if given is None else [LABELS[3], "Bob", LABELS[1]]
    page = Page(seq=4, rows=list(zip(names, (9, 5, 2), strict=True)), ids=[3, 2, 1])
    monkeypatch.setattr(board_look, "get_board", lambda *_args, **_more: page)

    found = look(Target(base_url="http://localhost:1", labels=given), 10)

    assert found.scores == {"Alice (user 3)": 9, "Bob": 5, "Alice (user 1)": 2}
    assert found.labels == LABELS


@pytest.mark.parametrize("database", [True, False])
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_run_with_two_players_of_one_name_is_judged_by_each_of_them(
    monkeypatch: pytest.MonkeyPatch, database: bool, wrong: int
) -> None:
    names = {1: "Alice (user 1)", 2: "Alice (user 2)"}
    monkeypatch.setattr(stories, "NAMES", names)
    story = good_story()
    for number, record in enumerate(story.records):
        if isinstance(record, InitialBoard):
            scores = list(zip(names.values(), (1500, 1400), strict=True))
            story.records[number] = msgspec.structs.replace(record, scores=scores)
    story.scores[2] += wrong
    finish(story)
    users = [UserRow(1, "Alice", story.scores[1], 0), UserRow(2, "Alice", story.scores[2], 0)]

    evidence = story.evidence(users=users) if database else story.evidence(database=False)
    findings = {f.invariant.split()[0]: f for f in check(evidence, Promises())}

    if wrong:
        assert_convicts(findings["I3"], "shows Alice (user 2) with 1394", "it had 1393")
    else:
        asked = [findings[name] for name in ("I1", "I2", "I3", "I5", "I6")]
        assert {f.invariant: f.explanations for f in asked if f.verdict is Verdict.FALSE} == {}
        assert findings["I3"].verdict is findings["I1"].verdict is Verdict.TRUE


def test_a_newcomer_with_a_name_that_is_taken_changes_nothing_for_its_owner() -> None:
    story = finish(good_story())
    users = [
        UserRow(user, stories.NAMES[user], score, 0) for user, score in story.scores.items()
    ] + [UserRow(3, "Alice", 0, 0)]

    findings = {f.invariant.split()[0]: f for f in check(story.evidence(users=users), Promises())}

    asked = [findings[name] for name in ("I1", "I2", "I3", "I5")]
    assert {f.invariant: f.explanations for f in asked if f.verdict is not Verdict.TRUE} == {}
