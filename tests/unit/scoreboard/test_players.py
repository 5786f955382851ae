"""Orders about players: their form, and what each does to users and ledger."""

import re
from typing import Any

import pytest

from scoreboard.domain import MAX_SCORE, User
from scoreboard.players.effects import Effect, Refusal, effect_of
from scoreboard.players.orders import (
    FORMS,
    Order,
    decode_order,
    encode_order,
    gains,
    parse_action,
)

ANN = User(id=1, name="Ann", score=30)
BEN = User(id=2, name="Ben", score=MAX_SCORE - 40)
USERS = {1: ANN, 2: BEN}
GOOD: list[dict[str, Any]] = [
    {"action": "add", "name": "Zed"},
    {"action": "add", "name": "Zed", "score": 5, "userId": 9},
    {"action": "rename", "userId": 1, "name": "Anna"},
    {"action": "set-score", "userId": 1, "score": 0},
    {"action": "remove", "userId": 1},
    {"action": "merge", "userId": 1, "into": 2},
]


def order(**action: Any) -> Order:
    return Order(id=bytes(16), actor="olga", action=parse_action({"reason": "r", **action}))


def effect(**action: Any) -> Effect:
    found = effect_of(order(**action), USERS)
    assert isinstance(found, Effect)
    return found


@pytest.mark.parametrize("action", GOOD, ids=lambda each: each["action"])
def test_an_order_survives_its_way_to_the_worker(action: dict[str, Any]) -> None:
    given = order(**action)

    assert decode_order(encode_order(given)) == given
    assert given.digest != order(**{**action, "reason": "another"}).digest


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ({"action": "add", "name": ""}, "A name has"),
        ({"action": "add", "name": " \t"}, "A name has"),
        ({"action": "add", "name": "a" * 256}, "A name has"),
        ({"action": "add", "name": "a\nb"}, "A name has"),
        ({"action": "add", "name": "a\x00b"}, "A name has"),
        ({"action": "add", "name": "evil\u202eeman"}, "A name has"),
        ({"action": "rename", "userId": 1, "name": "a\u2028b"}, "A name has"),
        ({"action": "add", "name": "Z", "score": -1}, "A score is"),
        ({"action": "set-score", "userId": 1, "score": MAX_SCORE + 1}, "A score is"),
        ({"action": "set-score", "userId": 0, "score": 1}, "A user id is"),
        ({"action": "add", "name": "Z", "userId": 2**53}, "A user id is"),
        ({"action": "merge", "userId": 1, "into": 1}, "with itself"),
        ({"action": "merge", "userId": 1, "into": -1}, "A user id is"),
        ({"action": "remove", "userId": 1, "reason": ""}, "A reason has"),
        ({"action": "remove", "userId": 1, "reason": "r" * 201}, "A reason has"),
        ({"action": "remove", "userId": True}, FORMS["remove"]),
        ({"action": "remove", "userId": 1.0}, FORMS["remove"]),
        ({"action": "remove", "userId": "1"}, FORMS["remove"]),
        ({"action": "remove", "userId": 1, "extra": "x"}, FORMS["remove"]),
        ({"action": "rename", "userId": 1}, FORMS["rename"]),
        ({"action": "drop", "userId": 1}, "An action is one of"),
        ({"userId": 1}, "An action is one of"),
    ],
)
def test_a_malformed_order_is_refused_with_the_form_it_lacks(
    action: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_action({"reason": "r", **action})


@pytest.mark.parametrize("body", [None, [], "remove", 1])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match="An action is one of"):
        parse_action(body)


@pytest.mark.parametrize("name", ["Ž", "日本", "👩‍👩‍👧", "a" * 255, " a "])
def test_names_of_every_script_are_taken(name: str) -> None:
    assert effect(action="rename", userId=1, name=name).kept == User(id=1, name=name, score=30)


def test_each_order_leaves_ledger_rows_that_explain_the_score() -> None:
    def rows(found: Effect) -> list[tuple[int, int, int]]:
        return [(e.user_id, e.increment, e.score_after) for e in found.entries]

    assert rows(effect(action="rename", userId=1, name="Anna")) == [(1, 0, 30)]
    assert rows(effect(action="set-score", userId=1, score=5)) == [(1, -25, 5)]
    assert rows(effect(action="remove", userId=1)) == [(1, -30, 0)]
    merged = effect(action="merge", userId=1, into=2)
    assert rows(merged) == [(1, -30, 0), (2, 30, MAX_SCORE - 10)]
    assert merged.removed == 1
    assert len({e.id for e in merged.entries}) == 2


def test_what_cannot_be_done_is_refused() -> None:
    for action in GOOD[2:]:
        assert effect_of(order(**action), {}) is Refusal.UNKNOWN_USER
    assert effect_of(order(**GOOD[5]), {1: ANN}) is Refusal.UNKNOWN_USER
    assert effect_of(order(action="add", name="Z", userId=1), USERS) is Refusal.USER_EXISTS
    assert effect_of(order(action="add", name="Z", userId=9), {}, taken=True) is Refusal.USER_EXISTS
    rich = {1: User(id=1, name="Ann", score=41), 2: BEN}
    assert effect_of(order(**GOOD[5]), rich) is Refusal.SCORE_OUT_OF_RANGE


def test_who_may_gain_by_an_order_is_known() -> None:
    assert [gains(parse_action({"reason": "r", **each})) for each in GOOD] == [
        None,
        9,
        None,
        1,
        None,
        2,
    ]
